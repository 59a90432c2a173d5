#include "store/journal/body.h"

#include <gtest/gtest.h>

#include "fake/sim_disk.h"
#include "store/journal/segment.h"
#include "unit/store/store_testing.h"

namespace sternpost::store {
namespace {

constexpr std::size_t most_in_memory = 100'000;
constexpr std::uint64_t no_limit = 1'000'000;

class StoredBody : public ::testing::Test {
  protected:
    void SetUp() override { ASSERT_TRUE(disk_.make_dir("bodies")); }
    std::vector<std::string> files() { return disk_.list("bodies").value(); }
    Body body_of(const std::string& octets) {
        const auto sink = bodies_.make(no_limit);
        EXPECT_TRUE(sink->write(octets));
        return sink->finish().value();
    }

    fake::SimDisk disk_;
    testing::SeededRandom random_{3};
    Bodies bodies_{disk_, random_, most_in_memory};
};

TEST_F(StoredBody, HasAsManyOctetsAsItsLimit) {
    const auto sink = bodies_.make(1000);
    EXPECT_TRUE(sink->write(std::string(400, 'x')));
    EXPECT_TRUE(sink->write(std::string(600, 'x')));
    const auto more = sink->write("x");
    ASSERT_FALSE(more);
    EXPECT_EQ(more.error().code, Errc::too_big);
    EXPECT_EQ(sink->size(), 1000U);
}

TEST_F(StoredBody, TakesMemoryOnlyUntilItIsDropped) {
    auto sink = bodies_.make(no_limit);
    ASSERT_TRUE(sink->write(std::string(50'000, 'x')));
    EXPECT_GE(bodies_.memory_used(), 50'000U);
    EXPECT_TRUE(files().empty());
    sink.reset();
    EXPECT_EQ(bodies_.memory_used(), 0U);
}

TEST_F(StoredBody, TakesNoMemoryThatItWasRefused) {
    std::vector<std::unique_ptr<BodySink>> sinks;
    for (int n = 0; n < 3; ++n) {
        sinks.push_back(bodies_.make(no_limit));
        ASSERT_TRUE(sinks.back()->write(std::string(40'000, 'x')));
    }
    EXPECT_EQ(files().size(), 1U) << "there was no room for the third";
    EXPECT_EQ(bodies_.memory_used(), 80'000U);
    sinks.clear();
    EXPECT_EQ(bodies_.memory_used(), 0U);
    EXPECT_FALSE(has_file(body_of(std::string(60'000, 'x')))) << "there is room again";
}

TEST_F(StoredBody, LeavesNoFileWhenItIsDropped) {
    auto sink = bodies_.make(no_limit);
    ASSERT_TRUE(sink->write(std::string(200'000, 'x')));
    EXPECT_EQ(files().size(), 1U);
    sink.reset();
    EXPECT_TRUE(files().empty());
    const Body kept = body_of(std::string(200'000, 'x'));
    EXPECT_EQ(files().size(), 1U) << "one that is finished stays";
    bodies_.discard(kept);
    EXPECT_TRUE(files().empty());
}

TEST_F(StoredBody, OfAFileOutlivesThePowerOnceItIsDurable) {
    for (int n = 0; n < 20; ++n) {
        SCOPED_TRACE(n);
        const std::string octets(200'000, static_cast<char>('a' + n));
        Body body = body_of(octets);
        ASSERT_TRUE(has_file(body));
        ASSERT_TRUE(bodies_.make_durable(body));
        disk_.crash(random_);
        const auto read = read_body(disk_, body, 0, octets.size());
        ASSERT_TRUE(read) << read.error().text;
        EXPECT_EQ(*read, octets);
    }
}

}  // namespace
}  // namespace sternpost::store
