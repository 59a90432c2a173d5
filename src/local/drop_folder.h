// The maildrop's files, as the daemon touches them: looked at, never followed, never trusted. Blocking calls,
// for the pool.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "local/record.h"
#include "util/clock.h"
#include "util/file.h"

namespace sternpost::local {

/// What a name in the folder stands for.
enum class DropName {
    record,
    temporary,
    foreign
};  // 32 hex digits; `.x` or `tmp-x`, being written; anything else
DropName drop_name(std::string_view name);

/// An opened record file.
struct DropFile {
    util::Fd fd;
    std::uint32_t uid = 0;  // its owner: who submitted it
};

class DropFolder {
  public:
    /// io: it is not there, or not a directory.
    static Result<DropFolder> open(const std::string& path);

    /// Names in it, without `refused`; at most `most` of them.
    Result<std::vector<std::string>> list(std::size_t most) const;
    /// refused: a symbolic link, device, hard link, something writable for others, too big. io: gone, or the
    /// system's trouble.
    Result<DropFile> open_file(const std::string& name, std::uint64_t most) const;
    Result<void> remove(const std::string& name) const;
    /// Moves it to `refused/` (mode 0700), where an administrator may look at it.
    Result<void> set_aside(const std::string& name) const;
    /// Removes `name` if it is a plain file untouched since `before`; true if it was.
    bool remove_if_older(const std::string& name, WallTime before) const;
    Result<void> sync() const;

  private:
    explicit DropFolder(util::Fd dir) : dir_(std::move(dir)) {}
    util::Fd dir_;
};

}  // namespace sternpost::local
