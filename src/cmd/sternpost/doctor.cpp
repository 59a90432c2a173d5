// `sternpost doctor`: this machine and its names looked over, and what is kept on the disk.
#include <boost/asio.hpp>
#include <boost/describe/class.hpp>

#include "admin/dkim.h"
#include "admin/host_checks.h"
#include "cmd/reach.h"
#include "cmd/sternpost/command.h"
#include "cmd/sternpost/local_checks.h"
#include "cmd/sternpost/run_here.h"
#include "cmd/sternpost/show.h"
#include "util/deadline.h"
#include "util/random.h"
#include "util/text.h"

namespace sternpost::store {

BOOST_DESCRIBE_STRUCT(SpoolFinding, (), (rule, text, repair, repaired))
BOOST_DESCRIBE_STRUCT(SpoolReport, (), (daemon_runs, segments, records, messages, bodies, findings))

}  // namespace sternpost::store

namespace sternpost::cmd {
namespace {

namespace asio = boost::asio;

constexpr auto greeting_patience = std::chrono::seconds(15);  // for a connection and the greeting

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

// ---- this machine and its names

asio::awaitable<admin::Greeted> greet(dns::Address address, dns::Gate gate, std::uint16_t port) {
    admin::Greeted out;
    if (const auto passage = gate.judge(address, port); passage != dns::Passage::open) {
        out.text = dns::reason_of(passage);
        co_return out;
    }
    const asio::ip::tcp::endpoint place(asio::ip::make_address(address.text()), port);
    asio::ip::tcp::socket socket(co_await asio::this_coro::executor);
    const SteadyTime deadline = SystemClock().steady() + greeting_patience;
    const auto connected = co_await until_done(deadline, socket.async_connect(place, asio::deferred));
    if (!connected) {
        out.text = connected.error().text;
        co_return out;
    }
    std::string line;
    const auto read = co_await until(
        deadline, asio::async_read_until(socket, asio::dynamic_buffer(line, 2048), '\n', asio::deferred));
    out.is = read && line.starts_with("220");
    out.text = read ? line.substr(0, line.find_first_of("\r\n")) : "no greeting: " + read.error().text;
    co_return out;
}

std::vector<admin::HostFinding> findings_of(const config::Settings& settings) {
    auto out = local_checks(settings);
    asio::io_context context{1};
    const SystemClock clock;
    SystemRandom random;
    dns::LdnsResolver resolver(context.get_executor(), resolver_of(settings), clock, random);
    const auto gate = gate_of(settings);
    const auto port = static_cast<std::uint16_t>(settings.smtp_port);
    admin::CheckedHost host;
    host.hostname = config::effective_hostname(settings);
    if (const auto admin = admin_of(settings)) host.admin_domain = admin->domain();
    for (const auto& text : {settings.source_ipv4, settings.source_ipv6})
        if (const auto address = dns::Address::parse(text)) host.own.push_back(*address);
    const admin::CheckSources sources{
        resolver, [&resolver](dns::Address address) { return resolver.ptr(std::move(address)); },
        [gate, port](dns::Address address) { return greet(std::move(address), gate, port); }};
    out.push_back(admin::finding_of(
        run_here(context, dns::probe(resolver, {settings.dns_probe_secure, settings.dns_probe_bogus}))));
    const auto found = run_here(context, admin::check_names(host, sources));
    out.insert(out.end(), found.begin(), found.end());
    return out;
}

// What only the daemon knows.
void ask_about_keys(const config::Settings& settings, std::vector<admin::HostFinding>& out) {
    const auto answer = ask_daemon(settings, "dkim.check", admin::DomainRequest(), false);
    if (!answer) {
        out.push_back({"daemon", admin::Verdict::warning, "the daemon is down: DKIM records are not compared",
                       "systemctl start sternpost"});
        return;
    }
    out.push_back({"daemon", admin::Verdict::ok, "the daemon answers", ""});
    const auto keys = control::from_json<admin::PublishedKeys>(answer->data);
    for (const auto& key : keys.keys) {
        const bool good = key.published == "yes";
        out.push_back({"dkim", good ? admin::Verdict::ok : admin::Verdict::error,
                       key.name + (good ? " is published" : ": " + printable(key.text, 300)),
                       good ? "" : "\"sternpost dkim dns\" prints the record to publish"});
    }
    for (const auto& bad : keys.bad)
        out.push_back({"dkim", admin::Verdict::error, bad.file + ": " + printable(bad.text, 300),
                       "correct the file, or remove it"});
    if (keys.keys.empty() && keys.bad.empty())
        out.push_back({"dkim", admin::Verdict::warning,
                       "there is no DKIM key: large providers refuse unsigned mail",
                       "\"sternpost dkim generate DOMAIN --active\" makes one"});
}

void check_journal(const config::Settings& settings, std::vector<admin::HostFinding>& out) {
    const auto report = store::check_spool(settings.state_dir, false, [] { ::usleep(500'000); });
    if (!report)
        out.push_back(
            {"spool", admin::Verdict::warning, report.error().text, "run \"sternpost doctor\" as root"});
    else if (report->findings.empty())
        out.push_back({"spool", admin::Verdict::ok,
                       fmt::format("{} messages in the journal, and all of them are sound", report->messages),
                       ""});
    else
        out.push_back({"spool", admin::Verdict::error,
                       fmt::format("{} findings in the journal", report->findings.size()),
                       "\"sternpost doctor --spool\" lists them"});
}

int look_at_host(const Command& command, const config::Settings& settings) {
    auto findings = findings_of(settings);
    ask_about_keys(settings, findings);
    check_journal(settings, findings);
    std::size_t errors = 0;
    std::size_t warnings = 0;
    for (const auto& one : findings) {
        if (one.verdict == admin::Verdict::error) ++errors;
        if (one.verdict == admin::Verdict::warning) ++warnings;
    }
    const auto code = errors > 0 ? ExitCode::no : ExitCode::done;
    command.finish({code, "", control::to_json(findings)}, [&] {
        for (const auto& one : findings) {
            const char* mark = one.verdict == admin::Verdict::ok        ? "ok"
                               : one.verdict == admin::Verdict::warning ? "WARNING"
                                                                        : "ERROR";
            tell("{:<8} {:<12} {}\n", mark, one.check, printable(one.text, 1000));
            if (!one.advice.empty()) tell("{:<21} What to do: {}\n", "", one.advice);
        }
        if (errors + warnings == 0) tell("All is well.\n");
    });
    if (errors + warnings > 0)
        std::cerr << fmt::format("sternpost: {} error(s), {} warning(s)\n", errors, warnings);
    return static_cast<int>(code);
}

}  // namespace

void add_doctor(Command& command) {
    auto* doctor = command.app().add_subcommand(
        "doctor", "Checks this machine, its DNS names and outgoing mail; with --spool, the queue on disk");
    auto* spool =
        doctor->add_flag("--spool")->description("check that journal, bodies, index and history agree");
    auto* repair =
        doctor->add_flag("--repair")->description("repair what can be repaired; the daemon must be down");
    repair->needs(spool);
    command.add_json(doctor);
    doctor->callback([&command, spool, repair] {
        command.choose([&command, spool, repair] {
            return command.with_settings([&](const config::Settings& settings) {
                return spool->count() > 0 ? look_at_spool(command, settings, repair->count() > 0)
                                          : look_at_host(command, settings);
            });
        });
    });
}

}  // namespace sternpost::cmd
