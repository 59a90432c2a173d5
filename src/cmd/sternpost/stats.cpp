// `sternpost stats`: how much mail there was.
#include "admin/stats.h"

#include "cmd/sternpost/command.h"
#include "cmd/sternpost/show.h"
#include "cmd/sternpost/table.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

void show_stats(const admin::StatsAnswer& stats) {
    tell("From {} to {}\n\n", rfc3339(stats.from), rfc3339(stats.to));
    const bool accepts = stats.by != "destination" && stats.by != "error";
    using Kind = Table::Kind;
    Table table({{stats.by == "all" ? "" : stats.by.c_str()},
                 {"accepted", Kind::number},
                 {"size", Kind::number},
                 {"sent", Kind::number},
                 {"deferred", Kind::number},
                 {"bounced", Kind::number},
                 {"expired", Kind::number}});
    const auto add = [&table](const std::string& name, const admin::StatsRow& row, bool with_accepted) {
        table.add({printable(name, 200), with_accepted ? fmt::format("{}", row.accepted) : "-",
                   with_accepted ? size_of(row.octets) : "-", fmt::format("{}", row.sent),
                   fmt::format("{}", row.deferred), fmt::format("{}", row.bounced),
                   fmt::format("{}", row.expired)});
    };
    if (stats.by != "all")
        for (const auto& row : stats.rows) add(row.key.empty() ? "(others)" : row.key, row, accepts);
    add("all mail", stats.total, true);
    table.print();
}

}  // namespace

void add_stats(Command& command) {
    auto stats = command.add_reading<admin::Stats>(
        &command.app(), "stats", "Shows how much mail was accepted, sent, deferred and returned", show_stats);
    auto& request = *stats.request;
    auto since = std::make_shared<std::string>("24h");
    stats.app->add_option("--since", *since, "how far back, such as 90m, 24h or 7d")->capture_default_str();
    stats.app
        ->add_option("--by", request.by, "one row for each destination, sender, from-domain, error or hour")
        ->check(CLI::IsMember({"destination", "sender", "from-domain", "error", "hour"}));
    stats.app->add_option("--limit", request.limit, "show at most this many rows")
        ->check(CLI::Range(1, 10000))
        ->capture_default_str();
    stats.app->parse_complete_callback(
        [since, asked = stats.request] { asked->from = ago("--since", *since); });
}

}  // namespace sternpost::cmd
