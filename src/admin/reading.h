// Verbs that only read. Each is a class. It takes a request, reads from the store in steps, and makes an
// answer of what it read and of what a running daemon has in memory. The daemon uses these classes, and so
// does the command when no daemon runs.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "admin/answer.h"
#include "queue/obstacle.h"
#include "queue/schedule.h"
#include "queue/work.h"
#include "store/admin.h"
#include "store/questions.h"
#include "tlsrpt/report.h"

namespace sternpost::admin {

/// An override as it is shown, and where it was set.
struct KnownOverride {
    store::StoredOverride what;
    bool configured = false;  // in the configuration; else by command
};

/// What is known apart from the store: by a running daemon more than by what lies on the disk. Used on the
/// thread that owns it.
class Live {
  public:
    virtual ~Live() = default;

    virtual bool running() const = 0;  // a daemon
    virtual WallTime now() const = 0;
    virtual bool clock_trusted() const = 0;
    /// What is in the way of each recipient of a message. `stored`: how its next hops fail, by the store.
    virtual std::vector<queue::Blocked> blocked_by(const store::StoredMessage& message,
                                                   const std::vector<store::HopState>& stored) const = 0;
    /// nullopt: memory knows nothing of it.
    virtual std::optional<queue::HopView> hop(const std::string& name) const = 0;
    virtual std::set<std::string> hops_in_use() const = 0;
    virtual std::vector<store::StoredSuspension> suspensions() const = 0;
    virtual std::vector<KnownOverride> overrides() const = 0;
    /// Those in force for a next hop.
    virtual std::vector<store::StoredOverride> overrides_for(const std::string& next_hop) const = 0;
    /// Which rule decides how the message is written; empty: nothing to say.
    virtual std::string writes_as(const store::StoredMessage& message) const = 0;
    virtual const queue::Schedule& schedule() const = 0;
    virtual tlsrpt::Reporter reporter() const = 0;
};

/// How a long list goes to whoever asked.
enum class Paging {
    one_page,  // at once, and no more than a page of it
    pieces,    // piece by piece: rows() are taken away between two reads
    whole,     // at once
};

/// What the reading verbs share. A verb has a Request, a Value, its NAME and its ACCESS, and
///   Verb(Request, const Caller&, Paging)
///   store::Result<void> read(store::Questions&);   on the store's thread; again while more()
///   void look(const Live&);                        after each read, on the thread of Live
///   Answer<Value> answer(const Live&);             when there is nothing more to read
/// One with pieces has Row, rows() and PIECES, the name under which they travel.
class ReadingVerb {
  public:
    /// The request makes no sense, or is not for this caller: nothing is read.
    const std::optional<Refusal>& refused() const { return refused_; }
    bool more() const { return more_; }
    void look(const Live&) {}

  protected:
    std::optional<Refusal> refused_;
    bool more_ = false;
};

/// Runs a verb where nothing has to be awaited.
template <class Verb>
Answer<typename Verb::Value> read_now(Verb verb, store::Questions& questions, const Live& live) {
    if (verb.refused()) return *verb.refused();
    do {
        if (const auto done = verb.read(questions); !done) return done.error();
        verb.look(live);
    } while (verb.more());
    return verb.answer(live);
}

}  // namespace sternpost::admin
