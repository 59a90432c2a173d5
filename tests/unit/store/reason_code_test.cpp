#include "store/reason_code.h"

#include <gtest/gtest.h>

#include <set>

namespace sternpost::store {
namespace {

TEST(ReasonCodes, AreReadBackByTheirNames) {
    std::set<std::string_view> names;
    for (int n = 0; n <= static_cast<int>(ReasonCode::held); ++n) {
        const auto code = static_cast<ReasonCode>(n);
        EXPECT_EQ(reason_code_of(name_of(code)), code);
        EXPECT_TRUE(names.insert(name_of(code)).second) << name_of(code);
    }
    EXPECT_EQ(name_of(ReasonCode::none), "");
    EXPECT_EQ(name_of(ReasonCode::held), "held");
}

TEST(ReasonCodes, OfALaterReleaseAreNone) {
    EXPECT_EQ(reason_code_of("of-a-later-release"), ReasonCode::none);
}

}  // namespace
}  // namespace sternpost::store
