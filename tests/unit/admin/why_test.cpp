#include "admin/why.h"

#include <gtest/gtest.h>

namespace sternpost::admin {
namespace {

constexpr std::chrono::sys_days day = std::chrono::year(2026) / 11 / 23;

store::HopLoad failing(const std::string& name, const char* code, std::uint64_t recipients = 1) {
    store::HopLoad out;
    out.state.next_hop = name;
    out.state.failures = 1;
    out.state.reason_code = store::reason_code_of(code);
    out.state.text = "why";
    out.recipients = recipients;
    return out;
}

store::StoredMessage message_to(std::uint64_t id, std::initializer_list<const char*> next_hops) {
    store::StoredMessage out;
    out.id = {id};
    for (const char* next_hop : next_hops)
        out.recipients.emplace_back(store::QueuedRecipient(
            mail::Recipient(mail::ForwardPath::parse("u@" + std::string(next_hop)).value()), next_hop));
    return out;
}

TEST(WhatIf, NamesWhatNothingButAPolicyHolds) {
    HeldByPolicy held;
    held.add(failing("stripped.test", "starttls-not-offered", 3));
    held.add(failing("moved.test", "sts-mx-not-listed", 0));
    for (const char* code : {"unreachable", "greeting-refused", "network-unreachable"})
        held.add(failing("dead.test", code));
    store::HopLoad works = failing("works.test", "starttls-not-offered");
    works.state.failures = 0;
    held.add(works);
    ASSERT_EQ(held.hops().size(), 2U);
    EXPECT_EQ(HeldByPolicy::mail_of(held.hops()[0]).domain, "stripped.test");
    const auto first = message_to(1, {"stripped.test", "stripped.test"});
    const auto second = message_to(2, {"stripped.test", "dead.test"});
    HeldByPolicy::name(held.hops()[0], {first, second});
    const auto answer = what_if({}, held, day);
    const auto& rows = answer.held;
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_EQ(rows[0].next_hop, "stripped.test");
    EXPECT_EQ(rows[0].recipients, 3U);
    EXPECT_EQ(rows[0].messages, 2U) << "each once, whatever its recipients";
    EXPECT_EQ(rows[0].ids.at(0), first.id.text());
    EXPECT_EQ(rows[1].next_hop, "moved.test");
    EXPECT_EQ(rows[1].messages, 0U);
}

TEST(WhatIf, NamesOnlyWhatWaitsForTheNextHopItself) {
    HeldByPolicy held;
    held.add(failing("d.test requiretls", "requiretls-not-offered"));
    auto& hop = held.hops().at(0);
    auto sent = message_to(1, {"d.test"});
    sent.envelope.requiretls = true;
    sent.recipients[0].state = store::RecipientState::sent;
    auto waits = message_to(2, {"d.test"});
    waits.envelope.requiretls = true;
    HeldByPolicy::name(hop, {sent, waits, message_to(3, {"d.test"})});
    EXPECT_EQ(hop.ids, std::vector{waits.id.text()});
    EXPECT_EQ(HeldByPolicy::mail_of(hop).domain, "d.test");
}

TEST(WhatIf, NamesAHundredMessagesAndSaysThatThereAreMore) {
    HeldByPolicy held;
    held.add(failing("d.test", "starttls-not-offered", 5000));
    std::vector<store::StoredMessage> found;
    for (std::uint64_t id = 1; id <= 101; ++id) found.push_back(message_to(id, {"d.test"}));
    EXPECT_EQ(HeldByPolicy::mail_of(held.hops()[0]).limit, 101U);
    HeldByPolicy::name(held.hops()[0], found);
    const auto answer = what_if({}, held, day);
    const auto& row = answer.held.at(0);
    EXPECT_EQ(row.recipients, 5000U);
    EXPECT_FALSE(row.messages) << "they were not counted";
    EXPECT_EQ(row.ids.size(), 100U);
    EXPECT_EQ(answer.lines.back(), "  and more: \"sternpost queue list --domain d.test\" lists all of it");
}

TEST(WhatIf, NamesAThousandNextHopsAndCountsTheOthers) {
    HeldByPolicy held;
    for (int n = 0; n < 1003; ++n) held.add(failing("d" + std::to_string(n), "starttls-not-offered"));
    const auto answer = what_if({}, held, day);
    EXPECT_EQ(answer.held.size(), 1000U);
    EXPECT_EQ(answer.held_others, 3U);
    EXPECT_EQ(answer.lines.back(), "3 more next hop(s) are held by nothing but a policy");
}

TEST(WhatIf, CountsTheSessionsThatWouldHaveFailed) {
    store::StoredOutcome row;
    row.outcome.domain = "t.test";
    row.outcome.mx_host = "mx.t.test";
    row.outcome.mode = "testing";
    row.outcome.policy_type = store::PolicyType::sts;
    row.outcome.count = store::OutcomeCount::failure;
    row.outcome.result_type = "certificate-expired";
    row.outcome.if_enforced = "certificate-expired";
    row.n = 7;
    store::StoredOutcome good;
    good.outcome.domain = "g.test";
    good.outcome.count = store::OutcomeCount::success;
    good.n = 5;
    const auto answer = what_if({row, good}, {}, day);
    const auto& rows = answer.would_fail;
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0].domain, "t.test");
    EXPECT_EQ(rows[0].sessions, 7U);
}

}  // namespace
}  // namespace sternpost::admin
