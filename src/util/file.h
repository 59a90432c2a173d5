// Small files and locks: whole-file reads with a cap, write-sync-rename-sync, the lock that keeps a second
// daemon out.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "util/result.h"

namespace sternpost::util {

/// An owned file descriptor.
class Fd {
  public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(other.release()) {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) reset(other.release());
        return *this;
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() { reset(); }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int release() {
        const int fd = fd_;
        fd_ = -1;
        return fd;
    }
    void reset(int fd = -1);

  private:
    int fd_ = -1;
};

/// The whole file; too_big beyond `most` octets, not_found when it is not there.
Result<std::string> read_file(const std::filesystem::path& path, std::size_t most);

/// Replaces `path` so that after a crash either the old or the new content is there, whole.
Result<void> write_file(const std::filesystem::path& path, std::string_view content, unsigned mode = 0644);

/// Takes an exclusive flock on `path` (made if absent) for as long as the Fd lives; busy when another process
/// has it.
Result<Fd> lock_file(const std::filesystem::path& path);

/// The text of errno.
std::string errno_text(int error);

}  // namespace sternpost::util
