// The daemon's side of the maildrop: takes what local programs left there while it was away
// (doc/local-submission.md).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <set>
#include <string>
#include <vector>

#include "local/drop_folder.h"
#include "local/intake.h"
#include "local/socket.h"
#include "util/task_queue.h"
#include "util/tasks.h"

namespace sternpost::local {

/// The folder belongs to the daemon's user, its group is that of the set-gid `sendmail`, its mode 1730: that
/// program may put files in, no one but the daemon may see or remove them. Unprivileged (in a lab) it is a
/// folder of the same user. Lives on the thread of its io_context; files are read on `pool`. drain() before
/// it goes.
class Maildrop {
  public:
    Maildrop(asio::io_context& context, Options options, Surroundings around, TaskQueue& pool);

    /// Looks now, whenever a file comes (inotify), and every options.maildrop_interval.
    void start();
    /// One look at all that is there; returns when each file was accepted, set aside, or left for the next
    /// look. Owners take turns, and each has a bounded share of a look. True: some of a share was left, look
    /// again.
    asio::awaitable<bool> scan();
    asio::awaitable<void> drain(Deadline deadline);

  private:
    asio::awaitable<void> watch();
    std::vector<DropEntry> in_turns(std::vector<DropEntry> entries, bool& more) const;
    asio::awaitable<void> take_some(DropFolder& folder, std::vector<DropEntry>& entries);
    asio::awaitable<void> take(DropFolder& folder, const DropEntry& entry);
    asio::awaitable<Result<void>> submit(DropFolder& folder, const std::string& name);
    void report(const DropEntry& entry, std::string_view reason);

    asio::io_context& context_;
    Options options_;
    Surroundings around_;
    TaskQueue& pool_;
    bool stopping_ = false;
    bool folder_missing_ = false;
    std::set<std::uint32_t> limited_;  // owners who had their share of messages in this look
    bool accepted_any_ = false;        // in this look
    std::set<std::string> reported_;   // names that could not be set aside: reported once
    TaskGroup workers_;
    TaskGroup tasks_;
};

}  // namespace sternpost::local
