#include "local/maildrop.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <map>

#include "util/call.h"
#include "util/deadline.h"

namespace sternpost::local {
namespace {

constexpr std::size_t names_at_a_time = 20'000;  // ours: a part of a look
constexpr std::size_t share_of_owner =
    1000;  // ours: records of one user in a part; the rest comes with the next look
constexpr std::uint64_t most_bad_files_a_minute = 10;  // ours: lines about one user's refused files
constexpr std::size_t at_a_time = 16;                  // ours: so many accepts can share a sync
constexpr std::size_t max_piece = 262'144;
constexpr auto temporary_life = std::chrono::hours(24);

using Accepted = store::Result<store::MessageId>;

// Runs `work` on the pool: files may be on a slow disk, and this thread has other things to do.
template <class T, class Work>
asio::awaitable<T> on_pool(TaskQueue& pool, Work work) {
    auto start = [&pool, job = std::move(work)](Completion<T> reply) mutable {
        pool.post([inner = std::move(job), answer = std::move(reply)]() mutable { answer(inner()); });
    };
    co_return co_await call<T>(std::move(start));
}

Result<std::string> read_piece(int fd) {
    std::string piece(max_piece, '\0');
    for (;;) {
        const ssize_t got = ::read(fd, piece.data(), piece.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(Errc::io, "cannot read it: " + util::errno_text(errno));
        piece.resize(static_cast<std::size_t>(got));
        return piece;
    }
}

}  // namespace

Maildrop::Maildrop(asio::io_context& context, Options options, Surroundings around, TaskQueue& pool)
    : context_(context),
      options_(std::move(options)),
      around_(around),
      pool_(pool),
      workers_(context, around.log),
      tasks_(context, around.log) {}

void Maildrop::start() {
    tasks_.spawn("maildrop", watch());
}

asio::awaitable<void> Maildrop::watch() {
    asio::posix::stream_descriptor notices(context_);
    std::array<char, 4096> events{};
    while (!stopping_) {
        if (!notices.is_open()) {
            // Set up before the look, so that a file that comes in between is noticed. Without it the
            // interval alone serves.
            util::Fd fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
            if (fd &&
                ::inotify_add_watch(fd.get(), options_.maildrop_path.c_str(), IN_MOVED_TO | IN_ONLYDIR) >= 0)
                notices.assign(fd.release());
        }
        const bool more = co_await scan();
        if (stopping_) co_return;
        if (more) continue;
        const Deadline next_look = around_.clock.steady() + options_.maildrop_interval;
        if (notices.is_open()) {
            auto reading = notices.async_read_some(asio::buffer(events), asio::deferred);
            co_await until(next_look, std::move(reading));
        } else {
            asio::steady_timer timer(context_, next_look);
            co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
        }
    }
}

asio::awaitable<bool> Maildrop::scan() {
    auto open = [path = options_.maildrop_path] { return DropFolder::open(path); };
    auto folder = co_await on_pool<Result<DropFolder>>(pool_, std::move(open));
    if (!folder) {
        if (!std::exchange(folder_missing_, true))
            Event(around_.log, Level::warning, "maildrop")
                .reason(folder.error().text + "; mail left there is not taken");
        co_return false;
    }
    folder_missing_ = false;
    auto walk = folder->walk();
    if (!walk) {
        Event(around_.log, Level::error, "maildrop").reason(walk.error().text).limited("walk");
        co_return false;
    }
    bool more = false;
    bool sync_needed = false;
    limited_.clear();
    accepted_any_ = false;
    const WallTime before = around_.clock.wall() - temporary_life;
    while (!walk->over() && !stopping_) {
        auto look = [&walk, before] { return walk->next(names_at_a_time, before); };
        auto found = co_await on_pool<Result<std::vector<DropEntry>>>(pool_, std::move(look));
        if (!found) {
            Event(around_.log, Level::error, "maildrop").reason(found.error().text).limited("walk");
            break;
        }
        std::vector<DropEntry> entries = in_turns(std::move(*found), more);
        if (entries.empty()) continue;
        sync_needed = true;
        for (std::size_t i = 0; i < at_a_time; ++i)
            workers_.spawn("maildrop worker", take_some(*folder, entries));
        co_await workers_.join();
    }
    if (!sync_needed) co_return false;
    // Should a crash undo an unlink, the store knows the submission's id and the file goes at the next look.
    auto sync = [&folder] { return folder->sync(); };
    const auto synced = co_await on_pool<Result<void>>(pool_, std::move(sync));
    if (!synced) Event(around_.log, Level::error, "maildrop").reason(synced.error().text).limited("sync");
    co_return more&& accepted_any_;
}

// The last of it is taken first.
std::vector<DropEntry> Maildrop::in_turns(std::vector<DropEntry> entries, bool& more) const {
    std::map<std::uint32_t, std::vector<std::string>> by_owner;
    for (auto& entry : entries) {
        if (reported_.contains(entry.name)) continue;
        auto& names = by_owner[entry.uid];
        if (names.size() < share_of_owner)
            names.push_back(std::move(entry.name));
        else
            more = true;
    }
    std::vector<DropEntry> out;
    while (!by_owner.empty())
        for (auto owner = by_owner.begin(); owner != by_owner.end();) {
            out.push_back({std::move(owner->second.back()), owner->first});
            owner->second.pop_back();
            owner = owner->second.empty() ? by_owner.erase(owner) : std::next(owner);
        }
    std::reverse(out.begin(), out.end());
    return out;
}

asio::awaitable<void> Maildrop::take_some(DropFolder& folder, std::vector<DropEntry>& entries) {
    while (!entries.empty() && !stopping_) {
        const DropEntry entry = std::move(entries.back());
        entries.pop_back();
        if (!limited_.contains(entry.uid)) co_await take(folder, entry);
    }
}

asio::awaitable<void> Maildrop::take(DropFolder& folder, const DropEntry& entry) {
    const std::string& name = entry.name;
    Result<void> done = drop_name(name) == DropName::record
                            ? Result<void>()
                            : Result<void>(fail(Errc::refused, "not the name of a submission"));
    if (done) done = co_await submit(folder, name);
    if (done) {
        accepted_any_ = true;
        auto remove = [&folder, name] { return folder.remove(name); };
        const auto removed = co_await on_pool<Result<void>>(pool_, std::move(remove));
        if (!removed) report(entry, removed.error().text);
        co_return;
    }
    // What is the daemon's own trouble passes: the file waits for the next look. What is the file's does not.
    const bool passes =
        answer_of(done.error()).kind == Answer::Kind::temporary && done.error().code != Errc::incomplete;
    if (passes) {
        if (done.error().code == Errc::limited) {  // which has been said
            limited_.insert(entry.uid);
            co_return;
        }
        Event(around_.log, Level::warning, "maildrop")
            .kv("file", name)
            .reason(done.error().text + "; left for a later look")
            .limited("left");
        co_return;
    }
    auto set_aside = [&folder, name] { return folder.set_aside(name); };
    const auto moved = co_await on_pool<Result<void>>(pool_, std::move(set_aside));
    report(entry,
           moved ? done.error().text + "; moved to refused/" : done.error().text + "; " + moved.error().text);
    if (!moved && reported_.size() < options_.max_passed_over) reported_.insert(name);
}

void Maildrop::report(const DropEntry& entry, std::string_view reason) {
    Event(around_.log, Level::warning, "reject")
        .kv("via", "maildrop")
        .kv("file", entry.name)
        .kv("uid", entry.uid)
        .reason(reason)
        .limited("maildrop " + std::to_string(entry.uid), most_bad_files_a_minute);
}

asio::awaitable<Result<void>> Maildrop::submit(DropFolder& folder, const std::string& name) {
    const std::uint64_t most = options_.max_message_size + 1024 * (options_.max_recipients + 16) + 64;
    auto open = [&folder, name, most] { return folder.open_file(name, most); };
    auto file = co_await on_pool<Result<DropFile>>(pool_, std::move(open));
    if (!file) co_return fail(std::move(file).error());
    const std::string login = options_.user_name(file->uid);
    if (auto may = around_.begin(file->uid, login); !may) co_return may;
    RecordIntake intake(options_, around_.store, file->uid, around_.ids.next(), around_.clock.wall());
    for (;;) {
        auto read = [fd = file->fd.get()] { return read_piece(fd); };
        auto piece = co_await on_pool<Result<std::string>>(pool_, std::move(read));
        if (!piece) co_return fail(std::move(piece).error());
        if (piece->empty()) break;
        if (auto fed = intake.feed(*piece); !fed) co_return fed;
    }
    if (!intake.complete()) co_return fail(Errc::incomplete, "it is cut off before its end mark");
    if (intake.submission()->id.text() != name) co_return fail(Errc::refused, "its name is not its id");
    auto message = intake.finish();
    if (!message) co_return fail(std::move(message).error());
    const Accepted accepted = co_await around_.accept(std::move(*message), intake, "maildrop");
    if (!accepted && accepted.error().code != store::Errc::duplicate)
        co_return fail(intake::not_stored(accepted.error()));
    co_return Result<void>();
}

asio::awaitable<void> Maildrop::drain(Deadline deadline) {
    stopping_ = true;
    asio::steady_timer timer(context_);
    while (workers_.size() > 0 && around_.clock.steady() < deadline) {
        timer.expires_after(std::chrono::milliseconds(5));
        co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    }
    // The workers first: they use what scan() keeps on its frame.
    workers_.cancel();
    co_await workers_.join();
    tasks_.cancel();
    co_await tasks_.join();
}

}  // namespace sternpost::local
