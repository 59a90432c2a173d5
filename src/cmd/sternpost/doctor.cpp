// `sternpost doctor`: what is kept on the disk, looked over and repaired.
#include <boost/describe/class.hpp>

#include "cmd/sternpost/command.h"
#include "cmd/sternpost/show.h"
#include "util/text.h"

namespace sternpost::store {

BOOST_DESCRIBE_STRUCT(SpoolFinding, (), (rule, text, repair, repaired))
BOOST_DESCRIBE_STRUCT(SpoolReport, (), (daemon_runs, segments, records, messages, bodies, findings))

}  // namespace sternpost::store

namespace sternpost::cmd {
namespace {

void show_findings(const store::SpoolReport& report) {
    for (const auto& finding : report.findings) {
        tell("{}: {}\n", finding.rule, printable(finding.text, 1000));
        if (finding.repaired)
            tell("    repaired: {}\n", finding.repair);
        else if (!finding.repair.empty())
            tell("    --repair would do: {}\n", finding.repair);
    }
    tell("{} segment(s) with {} record(s), {} message(s) in the index, {} large bodies{}: {}\n",
         report.segments, report.records, report.messages, report.bodies,
         report.daemon_runs ? ", while the daemon runs" : "",
         report.findings.empty() ? "all is well" : fmt::format("{} finding(s)", report.findings.size()));
}

int look_at_spool(const Command& command, const config::Settings& settings, bool repair) {
    const auto wait = [] { ::usleep(500'000); };  // the index is at most 100 ms behind
    const auto report = store::check_spool(settings.state_dir, repair, wait);
    if (!report) {
        const auto code = report.error().code;
        return command.finish({code == store::Errc::io          ? ExitCode::not_permitted
                               : code == store::Errc::busy      ? ExitCode::unavailable
                               : code == store::Errc::not_found ? ExitCode::no
                                                                : ExitCode::internal,
                               report.error().text,
                               {}},
                              nullptr);
    }
    bool wrong = false;
    for (const auto& finding : report->findings) wrong = wrong || !finding.repaired;
    return command.finish({wrong ? ExitCode::no : ExitCode::done, "", control::to_json(*report)},
                          [&] { show_findings(*report); });
}

}  // namespace

void add_doctor(Command& command) {
    auto* doctor =
        command.app().add_subcommand("doctor", "looks over what is kept on the disk, and mends it");
    doctor->add_flag("--spool")
        ->description("whether journal, bodies, index and history say the same")
        ->required();
    auto* repair =
        doctor->add_flag("--repair")->description("mends what can be mended; the daemon must be down");
    command.add_json(doctor);
    doctor->callback([&command, repair] {
        command.choose([&command, repair] {
            return command.with_settings([&](const config::Settings& settings) {
                return look_at_spool(command, settings, repair->count() > 0);
            });
        });
    });
}

}  // namespace sternpost::cmd
