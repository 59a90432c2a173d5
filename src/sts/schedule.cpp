#include "sts/schedule.h"

#include <algorithm>

#include "util/crc32c.h"

namespace sternpost::sts {

std::optional<WallTime> next_refresh(const RefreshOptions& options, const RefreshFacts& facts, WallTime now) {
    using std::chrono::duration_cast;
    using std::chrono::microseconds;
    const microseconds life = facts.expires - facts.fetched;
    if (now >= facts.expires || now - facts.mailed > options.mailed_within) return std::nullopt;
    const microseconds wait = std::max(std::min<microseconds>(options.interval, life / 2),
                                       duration_cast<microseconds>(options.least));
    if (wait >= life) return std::nullopt;
    const auto sooner = duration_cast<microseconds>(
        std::chrono::duration<double, std::micro>(static_cast<double>(wait.count()) * 0.1 * facts.spread));
    const WallTime due = facts.fetched + wait - sooner;
    if (facts.failures == 0) return due;
    // So that several tries come before the policy expires.
    const auto longest =
        std::max<microseconds>(options.retry, std::min<microseconds>(options.longest_retry, life / 8));
    microseconds again = options.retry;
    for (unsigned i = 1; i < facts.failures && again < longest; ++i) again *= 2;
    return std::max(due, facts.failed_at + std::min(again, longest));
}

double spread_of(std::string_view domain) {
    return static_cast<double>(crc32c(domain)) / 4294967296.0;
}

}  // namespace sternpost::sts
