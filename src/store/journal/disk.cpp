#include "store/journal/disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "util/file.h"

namespace sternpost::store {
namespace {

Error<Errc> failed(const char* what, std::string_view name, int error) {
    const Errc code = error == ENOENT                      ? Errc::not_found
                      : error == ENOSPC || error == EDQUOT ? Errc::full
                                                           : Errc::io;
    return {code, std::string("cannot ") + what + " " + std::string(name) + ": " + util::errno_text(error)};
}

class RealFile final : public DiskFile {
  public:
    RealFile(util::Fd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}

    Result<std::size_t> read(std::uint64_t offset, std::span<char> into) override {
        std::size_t done = 0;
        while (done < into.size()) {
            const ssize_t got =
                ::pread(fd_.get(), into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) return fail(failed("read", name_, errno));
            if (got == 0) break;
            done += static_cast<std::size_t>(got);
        }
        return done;
    }

    Result<void> write(std::uint64_t offset, std::string_view octets) override {
        while (!octets.empty()) {
            const ssize_t put = ::pwrite(fd_.get(), octets.data(), octets.size(), static_cast<off_t>(offset));
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) return fail(failed("write", name_, errno));
            octets.remove_prefix(static_cast<std::size_t>(put));
            offset += static_cast<std::uint64_t>(put);
        }
        return {};
    }

    Result<void> sync() override {
        // Not repeated after EINTR or anything else: the kernel may already have forgotten what it could not
        // write.
        if (::fdatasync(fd_.get()) != 0) return fail(failed("sync", name_, errno));
        return {};
    }

    void reserve(std::uint64_t size) override {
        // Without it each sync of a file that has grown takes a place on the disk for the new octets, and
        // writes down which. That it cannot be had is no failure: the write will tell.
        [[maybe_unused]] const int done =
            ::fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size));
    }
    Result<void> truncate(std::uint64_t size) override {
        while (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0)
            if (errno != EINTR) return fail(failed("truncate", name_, errno));
        return {};
    }

    Result<std::uint64_t> size() override {
        struct stat status {};
        if (::fstat(fd_.get(), &status) != 0) return fail(failed("look at", name_, errno));
        return static_cast<std::uint64_t>(status.st_size);
    }

  private:
    util::Fd fd_;
    std::string name_;
};

int flags_of(OpenMode mode) {
    switch (mode) {
        case OpenMode::read:
            return O_RDONLY;
        case OpenMode::read_write:
            return O_RDWR;
        case OpenMode::create:
            return O_RDWR | O_CREAT;
        case OpenMode::create_new:
            return O_RDWR | O_CREAT | O_EXCL;
    }
    return O_RDONLY;
}

std::string joined(const std::string& root, std::string_view name) {
    return name.empty() ? root : root + '/' + std::string(name);
}

}  // namespace

Result<std::unique_ptr<DiskFile>> RealDisk::open(std::string_view name, OpenMode mode) {
    std::string path = joined(root_, name);
    util::Fd fd(::open(path.c_str(), flags_of(mode) | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return fail(failed("open", path, errno));
    return std::make_unique<RealFile>(std::move(fd), std::move(path));
}

Result<void> RealDisk::make_dir(std::string_view name) {
    const std::string path = joined(root_, name);
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
        return fail(failed("make the folder", path, errno));
    return {};
}

Result<void> RealDisk::sync_dir(std::string_view name) {
    const std::string path = joined(root_, name);
    const util::Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return fail(failed("open", path, errno));
    if (::fsync(fd.get()) != 0) return fail(failed("sync", path, errno));
    return {};
}

Result<void> RealDisk::rename(std::string_view from, std::string_view to) {
    const std::string path = joined(root_, from);
    if (::rename(path.c_str(), joined(root_, to).c_str()) != 0) return fail(failed("rename", path, errno));
    return {};
}

Result<void> RealDisk::unlink(std::string_view name) {
    const std::string path = joined(root_, name);
    if (::unlink(path.c_str()) != 0) return fail(failed("remove", path, errno));
    return {};
}

Result<bool> RealDisk::exists(std::string_view name) {
    const std::string path = joined(root_, name);
    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0) return true;
    if (errno == ENOENT) return false;
    return fail(failed("look at", path, errno));
}

Result<std::vector<std::string>> RealDisk::list(std::string_view dir) {
    const std::string path = joined(root_, dir);
    std::error_code error;
    std::vector<std::string> names;
    for (std::filesystem::directory_iterator it(path, error), end; !error && it != end; it.increment(error))
        names.push_back(it->path().filename().string());
    if (error) return fail(failed("list", path, error.value()));
    std::sort(names.begin(), names.end());
    return names;
}

Result<std::uint64_t> RealDisk::free_octets() {
    struct statvfs status {};
    if (::statvfs(root_.c_str(), &status) != 0) return fail(failed("look at", root_, errno));
    return std::uint64_t{status.f_bavail} * status.f_frsize;
}

}  // namespace sternpost::store
