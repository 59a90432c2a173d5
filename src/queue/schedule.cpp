#include "queue/schedule.h"

#include <algorithm>

#include "util/text.h"

namespace sternpost::queue {

std::chrono::microseconds Schedule::wait(unsigned failures, Random& random) const {
    if (retry.empty()) return std::chrono::hours(2);
    const auto step = retry[std::min<std::size_t>(failures > 0 ? failures - 1 : 0, retry.size() - 1)];
    const double factor = 1.0 + jitter * (2.0 * random.unit() - 1.0);
    return std::chrono::duration_cast<std::chrono::microseconds>(step * factor);
}

std::chrono::seconds Schedule::lifetime_of(store::MessageClass message_class) const {
    switch (message_class) {
        case store::MessageClass::mail:
            return lifetime;
        case store::MessageClass::notice:
            return notice_lifetime;
        case store::MessageClass::report:
            return report_lifetime;
    }
    return lifetime;
}

std::chrono::seconds Schedule::shortest_lifetime() const {
    return std::min({lifetime, notice_lifetime, report_lifetime});
}

WallTime Schedule::deadline(const store::StoredMessage& message) const {
    return message.arrived + lifetime_of(message.message_class);
}

bool Schedule::is_over(const store::StoredMessage& message, Now began, Now now) const {
    return began.trusted && now.trusted && began.wall >= deadline(message);
}

std::string given_up_after(const store::StoredMessage& message, Now now) {
    return "; given up after " + human_span(now.wall - message.arrived) + " in the queue";
}

SteadyTime to_steady(WallTime when, Now now) {
    // Far enough for whoever waits, and no overflow.
    const auto wait = std::clamp<std::chrono::microseconds>(when - now.wall, -std::chrono::hours(24 * 365),
                                                            std::chrono::hours(24 * 365));
    return now.steady + std::chrono::duration_cast<SteadyTime::duration>(wait);
}

}  // namespace sternpost::queue
