// The maildrop's files, as the daemon touches them: looked at, never followed, never trusted. Blocking calls,
// for the pool.
#pragma once

#include <dirent.h>
#include <sys/stat.h>

#include <cstdint>
#include <memory>
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

/// A name that is not a temporary one, and whose file it is.
struct DropEntry {
    std::string name;
    std::uint32_t uid = 0;
};

/// An opened record file.
struct DropFile {
    util::Fd fd;
    std::uint32_t uid = 0;  // its owner: who submitted it
};

class DropFolder {
  public:
    /// io: it is not there, or not a directory.
    static Result<DropFolder> open(const std::string& path);

    /// Goes through all names once, a part at a time.
    class Walk {
      public:
        /// The next part: files that are no temporary ones, out of the next `most_names` names. Temporary
        /// ones untouched since `before` are removed, since their writer is dead. Empty is not the end:
        /// over() is.
        Result<std::vector<DropEntry>> next(std::size_t most_names, WallTime before);
        bool over() const { return over_; }

      private:
        friend class DropFolder;
        Walk(const DropFolder& folder, DIR* names) : folder_(&folder), names_(names, &::closedir) {}
        const DropFolder* folder_;
        std::unique_ptr<DIR, int (*)(DIR*)> names_;
        bool over_ = false;
    };
    /// The folder outlives the walk.
    Result<Walk> walk() const;
    /// refused: a symbolic link, device, hard link, something writable for others, too big. io: gone, or the
    /// system's trouble.
    Result<DropFile> open_file(const std::string& name, std::uint64_t most) const;
    Result<void> remove(const std::string& name) const;
    /// Moves it to `refused/` (mode 0700), where an administrator may look at it.
    Result<void> set_aside(const std::string& name) const;
    Result<void> sync() const;

  private:
    void remove_if_older(const char* name, const struct stat& entry, WallTime before) const;
    explicit DropFolder(util::Fd dir) : dir_(std::move(dir)) {}
    util::Fd dir_;
};

}  // namespace sternpost::local
