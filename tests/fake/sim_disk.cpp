#include "fake/sim_disk.h"

#include <algorithm>
#include <cstring>

namespace sternpost::fake {
namespace {

constexpr std::size_t sector = 512;

using store::Errc;

std::string folder_of(std::string_view name) {
    const auto slash = name.rfind('/');
    return slash == std::string_view::npos ? std::string() : std::string(name.substr(0, slash));
}

}  // namespace

struct SimDisk::Inode {
    std::string now;
    std::string synced;
    std::set<std::size_t> dirty;  // sectors written since the sync

    void touch(std::uint64_t offset, std::size_t size) {
        for (std::uint64_t s = offset / sector; size != 0 && s <= (offset + size - 1) / sector; ++s)
            dirty.insert(s);
    }
    // All of it is on the platter.
    void keep() {
        synced.resize(now.size());
        for (const std::size_t s : dirty) {
            const std::size_t at = s * sector;
            if (at < now.size())
                std::memcpy(synced.data() + at, now.data() + at, std::min(sector, now.size() - at));
        }
        dirty.clear();
    }
};

// One change of the folders that is not synced: `after` null is a removal. A rename is two that happen
// together.
struct SimDisk::EntryChange {
    std::vector<std::pair<std::string, std::shared_ptr<Inode>>> set;
    std::string folder;
};

class SimDisk::File final : public store::DiskFile {
  public:
    File(SimDisk& disk, std::string name, std::shared_ptr<Inode> inode)
        : disk_(disk), name_(std::move(name)), inode_(std::move(inode)), generation_(disk.generation_) {}

    Result<std::size_t> read(std::uint64_t offset, std::span<char> into) override {
        const std::lock_guard guard(disk_.mutex_);
        if (auto ok = alive(); !ok) return sternpost::fail(ok.error());
        const std::string& now = inode_->now;
        if (offset >= now.size()) return std::size_t{0};
        const std::size_t n = std::min<std::size_t>(into.size(), now.size() - offset);
        std::memcpy(into.data(), now.data() + offset, n);
        return n;
    }
    Result<void> write(std::uint64_t offset, std::string_view octets) override {
        const std::lock_guard guard(disk_.mutex_);
        if (auto ok = begin("write"); !ok) return ok;
        if (disk_.fail_writes_) return sternpost::fail(Errc::io, "cannot write " + name_ + ": injected");
        const std::uint64_t end = offset + octets.size();
        const std::uint64_t more = end > inode_->now.size() ? end - inode_->now.size() : 0;
        const bool fits = more <= disk_.room_;
        if (!fits)
            octets =
                octets.substr(0, octets.size() - std::min<std::size_t>(octets.size(), more - disk_.room_));
        if (offset + octets.size() > inode_->now.size()) {
            if (disk_.room_ != UINT64_MAX)
                disk_.room_ -= std::min(disk_.room_, offset + octets.size() - inode_->now.size());
            inode_->now.resize(offset + octets.size());
        }
        std::memcpy(inode_->now.data() + offset, octets.data(), octets.size());
        inode_->touch(offset, octets.size());
        if (!fits) return sternpost::fail(Errc::full, "cannot write " + name_ + ": no space");
        return {};
    }
    Result<void> sync() override {
        const std::lock_guard guard(disk_.mutex_);
        if (auto ok = begin("sync"); !ok) return ok;
        if (disk_.fail_syncs_) {
            inode_->dirty.clear();  // Linux, too, takes it for written from now on
            return sternpost::fail(Errc::io, "cannot sync " + name_ + ": injected");
        }
        inode_->keep();
        return {};
    }
    Result<void> truncate(std::uint64_t size) override {
        const std::lock_guard guard(disk_.mutex_);
        if (auto ok = begin("truncate"); !ok) return ok;
        if (size < inode_->now.size() && disk_.room_ != UINT64_MAX) disk_.room_ += inode_->now.size() - size;
        if (size < inode_->now.size())  // should it grow again, what was there before is gone
            inode_->touch(size, inode_->now.size() - size);
        inode_->now.resize(size);
        return {};
    }
    Result<std::uint64_t> size() override {
        const std::lock_guard guard(disk_.mutex_);
        if (auto ok = alive(); !ok) return sternpost::fail(ok.error());
        return inode_->now.size();
    }

