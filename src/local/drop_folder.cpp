#include "local/drop_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>

namespace sternpost::local {
namespace {

constexpr const char* refused_folder = "refused";

tl::unexpected<Error<Errc>> cannot(std::string_view what, std::string_view name, int error) {
    return fail(Errc::io, fmt::format("cannot {} {}: {}", what, name, util::errno_text(error)));
}

tl::unexpected<Error<Errc>> refused(std::string_view why) {
    return fail(Errc::refused, std::string(why));
}

}  // namespace

DropName drop_name(std::string_view name) {
    if (name.starts_with('.') || name.starts_with("tmp-")) return DropName::temporary;
    const bool id = name.size() == 32 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
    return id ? DropName::record : DropName::foreign;
}

Result<DropFolder> DropFolder::open(const std::string& path) {
    util::Fd dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!dir) return cannot("open the maildrop", path, errno);
    return DropFolder(std::move(dir));
}

Result<DropFolder::Walk> DropFolder::walk() const {
    util::Fd again(::openat(dir_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!again) return cannot("read", "the maildrop", errno);
    DIR* const names = ::fdopendir(again.get());
    if (names == nullptr) return cannot("read", "the maildrop", errno);
    again.release();
    return Walk(*this, names);
}

Result<std::vector<DropEntry>> DropFolder::Walk::next(std::size_t most_names, WallTime before) {
    std::vector<DropEntry> out;
    for (std::size_t seen = 0; seen < most_names; ++seen) {
        errno = 0;
        const dirent* entry = ::readdir(names_.get());
        if (entry == nullptr && errno != 0) return cannot("read", "the maildrop", errno);
        over_ = entry == nullptr;
        if (over_) break;
        const std::string_view name = entry->d_name;
        if (name == "." || name == ".." || name == refused_folder) continue;
        struct stat file {};
        if (::fstatat(folder_->dir_.get(), entry->d_name, &file, AT_SYMLINK_NOFOLLOW) != 0) continue;  // gone
        if (drop_name(name) == DropName::temporary)
            folder_->remove_if_older(entry->d_name, file, before);
        else
            out.push_back({std::string(name), file.st_uid});
    }
    return out;
}

Result<DropFile> DropFolder::open_file(const std::string& name, std::uint64_t most) const {
    // Asked before it is opened, since opening a device may do something; and again after, since it may have
    // been exchanged.
    struct stat before {};
    struct stat now {};
    if (::fstatat(dir_.get(), name.c_str(), &before, AT_SYMLINK_NOFOLLOW) != 0)
        return cannot("look at", name, errno);
    if (S_ISLNK(before.st_mode)) return refused("a symbolic link");
    if (!S_ISREG(before.st_mode)) return refused("not a regular file");
    DropFile file;
    file.fd = util::Fd(
        ::openat(dir_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!file.fd && errno == EACCES) return refused("the daemon may not read it");
    if (!file.fd) return cannot("open", name, errno);
    if (::fstat(file.fd.get(), &now) != 0) return cannot("look at", name, errno);
    if (now.st_dev != before.st_dev || now.st_ino != before.st_ino || !S_ISREG(now.st_mode))
        return refused("it was exchanged while it was opened");
    if (now.st_nlink != 1) return refused("a file with more than one name (hard links)");
    if ((now.st_mode & (S_IWGRP | S_IWOTH)) != 0) return refused("others than its owner may write to it");
    if (now.st_size < 0 || static_cast<std::uint64_t>(now.st_size) > most)
        return refused(fmt::format("{} octets, more than a submission can have", now.st_size));
    file.uid = now.st_uid;
    return file;
}

Result<void> DropFolder::remove(const std::string& name) const {
    if (::unlinkat(dir_.get(), name.c_str(), 0) != 0 && errno != ENOENT) return cannot("remove", name, errno);
    return {};
}

Result<void> DropFolder::set_aside(const std::string& name) const {
    if (::mkdirat(dir_.get(), refused_folder, 0700) != 0 && errno != EEXIST)
        return cannot("make the folder", refused_folder, errno);
    const util::Fd folder(
        ::openat(dir_.get(), refused_folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder) return cannot("open the folder", refused_folder, errno);
    // rename moves the name itself: a symbolic link stays one and is not followed
    if (::renameat(dir_.get(), name.c_str(), folder.get(), name.c_str()) != 0)
        return cannot("set aside", name, errno);
    return {};
}

void DropFolder::remove_if_older(const char* name, const struct stat& entry, WallTime before) const {
    const auto touched = WallTime(std::chrono::seconds(std::max(entry.st_mtim.tv_sec, entry.st_ctim.tv_sec)));
    if (touched < before && !S_ISDIR(entry.st_mode)) ::unlinkat(dir_.get(), name, 0);
}

Result<void> DropFolder::sync() const {
    if (::fsync(dir_.get()) != 0) return cannot("sync", "the maildrop", errno);
    return {};
}

}  // namespace sternpost::local
