#include "util/memory.h"

#include <gtest/gtest.h>

#include <vector>

namespace sternpost::util {
namespace {

TEST(OwnMemory, GrowsWithWhatIsWrittenTo) {
    const std::uint64_t before = own_memory();
    ASSERT_GT(before, 100'000U);
    const std::vector<char> more(64UL << 20U, 'x');
    EXPECT_GE(own_memory(), before + (60UL << 20U)) << more.size();
}

TEST(MemoryLimit, IsExceededUntilThereIsATenthLess) {
    MemoryLimit limit(1000);
    EXPECT_FALSE(limit.exceeded(999));
    EXPECT_TRUE(limit.exceeded(1000));
    EXPECT_TRUE(limit.exceeded(900));
    EXPECT_FALSE(limit.exceeded(899));
    EXPECT_FALSE(limit.exceeded(950)) << "and from then on as before";
    MemoryLimit none(0);
    EXPECT_FALSE(none.exceeded(UINT64_MAX));
}

}  // namespace
}  // namespace sternpost::util
