#include "dns/cache.h"

#include <gtest/gtest.h>

namespace sternpost::dns {
namespace {

Domain name(int n) {
    return Domain::parse("n" + std::to_string(n) + ".example").value();
}

Answer<std::string> text_of(std::size_t octets) {
    Answer<std::string> out;
    out.existence = Existence::found;
    out.records.emplace_back(octets, 'x');
    return out;
}

constexpr SteadyTime start{};
constexpr SteadyTime later = start + std::chrono::hours(1);

TEST(DnsCache, KeepsNoMoreThanItsOctets) {  // D-46
    CacheBudget budget(100'000);
    AnswerCache<std::string> cache(budget);
    for (int i = 0; i < 1000; ++i) {
        cache.put(name(i), text_of(1000), later);
        EXPECT_LE(budget.octets(), 100'000U);
    }
    EXPECT_LT(cache.size(), 100U);
    EXPECT_GT(cache.size(), 50U);
    EXPECT_NE(cache.find(name(999), start), nullptr);
    EXPECT_EQ(cache.find(name(0), start), nullptr);
}

TEST(DnsCache, GivesUpWhatWasAskedForLongestAgo) {  // D-46
    CacheBudget budget(100'000);
    AnswerCache<std::string> cache(budget);
    for (int i = 0; i < 1000; ++i) {
        cache.put(name(i), text_of(1000), later);
        EXPECT_NE(cache.find(name(0), start), nullptr) << "it is asked for all the time";
    }
    EXPECT_EQ(cache.find(name(1), start), nullptr);
}

TEST(DnsCache, SharesItsOctetsWithTheOtherTypes) {  // D-46
    CacheBudget budget(100'000);
    AnswerCache<std::string> texts(budget);
    AnswerCache<Mx> exchanges(budget);
    for (int i = 0; i < 50; ++i) texts.put(name(i), text_of(1000), later);
    Answer<Mx> many;
    many.existence = Existence::found;
    for (int i = 0; i < 64; ++i) many.records.push_back({10, std::string(230, 'x')});
    for (int i = 0; i < 50; ++i) exchanges.put(name(i), many, later);
    EXPECT_LE(budget.octets(), 100'000U);
    EXPECT_EQ(texts.size(), 0U);
    EXPECT_LT(exchanges.size(), 7U);
    EXPECT_NE(exchanges.find(name(49), start), nullptr);
}

TEST(DnsCache, TakesBackTheOctetsOfWhatIsGone) {
    CacheBudget budget(100'000);
    AnswerCache<std::string> cache(budget);
    cache.put(name(0), text_of(1000), later);
    const std::size_t one = budget.octets();
    cache.put(name(0), text_of(1000), later);
    EXPECT_EQ(budget.octets(), one) << "it stands in the other one's place";
    EXPECT_EQ(cache.peek(name(0), later), nullptr);
    EXPECT_EQ(cache.size(), 1U) << "looking changes nothing";
    EXPECT_EQ(cache.find(name(0), later), nullptr) << "it may be believed no more";
    EXPECT_EQ(cache.size(), 0U);
    EXPECT_EQ(budget.octets(), 0U);
    cache.put(name(1), Answer<std::string>(), later);
    cache.put(name(2), text_of(1000), later);
    cache.forget_negative();
    EXPECT_EQ(cache.size(), 1U);
    EXPECT_NE(cache.peek(name(2), start), nullptr);
    EXPECT_GE(budget.octets(), 1000U);
    EXPECT_LT(budget.octets(), 1500U);
}

TEST(DnsCache, TakesAnAnswerThatIsLargerThanAllItsOctets) {
    CacheBudget budget(500);
    AnswerCache<std::string> cache(budget);
    cache.put(name(0), text_of(10), later);
    cache.put(name(1), text_of(10'000), later);
    EXPECT_EQ(cache.size(), 1U);
    EXPECT_NE(cache.find(name(1), start), nullptr);
    cache.put(name(2), text_of(10), later);
    EXPECT_EQ(cache.find(name(1), start), nullptr);
}

}  // namespace
}  // namespace sternpost::dns
