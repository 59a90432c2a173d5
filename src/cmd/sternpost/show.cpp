#include "cmd/sternpost/show.h"

#include <array>
#include <ctime>
#include <iostream>

#include "util/text.h"

namespace sternpost::cmd {

void show_json(const boost::json::value& value) {
    std::cout << printable_json(boost::json::serialize(value)) << '\n';
}

void show_lines(const std::vector<std::string>& lines) {
    for (const auto& line : lines) tell("{}\n", printable(line, 4000));
}

std::string printable_text(const std::string& octets) {
    std::string out;
    for (std::string_view line : split(octets, '\n')) {
        if (line.ends_with('\r')) line.remove_suffix(1);
        out += printable(line, 1000) + "\n";
    }
    return out;
}

std::string local_time(WallTime time) {
    const std::time_t at = std::chrono::system_clock::to_time_t(
        std::chrono::time_point_cast<std::chrono::system_clock::duration>(time));
    std::tm local{};
    ::localtime_r(&at, &local);
    std::array<char, 64> out{};
    return {out.data(), std::strftime(out.data(), out.size(), "%a %b %d %H:%M:%S", &local)};
}

std::string shown_path(const std::string& path) {
    return "<" + printable(path) + ">";
}

void show(const admin::AlarmRow& alarm) {
    tell("ALARM {} {} ({} time(s), last {}): {}\n", alarm.kind, printable(alarm.subject, 300), alarm.count,
         rfc3339(alarm.last), printable(alarm.reason, 1000));
}

void show(const admin::HopRow& hop) {
    using queue::Obstacle;
    tell("next hop {}: {} recipient(s) waiting, {} connection(s)\n", hop.name, hop.recipients,
         hop.connections);
    const Obstacle by = hop.blocked_by;
    if (by != Obstacle::none && by != Obstacle::due && by != Obstacle::hop_fails &&
        by != Obstacle::daemon_down && by != Obstacle::in_line)
        tell("    waits: {}\n", printable(hop.blocks, 1000));
    if (hop.failures > 0)
        tell("    failing, next attempt {}: {} {}\n", hop.next_at ? rfc3339(*hop.next_at) : "", hop.status,
             printable(by == Obstacle::hop_fails ? hop.blocks : hop.reason, 1000));
}

void show(const admin::SuspensionRow& one) {
    tell("SUSPENDED {} {} since {} by {}: {}\n", one.kind, printable(one.scope), rfc3339(one.set),
         printable(one.author), printable(one.reason, 1000));
}

void show(const admin::OverrideRow& o) {
    tell("{}  {}  {}{}  by {}, in the {}\n    {}\n", o.scope, o.level,
         o.expires ? "until " + rfc3339(*o.expires) : "does not expire", o.expired ? " (expired)" : "",
         printable(o.author), o.from == "command" ? "running daemon" : o.from, printable(o.reason, 1000));
}

void show(const admin::ReportingRow& status) {
    tell("TLS reports: {}; {} wait(s)",
         status.sending        ? "sent"
         : status.switched_off ? "not sent (tlsrpt.send is false)"
                               : "not sent yet",
         status.waiting);
    if (!status.next_at.empty()) tell(", the next is due at {}", status.next_at);
    if (!status.closed.empty()) tell("; counted up to {}", status.closed);
    tell("\n");
    for (const auto& one : status.missing) tell("    missing: {}\n", printable(one, 500));
}

}  // namespace sternpost::cmd
