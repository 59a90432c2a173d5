// `sternpost sts`: policies that are cached and published, and what a domain owner must publish.
#include <boost/describe/class.hpp>

#include "admin/policies.h"
#include "cmd/sternpost/command.h"
#include "cmd/sternpost/show.h"
#include "sts/advice.h"
#include "sts/policy.h"
#include "util/text.h"

namespace sternpost::sts {

BOOST_DESCRIBE_STRUCT(Publication, (), (record, policy_url, policy, report_record, steps))

}  // namespace sternpost::sts

namespace sternpost::cmd {
namespace {

void show_policy(const admin::PolicyRow& policy) {
    tell("{}  mode {}  id {}\n    fetched {}  expires {}\n", policy.domain, policy.mode.value_or(""),
         policy.id, rfc3339(policy.fetched), rfc3339(policy.expires));
    if (policy.mx)
        for (const auto& pattern : *policy.mx) tell("    mx {}\n", pattern);
}

void show_policies(const admin::PolicyListing& list) {
    if (list.more)
        std::cerr << "sternpost: these are not all: the others are in the daemon's store, and not in its "
                     "memory\n";
    for (const auto& policy : list.policies) show_policy(policy);
    if (list.policies.empty()) tell("No MTA-STS policy is cached.\n");
}

// ---- what a domain owner must publish: needs no daemon and asks no one

struct Publishing {
    std::string domain;
    std::vector<std::string> mx;
    std::string mode;
    std::string max_age;
    std::string id;
    std::string rua;
};

int publish(const Command& command, const Publishing& wanted) {
    const auto misused = [](const std::string& text) {
        std::cerr << "sternpost: " << text << '\n';
        return static_cast<int>(ExitCode::usage);
    };
    auto domain = dns::Domain::parse(lowered(wanted.domain));
    if (!domain) return misused(domain.error().text);
    sts::PublicationPlan plan(std::move(*domain));
    plan.mx = wanted.mx;
    plan.mode = wanted.mode == "enforce" ? sts::Mode::enforce
                : wanted.mode == "none"  ? sts::Mode::none
                                         : sts::Mode::testing;
    plan.rua = wanted.rua;
    plan.id = wanted.id;
    if (plan.id.empty())
        for (const char c : rfc3339(SystemClock().wall()))
            if (c >= '0' && c <= '9') plan.id += c;
    if (const auto span = parse_duration(wanted.max_age))
        plan.max_age = std::chrono::duration_cast<std::chrono::seconds>(*span);
    const auto texts = sts::publication(plan);
    if (!texts) return misused(texts.error().text);
    return command.finish({ExitCode::done, "", control::to_json(*texts)}, [&] {
        tell("In the zone of {}:\n\n{}\n", plan.domain.text(), texts->record);
        if (!texts->report_record.empty()) tell("{}\n", texts->report_record);
        tell("\nAt {}:\n\n{}\nSteps:\n", texts->policy_url, printable_text(texts->policy));
        std::size_t number = 0;
        for (const auto& step : texts->steps) tell("{}. {}\n", ++number, step);
    });
}

void add_publish(Command& command, CLI::App* sts) {
    const auto wanted = std::make_shared<Publishing>();
    auto* sub = sts->add_subcommand("publish", "Prints what a domain owner must publish");
    sub->add_option("DOMAIN", wanted->domain, "the policy domain")->required();
    sub->add_option("--mx", wanted->mx, "MX host, or *.example.net; can be repeated")->required();
    sub->add_option("--mode", wanted->mode, "testing, enforce or none")
        ->check(CLI::IsMember({"testing", "enforce", "none"}));
    sub->add_option("--max_age", wanted->max_age, "how long senders keep the policy, such as 7d");
    sub->add_option("--id", wanted->id, "policy id; default: made from the time");
    sub->add_option("--rua", wanted->rua, "where TLS reports go: mailto:tls@example.com or https://…");
    command.add_json(sub);
    sub->callback(
        [&command, wanted] { command.choose([&command, wanted] { return publish(command, *wanted); }); });
}

// ---- the verbs

void add_cached(Command& command, CLI::App* sts) {
    Asking<admin::DomainRequest, admin::PolicyRow> one{"sts.show", [](const admin::PolicyRow& policy) {
                                                           show_policy(policy);
                                                           tell("\n{}",
                                                                printable_text(policy.text.value_or("")));
                                                       }};
    one.at_rest = [](const config::Settings& settings, const admin::DomainRequest& request) {
        return answer_at_rest(settings, admin::StsShowAtRest(request));
    };
    auto shown = command.add(sts, "show", "Shows the cached policy of a domain", std::move(one));
    shown.app->add_option("DOMAIN", shown.request->domain, "the policy domain")->required();
    Asking<admin::NoRequest, admin::PolicyListing> all{"sts.list", show_policies};
    all.at_rest = [](const config::Settings& settings, const admin::NoRequest&) {
        return answer_at_rest(settings, admin::StsListAtRest());
    };
    all.list = "policies";
    command.add(sts, "list", "Lists all cached policies", std::move(all));
}

}  // namespace

void add_sts(Command& command) {
    auto* sts = command.app().add_subcommand("sts", "MTA-STS policies")->require_subcommand(1);
    add_cached(command, sts);
    auto refresh = command.add(sts, "refresh", "Fetches a policy now",
                               Asking<admin::DomainRequest, admin::RefreshAnswer>{
                                   "sts.refresh", [](const admin::RefreshAnswer& answer) {
                                       tell("{}: fetched, mode {}, id {}\n", answer.domain,
                                            answer.mode.value_or(""), answer.id.value_or(""));
                                   }});
    auto differs =
        command.add(sts, "diff", "Compares the published policy with the cached one",
                    Asking<admin::DomainRequest, admin::DiffAnswer>{
                        "sts.diff", [](const admin::DiffAnswer& answer) { show_lines(answer.lines); }});
    auto history = command.add_reading<admin::StsHistory>(
        sts, "history", "Lists the versions of a policy that were seen",
        [](const admin::VersionsAnswer& answer) { show_lines(answer.lines); });
    auto check =
        command.add(sts, "check", "Checks a domain's records and policy, for its owner",
                    Asking<admin::DomainRequest, admin::CheckAnswer>{
                        "sts.check", [](const admin::CheckAnswer& answer) { show_lines(answer.lines); }});
    for (const auto& verb : {refresh, differs, history, check})
        verb.app->add_option("DOMAIN", verb.request->domain, "the policy domain")->required();
    add_publish(command, sts);
}

}  // namespace sternpost::cmd
