#include "tlsrpt/schedule.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>

namespace sternpost::tlsrpt {
namespace {

// ours: sessions end within 90 s of the daemon's being told to stop, and results are kept within a second
constexpr auto grace = std::chrono::minutes(5);
constexpr auto first_wait = std::chrono::minutes(5);
constexpr auto longest_wait = std::chrono::hours(4);

WallTime end(std::chrono::sys_days day) {
    return WallTime(day) + std::chrono::days(1);
}

}  // namespace

WallTime Schedule::closes(std::chrono::sys_days day) const {
    return end(day) + std::min<std::chrono::seconds>(grace, window);
}

std::chrono::sys_days Schedule::last_ended(WallTime now) const {
    return std::chrono::floor<std::chrono::days>(now - std::min<std::chrono::seconds>(grace, window)) -
           std::chrono::days(1);
}

WallTime Schedule::due(std::chrono::sys_days day, const std::string& domain, const std::string& node) const {
    const std::string text = node + " " + domain + " " + std::to_string(day.time_since_epoch().count());
    std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
    SHA256(reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), digest.data());
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < 8; ++i) number = number << 8U | digest.at(i);
    const auto rest = end(day) + window - closes(day);
    const auto room =
        static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(rest).count());
    return closes(day) + std::chrono::seconds(room == 0 ? 0 : number % room);
}

std::optional<WallTime> Schedule::again(WallTime first, std::uint32_t tries, WallTime now) const {
    std::chrono::seconds wait = first_wait;
    for (std::uint32_t i = 1; i < tries && wait < longest_wait; ++i) wait *= 2;
    const WallTime next = now + std::min<std::chrono::seconds>(wait, longest_wait);
    if (next <= first + retry_for) return next;
    // one attempt at the very end, so that no hour of the 24 is given away
    if (now < first + retry_for - first_wait) return first + retry_for;
    return std::nullopt;
}

}  // namespace sternpost::tlsrpt
