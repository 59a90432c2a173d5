// The store: named operations on value types, and their promises. Engines stand behind it (sqlite/ with the
// journal today).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store/admin.h"
#include "store/errc.h"
#include "store/kept.h"
#include "store/message.h"
#include "store/questions.h"
#include "store/results.h"
#include "util/task_queue.h"

namespace sternpost::store {

/// Takes a message's octets as they arrive. Up to 64 KiB stay in memory, more go to a file of their own. Used
/// on one thread. Destroyed without finish(): what was written is removed.
class BodySink {
  public:
    virtual ~BodySink() = default;
    /// full when disk or the memory for bodies is short; too_big beyond the limit given to new_body().
    virtual Result<void> write(std::string_view octets) = 0;
    virtual std::uint64_t size() const = 0;
    /// All that was written so far.
    virtual Result<std::string> contents() = 0;
    /// The end. Not yet on stable storage: that is what accept() sees to.
    virtual Result<Body> finish() = 0;
};

/// What the queue asks for when it has room: mail that sleeps in the store and is due.
struct DueQuestion {
    WallTime now;
    std::size_t messages = 1000;        // at most
    std::size_t per_hop = 1000;         // at most, of one next hop
    std::vector<std::string> full;      // ascending: groups (store/hop_group) that shall have no more
    std::vector<MessageId> known;       // ascending: those that the queue has already
    std::size_t recipients = SIZE_MAX;  // no further message once those found have so many
};

struct DueHop {
    HopState state;     // its group's
    bool more = false;  // there is more due for it than is in the answer
};

struct Due {
    std::vector<StoredMessage> messages;
    std::vector<DueHop> hops;      // of all recipients that wait, of these messages
    bool more = false;             // for other next hops too there is more
    std::optional<WallTime> next;  // when the next message becomes due; nullopt: none sleeps
};

/// What was found when a store was opened.
struct Opened {
    MessageId newest;                   // that was ever accepted, for IdSource
    std::vector<std::string> warnings;  // what recovery dropped, kept aside or found odd
};

/// Who opened the store: which slots of queue ids are its own (IdSource). There are two at least: the last is
/// the control thread's.
struct Identity {
    std::string name;  // of this relay among those that share the store; empty: it has the store alone
    unsigned first_slot = 0;
    unsigned slots = 64;
};

/// What the store tells its owner. Called on threads of the store.
struct Events {
    /// Each batch's new messages, notices too, small bodies attached: after the sync and before the replies
    /// of the batch.
    std::function<void(std::vector<StoredMessage>)> accepted{};
    /// Mail that others had is ours now: due() has it.
    std::function<void()> given{};
    /// The store cannot go on, perhaps said more than once: the daemon ends, and stop() may mend it.
    std::function<void(const std::string& why)> lost{};
};

/// Every operation answers by its Completion exactly once, on one of the store's threads; who waits elsewhere
/// posts it home (see util/call.h). Any thread may call.
class Store {
  public:
    virtual ~Store() = default;

    virtual const Opened& opened() const = 0;
    virtual Identity identity() const = 0;
    /// Nothing may go out after this, unless it is asked again and answers later.
    virtual SteadyTime lease() const = 0;
    /// Whether it is up to this daemon to close days, to send reports and to forget what is old.
    virtual bool steward() const = 0;
    /// Whether a message of so many octets finds room, as seen within the last second. A yes may be followed
    /// by `full` all the same.
    virtual bool has_room(std::uint64_t octets) const = 0;
    /// Finishes what was asked for, and ends. What is asked after that is answered with closed. Says for the
    /// log what else was done, such as putting a damaged index aside; empty: nothing. Not on the store's
    /// threads.
    virtual std::string stop() = 0;

    // ---- mail in
    virtual std::unique_ptr<BodySink> new_body(std::uint64_t limit) = 0;
    /// Answers after the accept record, the body and every directory entry it needs are on stable storage
    /// (RFC 5321 §6.1): only then may 250 or exit 0 be said. duplicate: an earlier accept with the same
    /// submission id stands; say 250 to that too.
    virtual void accept(NewMessage message, Completion<Result<MessageId>> reply) = 0;

    // ---- results; they and `notices` (bounces) become durable together: a notice whose results were not
    // recorded is refused as a duplicate later, since its submission id is made from them
    virtual void record(std::vector<DeliveryResult> results, std::vector<NewMessage> notices,
                        Completion<Result<void>> reply) = 0;
    virtual void act(std::vector<Act> acts, Completion<Result<void>> reply) = 0;

    // ---- octets out
    /// Up to `most` octets from `offset`; shorter only at the end.
    virtual void read_body(const StoredMessage& message, std::uint64_t offset, std::size_t most,
                           Completion<Result<std::string>> reply) = 0;

    // ---- questions
    /// Runs `question` over everything that was accepted and recorded before. current: with busy rather than
    /// with answers that may be out of date.
    virtual void ask(Question question, bool current) = 0;
    /// Mail that is due: how the queue manager fills its memory. In turn by sender where none of a next hop's
    /// mail was tried yet, by the time that it is due where it was.
    virtual void due(DueQuestion question, Completion<Result<Due>> reply) = 0;

    // ---- what is kept next to mail
    /// Replaces what is kept of the same key (store/kept): a policy becomes the one in force for its domain
    /// and a version of its history, an override with an empty level and a suspension that has ended are
    /// removed, an alarm's count is added. The closing of a day is answered when all answers know it:
    /// outcomes count in the day after it from then on. Without `reply` it waits for the next batch, and may
    /// be lost with the process.
    virtual void keep(Kept kept, Completion<Result<void>> reply) = 0;
    void keep(Kept kept) { keep(std::move(kept), Completion<Result<void>>()); }
};

}  // namespace sternpost::store
