#include "util/clock.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <ctime>

namespace sternpost {
namespace {

std::tm utc(WallTime time) {
    const std::time_t seconds =
        std::chrono::system_clock::to_time_t(std::chrono::floor<std::chrono::seconds>(time));
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    return parts;
}

}  // namespace

WallTime SystemClock::wall() const {
    return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

SteadyTime SystemClock::steady() const {
    return std::chrono::steady_clock::now();
}

std::string rfc3339(WallTime time) {
    const std::tm t = utc(time);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday,
                       t.tm_hour, t.tm_min, t.tm_sec);
}

std::optional<WallTime> parse_rfc3339(std::string_view text) {
    int year = 0;
    unsigned month = 0;
    unsigned day = 0;
    int hour = 0;
    int minute = 0;
    int second = 0;
    int end = 0;
    const std::string copy(text);
    if (std::sscanf(copy.c_str(), "%4d-%2u-%2u%n", &year, &month, &day, &end) != 3) return std::nullopt;
    if (static_cast<std::size_t>(end) != copy.size()) {
        int rest = 0;
        if (std::sscanf(copy.c_str() + end, "T%2d:%2d:%2dZ%n", &hour, &minute, &second, &rest) != 3 ||
            rest == 0 || static_cast<std::size_t>(end + rest) != copy.size())
            return std::nullopt;
    }
    const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                           std::chrono::day(day)};
    if (!date.ok() || hour > 23 || minute > 59 || second > 59 || hour < 0 || minute < 0 || second < 0)
        return std::nullopt;
    return WallTime(std::chrono::sys_days(date)) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
           std::chrono::seconds(second);
}

std::string rfc5322_date(WallTime time) {
    static constexpr std::array days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const std::tm t = utc(time);
    return fmt::format(
        "{}, {} {} {:04} {:02}:{:02}:{:02} +0000", days.at(static_cast<std::size_t>(t.tm_wday)), t.tm_mday,
        months.at(static_cast<std::size_t>(t.tm_mon)), t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

std::string human_span(std::chrono::microseconds span) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(span).count();
    if (seconds < 60) return fmt::format("{:.1f}s", std::chrono::duration<double>(span).count());
    if (seconds < 3600) return fmt::format("{}m {:02}s", seconds / 60, seconds % 60);
    if (seconds < 86400) return fmt::format("{}h {:02}m", seconds / 3600, seconds / 60 % 60);
    return fmt::format("{}d {:02}h", seconds / 86400, seconds / 3600 % 24);
}

}  // namespace sternpost
