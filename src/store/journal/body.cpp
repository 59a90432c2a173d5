#include "store/journal/body.h"

#include <fmt/format.h>

#include <algorithm>

#include "store/journal/segment.h"
#include "util/crc32c.h"
#include "util/free_memory.h"
#include "util/text.h"

namespace sternpost::store {
namespace {

constexpr std::size_t chunk_octets = 256UL * 1024;

// Frees a body's octets, and gives back what they still hold of the budget.
class Release {
  public:
    Release(std::shared_ptr<MemoryBudget> budget, std::size_t octets)
        : held_(std::make_shared<std::atomic<std::size_t>>(octets)), budget_(std::move(budget)) {}
    void operator()(const std::string* octets) const {
        settle();
        std::default_delete<const std::string>()(octets);
    }
    void settle() const { budget_->give(held_->exchange(0)); }

  private:
    std::shared_ptr<std::atomic<std::size_t>> held_;
    std::shared_ptr<MemoryBudget> budget_;
};

Result<std::uint32_t> crc_of(DiskFile& file) {
    std::string chunk(chunk_octets, '\0');
    std::uint32_t crc = 0;
    for (std::uint64_t offset = 0;;) {
        const auto got = file.read(offset, chunk);
        if (!got) return fail(got.error());
        if (*got == 0) return crc;
        crc = crc32c(std::string_view(chunk).substr(0, *got), crc);
        offset += *got;
    }
}

}  // namespace

std::string body_path(std::string_view file) {
    return "bodies/" + std::string(file);
}

bool MemoryBudget::take(std::size_t octets) {
    if (used_.fetch_add(octets) + octets <= limit_) return true;
    used_ -= octets;
    return false;
}

class Bodies::Sink final : public BodySink {
  public:
    Sink(Bodies& bodies, std::uint64_t limit) : bodies_(bodies), limit_(limit) { ++bodies_.open_sinks_; }
    Sink(const Sink&) = delete;
    Sink& operator=(const Sink&) = delete;
    ~Sink() override {
        close();
        bodies_.budget_->give(reserved_);
        if (!has_file(body_)) return;
        file_.reset();
        bodies_.discard(body_);
    }

    Result<void> write(std::string_view octets) override {
        if (body_.size + octets.size() > limit_)
            return fail(Errc::too_big, fmt::format("the message is larger than {} octets", limit_));
        if (!file_ && !fits(octets.size()))
            if (auto moved = to_file(); !moved) return moved;
        if (file_) {
            if (auto put = file_->write(body_.size, octets); !put) return put;
        } else {
            memory_ += octets;
        }
        body_.size += octets.size();
        body_.crc = crc32c(octets, body_.crc);
        body_.eight_bit = body_.eight_bit || !is_ascii(octets);
        return {};
    }

    std::uint64_t size() const override { return body_.size; }

    Result<std::string> contents() override {
        if (!file_) return memory_;
        std::string out(body_.size, '\0');
        std::size_t got = 0;
        while (got < out.size()) {
            const auto more = file_->read(got, std::span(out).subspan(got));
            if (!more) return fail(more.error());
            if (*more == 0)
                return fail(Errc::io,
                            body_path(file_of(body_.ref)) + ": it is shorter than what was written");
            got += *more;
        }
        return out;
    }

    Result<Body> finish() override {
        close();
        file_.reset();
        if (!has_file(body_)) {
            const auto octets = new std::string(std::move(memory_));  // owned by the next line's pointer
            body_.octets = std::shared_ptr<const std::string>(octets, Release(bodies_.budget_, reserved_));
            reserved_ = 0;
        }
        return std::exchange(body_, {});
    }

  private:
    // Whether `more` octets may be added to those in memory.
    bool fits(std::size_t more) {
        const std::size_t needed = memory_.size() + more;
        if (needed > max_inline_body) return false;
        if (needed <= reserved_) return true;
        // Doubling, so that a message written a line at a time does not touch the shared counter for each.
        const std::size_t wanted = std::min(max_inline_body, std::max(needed, reserved_ * 2));
        if (!bodies_.budget_->take(wanted - reserved_)) return false;
        reserved_ = wanted;
        return true;
    }

    Result<void> to_file() {
        const std::string name = SubmissionId::make(bodies_.random_).text();
        auto file = bodies_.disk_.open(body_path(name), OpenMode::create_new);
        if (!file) return fail(std::move(file).error());
        body_.ref = ref_to_file(name).value_or(BodyRef());
        file_ = std::move(*file);
        if (auto put = file_->write(0, memory_); !put) return put;
        free_memory(memory_);
        bodies_.budget_->give(std::exchange(reserved_, 0));
        return {};
    }

    void close() {
        if (open_) --bodies_.open_sinks_;
        open_ = false;
    }

    Bodies& bodies_;
    std::uint64_t limit_;
    Body body_;
    std::string memory_;
    std::size_t reserved_ = 0;
    std::unique_ptr<DiskFile> file_;
    bool open_ = true;
};

std::unique_ptr<BodySink> Bodies::make(std::uint64_t limit) {
    return std::make_unique<Sink>(*this, limit);
}

Result<void> Bodies::make_durable(Body& body) {
    if (body.octets && body.size <= max_inline_body) return {};
    if (body.octets) {
        Sink sink(*this, UINT64_MAX);
        if (auto put = sink.write(*body.octets); !put) return put;
        auto moved = sink.finish();
        if (!moved) return fail(std::move(moved).error());
        settle(body);
        body = std::move(*moved);
    }
    auto file = disk_.open(body_path(file_of(body.ref)), OpenMode::read_write);
    if (!file) return fail(std::move(file).error());
    auto synced = (*file)->sync();
    if (synced) synced = disk_.sync_dir("bodies");
    if (!synced) return fail(Errc::closed, std::move(synced.error().text));
    return {};
}

void Bodies::settle(const Body& body) {
    if (const auto* release = std::get_deleter<Release>(body.octets)) release->settle();
}

void Bodies::discard(const Body& body) {
    if (!has_file(body)) return;
    // A file that stays is found and removed at the next start.
    [[maybe_unused]] const auto removed = disk_.unlink(body_path(file_of(body.ref)));
}

Result<std::string> read_body(Disk& disk, const Body& body, std::uint64_t offset, std::size_t most) {
    if (body.damaged) return fail(Errc::damaged, "the message's text was damaged on disk");
    if (body.octets) return offset < body.octets->size() ? body.octets->substr(offset, most) : std::string();
    if (place_of(body.ref)) return read_record_body(disk, body, offset, most);
    if (!has_file(body)) return fail(Errc::not_found, "the message's text is nowhere");
    const std::string path = body_path(file_of(body.ref));
    auto file = disk.open(path, OpenMode::read);
    if (!file) return fail(std::move(file).error());
    if (offset == 0) {
        const auto size = (*file)->size();
        const auto crc = size ? crc_of(**file) : fail(size.error());
        if (!crc) return fail(crc.error());
        if (*size != body.size || *crc != body.crc)
            return fail(Errc::damaged, path + ": the message's text is damaged");
    }
    if (offset >= body.size) return std::string();
    std::string out(std::min<std::uint64_t>(most, body.size - offset), '\0');
    const auto got = (*file)->read(offset, out);
    if (!got) return fail(got.error());
    out.resize(*got);
    return out;
}

}  // namespace sternpost::store
