// `why` and `policy whatif`: why a message is where it is, and what an enforced policy would have done.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/queue.h"
#include "delivery/why.h"

namespace sternpost::admin {

// ---- why

struct WhyRecipientRow {
    std::string path;
    std::string state;
    std::string status;
    std::string code;    // of the reason
    std::string blocks;  // what blocks it now, a sentence
    std::optional<WallTime> next_at;
    std::string unblocks;
    std::string move;
};
BOOST_DESCRIBE_STRUCT(WhyRecipientRow, (), (path, state, status, code, blocks, next_at, unblocks, move))

/// A result of a recipient, a failure of a next hop, or what an administrator did.
struct HistoryRow {
    WallTime at{};
    std::optional<std::uint32_t> recipient;
    std::optional<std::string> next_hop;
    std::optional<std::uint32_t> failures;
    std::optional<std::string> status;
    std::optional<std::string> reason;
    std::optional<std::string> mx_host;
    std::optional<std::string> mx_address;
    std::optional<std::string> tls;
    std::optional<std::string> policy;
    std::optional<std::string> code;
    std::optional<int> act;
    std::optional<std::string> who;
    std::optional<std::vector<std::string>> hosts;
    std::optional<std::string> dialogue;
};
BOOST_DESCRIBE_STRUCT(HistoryRow, (),
                      (at, recipient, next_hop, failures, status, reason, mx_host, mx_address, tls, policy,
                       code, act, who, hosts, dialogue))

struct WhyAnswer {
    std::string id;
    bool in_queue = true;
    WallTime arrived{};
    bool clock_trusted = true;
    std::string writes_as;
    std::vector<WhyRecipientRow> recipients;
    std::vector<HistoryRow> attempts;
    std::vector<std::string> lines;
};
BOOST_DESCRIBE_STRUCT(WhyAnswer, (),
                      (id, in_queue, arrived, clock_trusted, writes_as, recipients, attempts, lines))

HistoryRow row_of(const store::HistoryEntry& entry);

class Why : public ReadingVerb {
  public:
    using Request = IdRequest;
    using Value = WhyAnswer;
    static constexpr std::string_view name = "why";
    static constexpr Access access = Access::read;

    Why(Request request, const Caller&, Paging);
    store::Result<void> read(store::Questions& questions);
    Answer<Value> answer(const Live& live);

  private:
    std::string id_;
    bool found_ = false;
    delivery::WhyFacts facts_;
    std::vector<store::HopState> hops_;
};

// ---- what if

struct SinceRequest {
    std::string since;  // a duration such as 7d
};
BOOST_DESCRIBE_STRUCT(SinceRequest, (), (since))

struct UnknownPolicyRow {
    std::string domain;
    std::string result_type;
};
BOOST_DESCRIBE_STRUCT(UnknownPolicyRow, (), (domain, result_type))

struct WouldFailRow {
    std::string domain;
    std::string mode;
    std::string mx_host;
    std::string code;
    std::uint64_t sessions = 0;
};
BOOST_DESCRIBE_STRUCT(WouldFailRow, (), (domain, mode, mx_host, code, sessions))

struct HeldRow {
    std::string next_hop;
    std::string code;
    std::string reason;
    std::uint64_t recipients = 0;
    std::optional<std::uint64_t> messages;  // where all of them are named
    std::vector<std::string> ids;
};
BOOST_DESCRIBE_STRUCT(HeldRow, (), (next_hop, code, reason, recipients, messages, ids))

struct WhatIfAnswer {
    std::vector<UnknownPolicyRow> unknown;
    std::uint64_t sessions = 0;  // to domains that enforce nothing
    std::vector<WouldFailRow> would_fail;
    std::vector<HeldRow> held;
    std::uint64_t held_others = 0;  // next hops that are not named
    std::vector<std::string> lines;
};
BOOST_DESCRIBE_STRUCT(WhatIfAnswer, (), (unknown, sessions, would_fail, held, held_others, lines))

/// The next hops that nothing but a policy keeps from taking mail now, and their mail.
class HeldByPolicy {
  public:
    static constexpr std::size_t max_hops = 1000;  // ours: that are named; the others are counted
    static constexpr std::size_t max_ids = 100;    // ours: messages that are named for each of them

    struct Hop {
        store::HopState state;
        std::uint64_t recipients = 0;  // that wait for it
        std::vector<std::string> ids;  // of messages
        bool more = false;             // other messages may wait for it too
    };

    /// Passes over a next hop that is not held so.
    void add(const store::HopLoad& load);
    /// What is to be asked of the store for each hop, and what it answered.
    static store::QueueFilter mail_of(const Hop& hop);
    static void name(Hop& hop, const std::vector<store::StoredMessage>& found);

    std::vector<Hop>& hops() { return hops_; }
    const std::vector<Hop>& hops() const { return hops_; }
    std::uint64_t others() const { return others_; }

  private:
    std::vector<Hop> hops_;
    std::uint64_t others_ = 0;
};

/// Sessions to domains that enforce nothing, which would have failed if they had; and what only a policy
/// holds now.
WhatIfAnswer what_if(const std::vector<store::StoredOutcome>& outcomes, const HeldByPolicy& held,
                     std::chrono::sys_days since);

class WhatIf : public ReadingVerb {
  public:
    using Request = SinceRequest;
    using Value = WhatIfAnswer;
    static constexpr std::string_view name = "policy.whatif";
    static constexpr Access access = Access::look_up;

    WhatIf(const Request& request, const Caller&, Paging);
    store::Result<void> read(store::Questions& questions);
    void look(const Live& live);
    Answer<Value> answer(const Live&) { return what_if(outcomes_, held_, from_); }

  private:
    enum class Step { begin, hops, mail };
    Step step_ = Step::begin;
    std::chrono::microseconds span_{};
    std::chrono::sys_days from_{};
    std::vector<store::StoredOutcome> outcomes_;
    store::HopFilter filter_;
    std::vector<store::HopLoad> page_;
    HeldByPolicy held_;
    std::size_t named_ = 0;  // of held_
};

}  // namespace sternpost::admin