  private:
    Result<void> alive() const {
        if (generation_ != disk_.generation_)
            return sternpost::fail(Errc::io, name_ + " was open when the power went");
        return disk_.alive();
    }
    Result<void> begin(const char* what) {
        if (auto ok = alive(); !ok) return ok;
        return disk_.begin(what, name_);
    }

    SimDisk& disk_;
    std::string name_;
    std::shared_ptr<Inode> inode_;
    std::uint64_t generation_;
};

SimDisk::SimDisk() {
    dirs_.insert("");
}
SimDisk::~SimDisk() = default;

store::Result<void> SimDisk::alive() const {
    if (stopped()) return sternpost::fail(Errc::io, "the power is off");
    return {};
}

store::Result<void> SimDisk::begin(const char* what, std::string_view name) {
    if (auto ok = alive(); !ok) return ok;
    ++operations_;
    if (trace_ != nullptr) trace_->push_back(std::string(what) + ' ' + std::string(name));
    return {};
}

store::Result<std::unique_ptr<store::DiskFile>> SimDisk::open(std::string_view name, store::OpenMode mode) {
    const std::lock_guard guard(mutex_);
    if (auto ok = alive(); !ok) return sternpost::fail(ok.error());
    const std::string path(name);
    auto it = entries_.find(name);
    const bool creates = mode == store::OpenMode::create || mode == store::OpenMode::create_new;
    if (it != entries_.end() && mode == store::OpenMode::create_new)
        return sternpost::fail(Errc::io, path + " exists");
    if (it == entries_.end()) {
        if (!creates) return sternpost::fail(Errc::not_found, path + " is not there");
        if (!dirs_.contains(folder_of(name)))
            return sternpost::fail(Errc::not_found, "no folder for " + path);
        if (room_ == 0) return sternpost::fail(Errc::full, "no space for " + path);
        if (auto ok = begin("create", path); !ok) return sternpost::fail(ok.error());
        it = entries_.emplace(path, std::make_shared<Inode>()).first;
        unsynced_.push_back({{{path, it->second}}, folder_of(name)});
    }
    return std::make_unique<File>(*this, path, it->second);
}

store::Result<void> SimDisk::make_dir(std::string_view name) {
    const std::lock_guard guard(mutex_);
    if (auto ok = alive(); !ok) return ok;
    dirs_.insert(std::string(name));
    return {};
}

store::Result<void> SimDisk::sync_dir(std::string_view name) {
    const std::lock_guard guard(mutex_);
    if (auto ok = begin("sync_dir", name); !ok) return ok;
    if (fail_syncs_)
        return sternpost::fail(Errc::io, "cannot sync the folder " + std::string(name) + ": injected");
    std::vector<EntryChange> left;
    for (auto& change : unsynced_) {
        if (change.folder != name) {
            left.push_back(std::move(change));
            continue;
        }
        for (auto& [path, inode] : change.set) {
            if (inode)
                durable_[path] = inode;
            else
                durable_.erase(path);
        }
    }
    unsynced_ = std::move(left);
    return {};
}

store::Result<void> SimDisk::rename(std::string_view from, std::string_view to) {
    const std::lock_guard guard(mutex_);
    const auto it = entries_.find(from);
    if (it == entries_.end()) return sternpost::fail(Errc::not_found, std::string(from) + " is not there");
    if (auto ok = begin("rename", from); !ok) return ok;
    auto inode = it->second;
    entries_.erase(it);
    entries_[std::string(to)] = inode;
    unsynced_.push_back({{{std::string(from), nullptr}, {std::string(to), inode}}, folder_of(to)});
    return {};
}

store::Result<void> SimDisk::unlink(std::string_view name) {
    const std::lock_guard guard(mutex_);
    if (auto ok = alive(); !ok) return ok;
    const auto it = entries_.find(name);
    if (it == entries_.end()) return sternpost::fail(Errc::not_found, std::string(name) + " is not there");
    if (auto ok = begin("unlink", name); !ok) return ok;
    if (room_ != UINT64_MAX) room_ += it->second->now.size();
    entries_.erase(it);
    unsynced_.push_back({{{std::string(name), nullptr}}, folder_of(name)});
    return {};
}

store::Result<bool> SimDisk::exists(std::string_view name) {
    const std::lock_guard guard(mutex_);
    if (auto ok = alive(); !ok) return sternpost::fail(ok.error());
    return entries_.contains(name) || dirs_.contains(name);
}

store::Result<std::vector<std::string>> SimDisk::list(std::string_view dir) {
    const std::lock_guard guard(mutex_);
    if (auto ok = alive(); !ok) return sternpost::fail(ok.error());
    if (!dirs_.contains(dir)) return sternpost::fail(Errc::not_found, "no folder " + std::string(dir));
    std::vector<std::string> out;
    for (const auto& [name, inode] : entries_)
        if (folder_of(name) == dir) out.push_back(name.substr(dir.empty() ? 0 : dir.size() + 1));
    std::sort(out.begin(), out.end());
    return out;
}

store::Result<std::uint64_t> SimDisk::free_octets() {
    const std::lock_guard guard(mutex_);
    if (auto ok = alive(); !ok) return sternpost::fail(ok.error());
    return room_;
}

void SimDisk::crash(Random& chance) {
    const std::lock_guard guard(mutex_);
    const bool all = chance.below(8) == 0;
    // Of a folder's changes any subset survives; on each name they take effect in their order.
    for (auto& change : unsynced_) {
        if (!all && chance.below(2) == 0) continue;
        for (auto& [path, inode] : change.set) {
            if (inode)
                durable_[path] = inode;
            else
                durable_.erase(path);
        }
    }
    unsynced_.clear();
    for (auto& [name, inode] : durable_) {
        if (all || chance.below(4) == 0) inode->keep();
        std::string kept = inode->synced;
        if (chance.below(2) == 1) kept.resize(inode->now.size());  // the new size, zeros where it grew
        for (const std::size_t s : inode->dirty) {
            if (chance.below(2) == 0) continue;
            const std::size_t begin = s * sector;
            if (begin >= inode->now.size()) continue;
            const std::size_t end = std::min(begin + sector, inode->now.size());
            if (kept.size() < end && chance.below(2) == 0) continue;  // beyond the size that was kept
            if (kept.size() < end) kept.resize(end);
            std::memcpy(kept.data() + begin, inode->now.data() + begin, end - begin);
        }
        inode->now = inode->synced = std::move(kept);
        inode->dirty.clear();
    }
    entries_ = durable_;
    stop_before_ = UINT64_MAX;
    ++generation_;
}

void SimDisk::restart() {
    const std::lock_guard guard(mutex_);
    stop_before_ = UINT64_MAX;
    ++generation_;
}

std::string SimDisk::content(std::string_view name) {
    const std::lock_guard guard(mutex_);
    const auto it = entries_.find(name);
    return it == entries_.end() ? std::string() : it->second->now;
}

void SimDisk::overwrite(std::string_view name, std::uint64_t offset, std::string_view octets) {
    const std::lock_guard guard(mutex_);
    Inode& inode = *entries_.at(std::string(name));
    inode.now.replace(offset, octets.size(), octets);
    inode.synced = inode.now;
    inode.dirty.clear();
}

}  // namespace sternpost::fake
