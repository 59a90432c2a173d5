// What is so, as far as an answer to people speaks of it: what became of mail and of next hops, who is
// suspended, where an attempt is under way. The oracle tells it; claims.h holds what the daemon says against
// it. A fact that began or changed while a question was under way proves nothing.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "store/admin.h"
#include "store/message.h"
#include "store/results.h"
#include "store/store.h"
#include "util/clock.h"

namespace sternpost::simulation {

class Facts {
  public:
    explicit Facts(const Clock& truth) : truth_(truth) {}

    /// By whom a message was sent.
    struct Sender {
        std::string reverse_path;
        std::string client;  // an address; empty: a user of this machine, or the relay itself
        bool of_user = false;
    };
    /// What became of one recipient.
    struct Recipient {
        std::set<std::string> texts;                // of all deferrals that were to be recorded
        std::optional<store::DeliveryResult> last;  // that is on stable storage, where nothing came after it
        SteadyTime changed{};
        std::optional<SteadyTime> moved;  // to another next hop, and nothing was tried since
    };
    struct Hop {
        std::size_t lanes = 0;
        SteadyTime lanes_changed{};
        std::set<std::string> texts;  // of all states in which it failed, and of its recipients
        std::optional<store::HopState>
            failing;                      // the last word of this process; nullopt: it works, or unknown
        std::optional<SteadyTime> taken;  // mail is recorded as sent there, and nothing failed after it
        SteadyTime changed{};
    };
    struct Suspension {
        bool perhaps = false;             // it may hold
        std::optional<SteadyTime> since;  // it holds
        SteadyTime changed{};
    };

    // ---- told by the oracle
    void given(store::MessageId id, Sender sender) { senders_.insert_or_assign(id, std::move(sender)); }
    void lane_begins(const std::string& hop) { move_lanes(hop, 1); }
    void lane_ends(const std::string& hop) { move_lanes(hop, -1); }
    void asked_to_record(const store::DeliveryResult& result, const std::string& hop);
    void recorded(const store::DeliveryResult& result, const std::string& hop);
    void hop_recorded(const store::HopState& state);
    void acted(const store::Act& act);
    void rerouted(store::MessageId id, std::uint32_t n);
    void suspension_asked(const store::StoredSuspension& suspension);
    void suspension_recorded(const store::StoredSuspension& suspension);
    /// The process is gone: what it knew and had not kept is forgotten.
    void ended();
    /// An administrator has acted, or the clock was set: waits and failures of before bind no one.
    void shaken() { shaken_ = truth_.steady(); }

    // ---- asked by claims
    SteadyTime now() const { return truth_.steady(); }
    SteadyTime last_shaken() const { return shaken_; }
    const Hop& hop(const std::string& name) const;
    const Recipient& recipient(store::MessageId id, std::uint32_t n) const;
    /// Whether an administrator has done this to the message, ever.
    bool was_done(store::MessageId id, store::ActKind kind) const { return acts_.contains({id, kind}); }
    /// Since before `then`, for sure.
    bool hop_is_suspended(const std::string& hop, SteadyTime then) const;
    bool sender_is_suspended(store::MessageId id, SteadyTime then) const;
    /// At some time since `then`.
    bool hop_may_be_suspended(const std::string& hop, SteadyTime then) const;
    bool sender_may_be_suspended(store::MessageId id, SteadyTime then) const;

  private:
    void move_lanes(const std::string& hop, int by);
    template <class Means>
    bool any_suspension(store::SuspensionKind kind, bool sure, SteadyTime then, Means means) const;
    bool means(const std::string& scope, store::MessageId id) const;

    const Clock& truth_;
    std::map<store::MessageId, Sender> senders_;
    std::map<std::pair<store::MessageId, std::uint32_t>, Recipient> recipients_;
    std::map<std::string, Hop> hops_;
    std::set<std::pair<store::MessageId, store::ActKind>> acts_;
    std::map<std::pair<store::SuspensionKind, std::string>, Suspension> suspensions_;
    SteadyTime shaken_{};
};

}  // namespace sternpost::simulation
