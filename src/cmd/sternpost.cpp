// sternpost(1): the administrator's command. Asks the daemon; what only reads is answered from disk while the
// daemon is down.
#include <fmt/format.h>
#include <sysexits.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <csignal>
#include <functional>
#include <iostream>
#include <map>
#include <optional>

#include "cmd/config_warnings.h"
#include "cmd/dkim_verbs.h"
#include "cmd/offline.h"
#include "cmd/print.h"
#include "cmd/tell.h"
#include "cmd/tlsrpt_print.h"
#include "cmd/tlsrpt_read.h"
#include "config/file.h"
#include "control/client.h"
#include "control/mailq.h"
#include "control/reasons.h"
#include "store/open.h"
#include "store/sender_scope.h"
#include "sts/advice.h"
#include "util/file.h"
#include "util/login.h"
#include "util/text.h"

namespace {

using namespace sternpost;
using namespace sternpost::cmd;
using control::ExitCode;

constexpr const char* default_config = "/etc/sternpost/sternpost.toml";
constexpr auto patience = std::chrono::seconds(90);  // a policy fetch may take a minute

const std::string sender_help = "what came from: " + std::string(store::sender_forms);
constexpr const char* recipient_help = "what has this in the address of a recipient that waits";
constexpr const char* from_help = "what has this in its reverse-path";
constexpr const char* reason_help = "what waits for this: a part of the reason, its code or its status";

class Command {
  public:
    int run(int argc, char** argv);

  private:
    using Print = std::function<void(const Answer&)>;
    CLI::App* verb(CLI::App* parent, const std::string& name, const std::string& help, json::object request,
                   bool reads, Print print);
    void add_queue();
    CLI::App* action_verb(CLI::App* queue, const std::string& name, const std::string& done,
                          const std::string& help);
    void suspend_verb(CLI::App* queue, const std::string& name, const std::string& help);
    void add_sts();
    void add_config();
    void add_policy();
    void add_tlsrpt();
    int publish() const;
    int doctor(bool repair) const;
    int finish(const Answer& answer, const Print& print) const;
    int finish_mailq(const Answer& answer, control::MailqText& mailq, const config::Settings& settings,
                     bool down) const;
    int check_config() const;
    int show_config() const;
    config::Loaded load() const;

