#include "control/reasons.h"

#include <gtest/gtest.h>

namespace sternpost::control {
namespace {

constexpr std::chrono::sys_days day = std::chrono::year(2026) / 11 / 23;

delivery::BlockedHop blocked(const char* name, const char* code) {
    delivery::BlockedHop out;
    out.name = name;
    out.reason_code = store::reason_code_of(code);
    out.text = "why";
    return out;
}

TEST(WhatIf, NamesWhatNothingButAPolicyHolds) {
    const std::vector<delivery::BlockedHop> hops{
        blocked("stripped.test", "starttls-not-offered"), blocked("moved.test", "sts-mx-not-listed"),
        blocked("dead.test", "unreachable"), blocked("away.test", "greeting-refused"),
        blocked("lost.test", "network-unreachable")};
    const Waiting waiting{{"stripped.test", {"A1", "A2"}}, {"dead.test", {"B1"}}};
    const auto answer = what_if({}, hops, waiting, day);
    const auto& held = answer.at("held").as_array();
    ASSERT_EQ(held.size(), 2U) << json::serialize(answer);
    EXPECT_EQ(held[0].at("next_hop").as_string(), "stripped.test");
    EXPECT_EQ(held[0].at("messages").to_number<int>(), 2);
    EXPECT_EQ(json::serialize(held[0].at("ids")), R"(["A1","A2"])");
    EXPECT_EQ(held[1].at("next_hop").as_string(), "moved.test");
    EXPECT_EQ(held[1].at("messages").to_number<int>(), 0);
}

TEST(WhatIf, NamesAHundredMessagesAndCountsTheOthers) {
    const std::vector<delivery::BlockedHop> hops{blocked("d.test", "starttls-not-offered")};
    Waiting waiting;
    for (int i = 0; i < 103; ++i) waiting["d.test"].push_back("Q" + std::to_string(i));
    const auto answer = what_if({}, hops, waiting, day);
    EXPECT_EQ(answer.at("held").at(0).at("messages").to_number<int>(), 103);
    EXPECT_EQ(answer.at("held").at(0).at("ids").as_array().size(), 100U);
    EXPECT_EQ(answer.at("lines").as_array().back().as_string(), "  and 3 more");
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
    const auto answer = what_if({row, good}, {}, {}, day);
    const auto& rows = answer.at("would_fail").as_array();
    ASSERT_EQ(rows.size(), 1U) << json::serialize(answer);
    EXPECT_EQ(rows[0].at("domain").as_string(), "t.test");
    EXPECT_EQ(rows[0].at("sessions").to_number<int>(), 7);
}

TEST(Waiting, IsByNextHopAndOfWhatIsQueued) {
    store::StoredMessage message;
    for (const char* next_hop : {"a.test", "a.test", "b.test"})
        message.recipients.emplace_back(store::QueuedRecipient(
            mail::Recipient(mail::ForwardPath::parse("u@" + std::string(next_hop)).value()), next_hop));
    message.recipients[2].state = store::RecipientState::sent;
    Waiting waiting;
    add_waiting(waiting, message);
    ASSERT_EQ(waiting.size(), 1U);
    EXPECT_EQ(waiting.begin()->second, std::vector{message.id.text()}) << "once, whatever its recipients";
}

}  // namespace
}  // namespace sternpost::control
