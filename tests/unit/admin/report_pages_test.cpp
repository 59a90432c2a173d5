#include "admin/report_pages.h"

#include <gtest/gtest.h>

namespace sternpost::admin {
namespace {

using std::chrono::days;
using std::chrono::sys_days;

store::StoredReport report(int day, int n) {
    store::StoredReport out;
    out.day = sys_days(days(day));
    out.domain = "d" + std::to_string(1000 + n) + ".example";
    return out;
}

struct Row {
    const char* name;
    std::vector<int> reports;  // of day 1, 2 …
};
class PagesOfReports : public ::testing::TestWithParam<Row> {};

TEST_P(PagesOfReports, AreTheWholeListAFewAtATime) {  // D-46
    std::vector<store::StoredReport> all;
    for (std::size_t day = 0; day < GetParam().reports.size(); ++day)
        for (int n = 0; n < GetParam().reports[day]; ++n) all.push_back(report(static_cast<int>(day) + 1, n));
    std::vector<store::StoredReport> given;
    int questions = 0;
    for (ReportPages pages({}, 10); !pages.done(); ++questions) {
        ASSERT_LT(questions, 100);
        std::vector<store::StoredReport> found;
        for (const auto& one : all)
            if (matches(pages.next(), one) && found.size() < pages.next().limit) found.push_back(one);
        auto page = pages.take(std::move(found));
        EXPECT_LE(page.size(), 10U);
        for (auto& one : page) given.push_back(std::move(one));
    }
    EXPECT_EQ(given, all);
}

INSTANTIATE_TEST_SUITE_P(Of, PagesOfReports,
                         ::testing::Values(Row{"Nothing", {}}, Row{"AFew", {3}}, Row{"OnePage", {10}},
                                           Row{"ADayOfSeveralPages", {35}},
                                           Row{"DaysThatEndWithThePages", {10, 20, 10}},
                                           Row{"DaysWithinAPage", {3, 3, 3, 3, 3, 3, 3}},
                                           Row{"ADayWithoutReports", {7, 0, 25, 0, 1}}),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace sternpost::admin
