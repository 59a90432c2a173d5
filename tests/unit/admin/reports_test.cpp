#include "admin/reports.h"

#include <gtest/gtest.h>

namespace sternpost::admin {
namespace {

constexpr std::chrono::sys_days report_day = std::chrono::year(2026) / 11 / 23;

TEST(Digest, ShowsTenFailuresOfADomainAndCountsTheirKinds) {
    for (const int kinds : {10, 12}) {
        std::vector<store::StoredOutcome> outcomes;
        for (int n = 0; n < kinds; ++n) {
            store::StoredOutcome one;
            one.day = report_day;
            one.n = 1;
            one.outcome.domain = one.outcome.policy_domain = "d.test";
            one.outcome.mx_host = "mx" + std::to_string(n) + ".d.test";
            one.outcome.count = store::OutcomeCount::failure;
            one.outcome.result_type = "certificate-expired";
            outcomes.push_back(std::move(one));
        }
        const auto policy = digest(report_day, outcomes, {}).domains.at(0).policies.at(0);
        EXPECT_EQ(policy.failures.size(), 10U);
        EXPECT_EQ(policy.kinds, static_cast<std::size_t>(kinds));
        EXPECT_EQ(policy.failed, static_cast<std::size_t>(kinds));
    }
}

}  // namespace
}  // namespace sternpost::admin
