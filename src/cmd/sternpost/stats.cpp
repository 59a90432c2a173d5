// `sternpost stats`: how much mail there was.
#include "admin/stats.h"

#include <array>

#include "cmd/sternpost/command.h"
#include "cmd/sternpost/show.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

constexpr std::size_t widest_key = 27;  // with the figures next to it a row has 79 columns

std::string size_of(std::uint64_t octets) {
    constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB"};
    double size = static_cast<double>(octets);
    std::size_t unit = 0;
    while (size >= 1024 && unit + 1 < units.size()) {
        size /= 1024;
        ++unit;
    }
    return unit == 0 ? fmt::format("{} B", octets) : fmt::format("{:.1f} {}", size, units.at(unit));
}

void show_row(const std::string& name, const admin::StatsRow& row, bool accepts) {
    const std::string key = printable(name, widest_key);
    tell("{:<27} {:>8} {:>9} {:>7} {:>8} {:>7} {:>7}\n", key, accepts ? fmt::format("{}", row.accepted) : "-",
         accepts ? size_of(row.octets) : "-", row.sent, row.deferred, row.bounced, row.expired);
}

void show_stats(const admin::StatsAnswer& stats) {
    tell("From {} to {}\n\n", rfc3339(stats.from), rfc3339(stats.to));
    tell("{:<27} {:>8} {:>9} {:>7} {:>8} {:>7} {:>7}\n", stats.by == "all" ? "" : stats.by, "accepted",
         "size", "sent", "deferred", "bounced", "expired");
    const bool accepts = stats.by != "destination" && stats.by != "error";
    if (stats.by != "all")
        for (const auto& row : stats.rows) show_row(row.key.empty() ? "(others)" : row.key, row, accepts);
    show_row("all mail", stats.total, true);
}

}  // namespace

void add_stats(Command& command) {
    auto stats = command.add_reading<admin::Stats>(
        &command.app(), "stats", "how much mail was accepted, sent, deferred and returned", show_stats);
    auto& request = *stats.request;
    auto since = std::make_shared<std::string>("24h");
    stats.app->add_option("--since", *since, "how far back, such as 90m, 24h or 7d")->capture_default_str();
    stats.app
        ->add_option("--by", request.by, "a row for each destination, sender, from-domain, error or hour")
        ->check(CLI::IsMember({"destination", "sender", "from-domain", "error", "hour"}));
    stats.app->add_option("--limit", request.limit, "at most so many rows")
        ->check(CLI::Range(1, 10000))
        ->capture_default_str();
    stats.app->parse_complete_callback([since, asked = stats.request] {
        const auto span = parse_duration(*since);
        if (!span || span->count() <= 0)
            throw CLI::ValidationError("--since", printable(*since) + ": wanted is a span such as 24h");
        asked->from = SystemClock().wall() - *span;
    });
}

}  // namespace sternpost::cmd