    CLI::App app_{"Sternpost, a sending mail transfer agent: the administrator's command."};
    std::string config_path_;
    bool json_ = false;
    std::string id_;
    std::vector<std::string> ids_;
    std::string domain_;
    std::int64_t limit_ = 1000;
    bool all_ = false;
    bool quiet_ = false;
    bool mailq_ = false;
    bool mail_ = false;
    bool probe_ = false;
    std::map<std::string, std::string> texts_;  // further options, by the request's key
    std::vector<std::string> mx_;
    std::function<int()> chosen_;
    cmd::DkimVerbs dkim_;
};

config::Loaded Command::load() const {
    const bool there = ::access(default_config, F_OK) == 0;
    return config::read_file(config_path_.empty() && there ? default_config : config_path_);
}

int Command::finish(const Answer& answer, const Print& print) const {
    if (json_ && !answer.data.is_null())
        std::cout << printable_json(json::serialize(answer.data)) << '\n';
    else if (print && !quiet_ &&
             (answer.code == ExitCode::done || (answer.text.empty() && !answer.data.is_null())))
        print(answer);
    if (answer.code != ExitCode::done && !answer.text.empty())
        std::cerr << "sternpost: " << printable_lines(answer.text) << '\n';
    return static_cast<int>(answer.code);
}

CLI::App* Command::verb(CLI::App* parent, const std::string& name, const std::string& help,
                        json::object request, bool reads, Print print) {
    CLI::App* sub = parent->add_subcommand(name, help);
    if (reads) sub->add_flag("--json", json_, "the answer as JSON");
    sub->callback([this, request = std::move(request), reads, print = std::move(print)] {
        chosen_ = [this, request, reads, print]() mutable {
            const auto loaded = load();
            if (!loaded.errors.empty()) {
                for (const auto& error : loaded.errors) std::cerr << error << '\n';
                return static_cast<int>(ExitCode::no);
            }
            if (!id_.empty()) request["id"] = id_;
            if (!domain_.empty()) request["domain"] = lowered(domain_);
            if (!ids_.empty()) request["ids"] = json::value_from(ids_);
            request["limit"] = limit_;
            if (probe_) request["probe"] = true;
            if (all_) request["all"] = true;
            if (quiet_) request["quiet"] = true;
            if (mail_) request["mail"] = true;
            for (const auto& [key, value] : texts_)
                if (!value.empty()) request[key] = value;
            const bool shown = !reads && ::isatty(STDERR_FILENO) != 0;
            if (shown) request["progress"] = true;
            if (reads) request["parts"] = true;
            control::MailqText mailq(local_time);
            std::function<void(json::object)> part;
            if (mailq_ && !json_)
                part = [&mailq](const json::object& piece) {
                    if (const auto* messages = piece.if_contains("messages");
                        messages != nullptr && messages->is_array())
                        tell("{}", mailq.messages(messages->as_array()));
                };
            auto answer =
                control::ask(loaded.settings.control_socket, request, patience, print_progress, part);
            if (shown) std::cerr << "\r\033[K" << std::flush;
            const bool down = !answer.has_value();
            if (!answer && reads && !mail_) answer = offline(loaded.settings, request);
            if (!answer)
                answer = Answer{
                    ExitCode::unavailable,
                    "the daemon does not answer at " + loaded.settings.control_socket + ": is it running?",
                    {}};
            unwrap_list(*answer);
            if (!mailq_) return finish(*answer, print);
            return finish_mailq(*answer, mailq, loaded.settings, down);
        };
    });
    return sub;
}

// Monitors take a list on standard output for the state of a system that works: what is wrong goes to
// standard error, and to the exit code.
int Command::finish_mailq(const Answer& answer, control::MailqText& mailq, const config::Settings& settings,
                          bool down) const {
    const int code =
        finish(answer, [&mailq](const Answer& list) { tell("{}", mailq.end(list.data.as_object())); });
    const auto waiting = in_maildrop(settings.maildrop_dir);
    if (waiting && *waiting > 0)
        std::cerr << "mailq: " << *waiting << " message(s) wait in the maildrop, " << settings.maildrop_dir
                  << ", for the daemon to take them\n";
    if (!down) return code;
    std::cerr << "mailq: the mail system is down: sternpostd does not answer at " << settings.control_socket
              << '\n';
    return code == static_cast<int>(ExitCode::done) ? EX_UNAVAILABLE : code;
}

void Command::add_queue() {
    auto* queue = app_.add_subcommand("queue", "the messages that wait")->require_subcommand(1);
    auto* list =
        verb(queue, "list", "what is in the queue, and why", {{"verb", "queue.list"}}, true, print_list);
    list->add_option("--domain", domain_, "only messages for this next hop");
    list->add_option("--sender", texts_["sender"], sender_help);
    list->add_option("--reason", texts_["reason"], reason_help);
    list->add_option("--recipient", texts_["recipient"], recipient_help);
    list->add_option("--from", texts_["from"], from_help);
    list->add_option("--limit", limit_, "at most so many messages")
        ->check(CLI::Range(1, 10000000))
        ->capture_default_str();
    list->add_flag("--mailq", mailq_, "in the layout of Postfix's postqueue -p, as mailq prints it");
    auto* show = verb(queue, "show", "one message", {{"verb", "queue.show"}}, true, print_show);
    show->add_option("ID", id_, "its queue id")->required();
    auto* retry =
        action_verb(queue, "retry", "due now",
                    "try again now, whatever the schedule says; forgets dead hosts and negative DNS answers");
    retry->add_flag("--quiet", quiet_,
                    "say nothing of what was done; if nothing matches, that is no failure");
    action_verb(queue, "hold", "on hold", "no attempt begins until they are released");
    action_verb(queue, "release", "released", "ends a hold");
    action_verb(queue, "expire", "given up", "bounces now what would bounce when its time is over");
    action_verb(queue, "delete", "deleted", "out of the queue for good, without a notice to the sender");
    auto* reroute =
        action_verb(queue, "reroute", "rerouted", "waits for another next hop from now on, as new mail does");
    reroute->add_option("--to", texts_["to"], "the domain whose MX hosts get it, or an address, [192.0.2.1]")
        ->required();
    auto* hops = verb(queue, "hops", "the next hops that mail waits for, the longest lines first",
                      {{"verb", "queue.hops"}}, true, print_hops);
    hops->add_option("--limit", limit_, "at most so many")
        ->check(CLI::Range(1, 10000000))
        ->capture_default_str();
    verb(queue, "suspended", "what is suspended", {{"verb", "queue.suspended"}}, true, print_suspensions);
    suspend_verb(queue, "suspend",
                 "no attempt begins for a next hop, or for a sender's mail, until it is resumed");
    suspend_verb(queue, "resume", "ends a suspension; a sender's mail is released");
}

void Command::suspend_verb(CLI::App* queue, const std::string& name, const std::string& help) {
    const auto told = [name](const Answer& answer) {
        const auto& data = answer.data.as_object();
        tell("{}: {} {}", name == "suspend" ? "suspended" : "resumed", text(data, "kind"),
             printable(text(data, "scope")));
        const bool on = name == "suspend";
        if (text(data, "kind") == "sender")
            tell(": {} message(s) {}{}\n", text(data, "messages"), on ? "put on hold" : "released",
                 on ? ", and so is what comes from it later" : "");
        else
            tell(": {} recipient(s) {}\n", text(data, "recipients"),
                 on ? "wait until it is resumed" : "may be tried again");
    };
    auto* sub = verb(queue, name, help, {{"verb", "queue." + name}}, false, told);
    sub->add_flag("--json", json_, "the answer as JSON");
    auto* domain = sub->add_option("--domain", domain_, "a next hop; .example.com: those under it");
    auto* sender = sub->add_option("--sender", texts_["sender"], sender_help);
    domain->excludes(sender);
    if (name == "suspend")
        sub->add_option("--reason", texts_["reason"], "why, for those who come after you")->required();
    sub->parse_complete_callback([this, name] {
        if (domain_.empty() && texts_["sender"].empty())
            throw CLI::ValidationError("queue " + name, "says what is meant: --domain or --sender");
    });
}

// What an administrator does to chosen messages.
CLI::App* Command::action_verb(CLI::App* queue, const std::string& name, const std::string& done,
                               const std::string& help) {
    const auto count = [done](const Answer& answer) {
        const auto& data = answer.data.as_object();
        const bool waits_on = done == "due now" && text(data, "suspended") != "0" &&
                              text(data, "suspended") == text(data, "recipients");
        tell("{}: {} message(s), {} recipient(s)", waits_on ? "looked at" : done, text(data, "messages"),
             text(data, "recipients"));
        if (text(data, "active") != "0")
            tell("; {} more are in an attempt, which ends as it ends", text(data, "active"));
        tell("\n");
        if (const auto stays = text(data, "sender_suspended"); !stays.empty() && stays != "0")
            tell(
                "left alone: {} message(s) of suspended senders (\"sternpost queue resume --sender\" ends "
                "that)\n",
                stays);
        if (flag(data, "results_wait") && (done == "due now" || done == "released"))
            tell(
                "nothing is sent now: what became of earlier mail cannot be kept on the disk (\"sternpost "
                "status\")\n");
        if (text(data, "held") != "0")
            tell("left alone: {} message(s) on hold (\"sternpost queue release\" ends that)\n",
                 text(data, "held"));
        if (done == "due now" && text(data, "suspended") != "0")
            tell("{} wait on: their next hop is suspended (\"sternpost queue resume\" ends that)\n",
                 waits_on ? "all of the recipients" : text(data, "suspended") + " of the recipients");
    };
    auto* action = verb(queue, name, help, {{"verb", "queue." + name}}, false, count);
    action->add_flag("--json", json_, "the answer as JSON");
    auto* ids = action->add_option("ID", ids_, "queue ids");
    auto* domain = action->add_option("--domain", domain_, "what waits for this next hop");
    auto* sender = action->add_option("--sender", texts_["sender"], sender_help);
    auto* reason = action->add_option("--reason", texts_["reason"], reason_help);
    auto* to = action->add_option("--recipient", texts_["recipient"], recipient_help);
    auto* from = action->add_option("--from", texts_["from"], from_help);
    auto* all = action->add_flag("--all", all_, "everything");
    for (auto* one : {domain, sender, reason, to, from, all}) ids->excludes(one);
    for (auto* one : {domain, sender, reason, to, from}) all->excludes(one);
    action->parse_complete_callback([this, name] {
        if (ids_.empty() && domain_.empty() && texts_["sender"].empty() && texts_["reason"].empty() &&
            texts_["recipient"].empty() && texts_["from"].empty() && !all_)
            throw CLI::ValidationError(
                "queue " + name,
                "says what is meant: queue ids, --domain, --sender, --reason, --recipient, --from or --all");
    });
    return action;
}

int Command::doctor(bool repair) const {
    const auto loaded = load();
    if (!loaded.errors.empty()) {
        for (const auto& error : loaded.errors) std::cerr << error << '\n';
        return static_cast<int>(ExitCode::no);
    }
    const auto wait = [] { ::usleep(500'000); };  // the index is at most 100 ms behind
    const auto report = store::check_spool(loaded.settings.state_dir, repair, wait);
    Answer answer;
    if (!report) {
        answer.code = report.error().code == store::Errc::io          ? ExitCode::not_permitted
                      : report.error().code == store::Errc::busy      ? ExitCode::unavailable
                      : report.error().code == store::Errc::not_found ? ExitCode::no
                                                                      : ExitCode::internal;
        answer.text = report.error().text;
        return finish(answer, nullptr);
    }
    json::object data;
    data["daemon_runs"] = report->daemon_runs;
    data["segments"] = report->segments;
    data["records"] = report->records;
    data["messages"] = report->messages;
    data["bodies"] = report->bodies;
    json::array findings;
    bool wrong = false;
    for (const auto& finding : report->findings) {
        json::object one;
        one["rule"] = finding.rule;
        one["text"] = finding.text;
        one["repair"] = finding.repair;
        one["repaired"] = finding.repaired;
        findings.push_back(std::move(one));
        wrong = wrong || !finding.repaired;
    }
    data["findings"] = std::move(findings);
    answer.data = std::move(data);
    answer.code = wrong ? ExitCode::no : ExitCode::done;
    return finish(answer, print_doctor);
}

void Command::add_sts() {
    auto* sts = app_.add_subcommand("sts", "MTA-STS policies")->require_subcommand(1);
    auto* show = verb(sts, "show", "the cached policy of a domain", {{"verb", "sts.show"}}, true,
                      [](const Answer& answer) {
                          print_policies(answer);
                          tell("\n{}", printable_text(text(answer.data.as_object(), "text")));
                      });
    show->add_option("DOMAIN", domain_, "the policy domain")->required();
    verb(sts, "list", "all cached policies", {{"verb", "sts.list"}}, true, print_policies);
    auto* refresh = verb(
        sts, "refresh", "fetch a policy now", {{"verb", "sts.refresh"}}, false, [](const Answer& answer) {
            const json::object& data = answer.data.as_object();
            tell("{}: fetched, mode {}, id {}\n", text(data, "domain"), text(data, "mode"), text(data, "id"));
        });
    refresh->add_option("DOMAIN", domain_, "the policy domain")->required();
    auto* differs = verb(sts, "diff", "how the published policy differs from the cached one",
                         {{"verb", "sts.diff"}}, true, print_lines);
    differs->add_option("DOMAIN", domain_, "the policy domain")->required();
    auto* history = verb(sts, "history", "the versions of a policy that were ever served",
                         {{"verb", "sts.history"}}, true, print_lines);
    history->add_option("DOMAIN", domain_, "the policy domain")->required();
    auto* check = verb(sts, "check", "what a domain owner should mend in record and policy",
                       {{"verb", "sts.check"}}, true, print_lines);
    check->add_option("DOMAIN", domain_, "the policy domain")->required();
    auto* publish = sts->add_subcommand("publish", "what a domain owner must publish, ready to paste");
    publish->add_option("DOMAIN", domain_, "the policy domain")->required();
    publish->add_option("--mx", mx_, "an MX host, or *.example.net; once for each")->required();
    publish->add_option("--mode", texts_["mode"], "testing, enforce or none")
        ->check(CLI::IsMember({"testing", "enforce", "none"}));
    publish->add_option("--max_age", texts_["max_age"], "how long senders keep the policy, such as 7d");
    publish->add_option("--id", texts_["policy_id"], "the policy's id; else made from the time");
    publish->add_option("--rua", texts_["rua"], "where TLS reports go: mailto:tls@example.com or https://…");
    publish->add_flag("--json", json_, "as JSON");
    publish->callback([this] { chosen_ = [this] { return this->publish(); }; });
}

// What a domain owner must publish: needs no daemon and asks nobody.
int Command::publish() const {
    const auto at = [&](const char* key) {
        const auto found = texts_.find(key);
        return found == texts_.end() ? std::string() : found->second;
    };
    auto domain = dns::Domain::parse(domain_);
    if (!domain) {
        std::cerr << "sternpost: " << domain.error().text << '\n';
        return static_cast<int>(ExitCode::usage);
    }
    sts::PublicationPlan plan(std::move(*domain));
    plan.mx = mx_;
    const std::string mode = at("mode");
    plan.mode = mode == "enforce" ? sts::Mode::enforce
                : mode == "none"  ? sts::Mode::none
                                  : sts::Mode::testing;
    plan.rua = at("rua");
    plan.id = at("policy_id");
    if (plan.id.empty())
        for (const char c : rfc3339(SystemClock().wall()))
            if (c >= '0' && c <= '9') plan.id += c;
    if (const auto span = config::parse_duration(at("max_age")))
        plan.max_age = std::chrono::duration_cast<std::chrono::seconds>(*span);
    const auto texts = sts::publication(plan);
    if (!texts) {
        std::cerr << "sternpost: " << texts.error().text << '\n';
        return static_cast<int>(ExitCode::usage);
    }
    if (json_) {
        json::object out;
        out["record"] = texts->record;
        out["policy_url"] = texts->policy_url;
        out["policy"] = texts->policy;
        out["report_record"] = texts->report_record;
        out["steps"] = control::to_json(texts->steps);
        std::cout << printable_json(json::serialize(out)) << '\n';
        return 0;
    }
    tell("In the zone of {}:\n\n{}\n", domain_, texts->record);
    if (!texts->report_record.empty()) tell("{}\n", texts->report_record);
    tell("\nAt {}:\n\n{}\nSteps:\n", texts->policy_url, printable_text(texts->policy));
    std::size_t number = 0;
    for (const auto& step : texts->steps) tell("{}. {}\n", ++number, step);
    return 0;
}

void Command::add_policy() {
    auto* explain = verb(&app_, "explain", "everything that mail to a domain goes by now, and why",
                         {{"verb", "explain"}}, true, print_lines);
    explain->add_option("DOMAIN", domain_, "a domain, or an address in it")->required();
    explain->add_flag("--probe", probe_, "connect to its MX hosts and show what they offer");
    auto* why = verb(&app_, "why", "why a message is where it is, and whose move it is", {{"verb", "why"}},
                     true, print_lines);
    why->add_option("ID", id_, "its queue id; also of a message that is gone")->required();

    auto* policy =
        app_.add_subcommand("policy", "overrides of what domains demand, and what-if")->require_subcommand(1);
    auto* what_if = verb(policy, "whatif", "which sessions would have failed under an enforced policy",
                         {{"verb", "policy.whatif"}}, true, print_lines);
    what_if->add_option("--since", texts_["since"], "how far back, such as 7d");
    auto* overrides = policy->add_subcommand("override", "exceptions from policies")->require_subcommand(1);
    auto* set = verb(overrides, "set", "set an exception, now and without a restart",
                     {{"verb", "policy.override.set"}}, false,
                     [](const Answer& answer) { print_override(answer.data.as_object()); });
    set->add_option("SCOPE", texts_["scope"],
                    "example.com, .example.com, mx:mx1.example.net or mx:.example.net")
        ->required();
    set->add_option("LEVEL", texts_["level"], "none, may, encrypt, verify, dane or sts")->required();
    set->add_option("--reason", texts_["reason"], "why, for those who come after you")->required();
    set->add_option("--author", texts_["author"], "who says so; else your user id");
    set->add_option("--expires", texts_["expires"], "when it ends: 14d, or 2027-01-31T00:00:00Z");
    verb(overrides, "list", "all exceptions", {{"verb", "policy.override.list"}}, true, print_overrides);
    auto* remove =
        verb(overrides, "remove", "take an exception back", {{"verb", "policy.override.remove"}}, false,
             [](const Answer& answer) { tell("removed: {}\n", text(answer.data.as_object(), "scope")); });
    remove->add_option("SCOPE", texts_["scope"], "as it was set")->required();
}

void Command::add_tlsrpt() {
    auto* tlsrpt = app_.add_subcommand("tlsrpt", "TLS reports (RFC 8460)")->require_subcommand(1);
    const auto day_option = [this](CLI::App* sub, const std::string& usual) {
        sub->add_option("--day", texts_["day"], "a UTC day such as 2026-11-26, today or yesterday; " + usual);
    };
    auto* preview = verb(tlsrpt, "preview", "the report that a domain would get, of what is counted by now",
                         {{"verb", "tlsrpt.preview"}}, true, print_preview);
    preview->add_option("DOMAIN", domain_, "the domain that mail goes to")->required();
    day_option(preview, "else today");
    auto* list = verb(tlsrpt, "list", "which reports were sent, and how it stands with them",
                      {{"verb", "tlsrpt.list"}}, true, print_reports);
    list->add_option("DOMAIN", domain_, "only those for this domain");
    day_option(list, "else all that are kept");
    list->add_flag("--all", all_, "with those that nobody asked for");
    auto* show = verb(tlsrpt, "show", "one report: where it went, and what it says",
                      {{"verb", "tlsrpt.show"}}, true, print_report);
    show->add_option("ID", id_, "its report-id")->required();
    auto* send =
        verb(tlsrpt, "send", "sends now what is due later", {{"verb", "tlsrpt.send"}}, false, print_sent);
    send->add_flag("--json", json_, "the answer as JSON");
    send->add_option("DOMAIN", domain_, "only the report for this domain");
    day_option(send, "else yesterday");
    auto* resend = verb(tlsrpt, "resend", "sends a report again, to all its places",
                        {{"verb", "tlsrpt.resend"}}, false, print_report);
    resend->add_flag("--json", json_, "the answer as JSON");
    resend->add_option("ID", id_, "its report-id")->required();
    verb(tlsrpt, "status", "whether reports are sent, and what is missing", {{"verb", "tlsrpt.status"}}, true,
         [](const Answer& answer) { print_reporting(answer.data.as_object()); });
    auto* read = tlsrpt->add_subcommand("read", "sums reports that others have sent about domains of yours");
    read->add_option("FILE", ids_, "mails, mbox files, JSON, gzip; - is standard input")->required();
    read->add_flag("--json", json_, "the answer as JSON");
    read->callback([this] { chosen_ = [this] { return finish(read_reports(ids_), print_read); }; });
    auto* digest = verb(tlsrpt, "digest", "a day's TLS with all partners, failing ones first",
                        {{"verb", "tlsrpt.digest"}}, true, print_digest);
    day_option(digest, "else yesterday");
    digest->add_flag("--mail", mail_, "mails it to admin_address");
}

int Command::check_config() const {
    auto loaded = load();
    if (const auto roots = util::read_file(loaded.settings.ca_file, 64UL << 20U);
        loaded.errors.empty() && !roots)
        loaded.errors.push_back("tls.ca_file: " + roots.error().text +
                                "; without it the daemon does not start");
    if (loaded.errors.empty())
        for (auto& warning : config_warnings(loaded.settings)) loaded.warnings.push_back(std::move(warning));
    for (const auto& error : loaded.errors) std::cerr << error << '\n';
    for (const auto& warning : loaded.warnings) std::cerr << "warning: " << warning << '\n';
    if (!loaded.errors.empty()) {
        std::cerr << "sternpost: " << loaded.errors.size() << " error(s)\n";
        return static_cast<int>(ExitCode::no);
    }
    tell("The configuration is in order{}.\n", loaded.warnings.empty() ? "" : ", with the warnings above");
    return static_cast<int>(ExitCode::done);
}

int Command::show_config() const {
    const auto loaded = load();
    if (!loaded.errors.empty()) return check_config();
    if (json_) {
        json::object out;
        for (const auto& option : config::options())
            out[option.name] =
                json::parse(config::value_text(option, loaded.settings));  // TOML's values are JSON's here
        json::array clients;
        for (const auto& client : loaded.settings.clients) {
            json::object one;
            one["network"] = client.network.text();
            one["role"] = client.role == config::ClientRole::relay ? "relay" : "originate";
            clients.push_back(std::move(one));
        }
        out["client"] = std::move(clients);
        std::cout << printable_json(json::serialize(out)) << '\n';
        return 0;
    }
    std::string section;
    for (const auto& option : config::options()) {
        const auto dot = option.name.find('.');
        const std::string here(dot == std::string_view::npos ? "" : option.name.substr(0, dot));
        if (here != section) tell("\n[{}]\n", here);
        section = here;
        tell("{} = {}\n", option.name.substr(dot == std::string_view::npos ? 0 : dot + 1),
             config::value_text(option, loaded.settings));
    }
    for (const auto& client : loaded.settings.clients)
        tell("\n[[client]]\nnetwork = \"{}\"\nrole = \"{}\"\n", client.network.text(),
             client.role == config::ClientRole::relay ? "relay" : "originate");
    return 0;
}

void Command::add_config() {
    auto* group = app_.add_subcommand("config", "the configuration")->require_subcommand(1);
    group->add_subcommand("check", "whether the configuration is in order")->callback([this] {
        chosen_ = [this] { return check_config(); };
    });
    auto* show = group->add_subcommand("show", "every option with the value in force");
    show->add_flag("--json", json_, "as JSON");
    show->callback([this] { chosen_ = [this] { return show_config(); }; });
}

int Command::run(int argc, char** argv) {
    app_.add_option("--config", config_path_, std::string("the configuration; default ") + default_config)
        ->envname("STERNPOST_CONFIG");  // reaches us through mailq too
    app_.set_version_flag("--version", "sternpost " STERNPOST_VERSION);
    app_.require_subcommand(1);
    verb(&app_, "status", "how the daemon and its queue are", {{"verb", "status"}}, true, print_status);
    add_queue();
    CLI::App* look = app_.add_subcommand("doctor", "looks over what is kept on the disk, and mends it");
    bool spool = false;
    bool repair = false;
    look->add_flag("--spool", spool, "whether journal, bodies, index and history say the same")->required();
    look->add_flag("--repair", repair, "mends what can be mended; the daemon must be down");
    look->add_flag("--json", json_, "the answer as JSON");
    look->callback([this, &repair] { chosen_ = [this, &repair] { return this->doctor(repair); }; });
    add_sts();
    add_policy();
    add_tlsrpt();
    dkim_.add(
        app_, [this] { return load(); }, [this](std::function<int()> run) { chosen_ = std::move(run); });
    add_config();
    try {
        app_.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app_.exit(e) == 0 ? 0 : static_cast<int>(ExitCode::usage);
    }
    return chosen_();
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return Command().run(argc, argv);
    } catch (const std::exception& e) {
        std::cerr << "sternpost: " << e.what() << '\n';
        return static_cast<int>(ExitCode::internal);
    }
}
