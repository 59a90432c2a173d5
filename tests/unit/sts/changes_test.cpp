#include "sts/changes.h"

#include <gtest/gtest.h>

namespace sternpost::sts {
namespace {

struct ChangeRow {
    const char* name;
    store::PolicyVersion before;
    store::PolicyVersion after;
    std::vector<std::string> kinds;
};

store::PolicyVersion version(const std::string& id, const std::string& mode, const std::string& mx,
                             int max_age) {
    std::string text = "version: STSv1\nmode: " + mode + "\n";
    for (std::size_t at = 0; at < mx.size();) {
        const auto end = std::min(mx.find(' ', at), mx.size());
        text += "mx: " + mx.substr(at, end - at) + "\n";
        at = end + 1;
    }
    return {id, text + "max_age: " + std::to_string(max_age) + "\n", "", {}, {}};
}

class PolicyChange : public ::testing::TestWithParam<ChangeRow> {};
TEST_P(PolicyChange, IsRemarkedOn) {
    std::vector<std::string> kinds;
    for (const auto& change : changes(GetParam().before, GetParam().after)) {
        kinds.emplace_back(name_of(change.kind));
        EXPECT_FALSE(change.text.empty());
    }
    EXPECT_EQ(kinds, GetParam().kinds);
}

const auto usual = version("1", "enforce", "mx1.a.example mx2.a.example", 1000);
INSTANTIATE_TEST_SUITE_P(
    As, PolicyChange,
    ::testing::Values(
        ChangeRow{"Nothing", usual, usual, {}},
        ChangeRow{"NewIdAlone", usual, version("2", "enforce", "mx1.a.example mx2.a.example", 1000), {}},
        ChangeRow{"TextWithoutId",
                  usual,
                  version("1", "enforce", "mx1.a.example mx2.a.example", 999),
                  {"policy-changed-without-id"}},
        ChangeRow{"Testing",
                  usual,
                  version("2", "testing", "mx1.a.example mx2.a.example", 1000),
                  {"policy-weakened"}},
        ChangeRow{"None", usual, version("2", "none", "", 1000), {"policy-weakened"}},
        ChangeRow{"TestingToNone",
                  version("1", "testing", "mx1.a.example", 1000),
                  version("2", "none", "", 1000),
                  {}},
        ChangeRow{"Stronger", version("0", "testing", "mx1.a.example", 1000), usual, {}},
        ChangeRow{"MxGone", usual, version("2", "enforce", "mx1.a.example", 1000), {"mx-set-shrunk"}},
        ChangeRow{"MxReplaced",
                  usual,
                  version("2", "enforce", "mx1.a.example mx3.a.example", 1000),
                  {"mx-set-shrunk"}},
        ChangeRow{"MxCoveredByWildcard", usual, version("2", "enforce", "*.a.example", 1000), {}},
        ChangeRow{"WildcardGone", version("0", "enforce", "*.a.example", 1000), usual, {"mx-set-shrunk"}},
        ChangeRow{"MaxAgeQuarter", usual, version("2", "enforce", "mx1.a.example mx2.a.example", 250), {}},
        ChangeRow{
            "MaxAgeCut", usual, version("2", "enforce", "mx1.a.example mx2.a.example", 249), {"max-age-cut"}},
        ChangeRow{"All",
                  usual,
                  version("1", "testing", "mx3.a.example", 1),
                  {"policy-changed-without-id", "policy-weakened", "mx-set-shrunk", "max-age-cut"}},
        ChangeRow{"NoPolicyAnyMore", usual, store::PolicyVersion{"2", "garbage", "", {}, {}}, {}}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace sternpost::sts
