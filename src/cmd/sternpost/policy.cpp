// `sternpost explain`, `why` and `policy`.
#include "admin/explanation.h"
#include "admin/why.h"
#include "cmd/sternpost/command.h"
#include "cmd/sternpost/show.h"

namespace sternpost::cmd {
namespace {

void add_overrides(Command& command, CLI::App* policy) {
    auto* overrides =
        policy->add_subcommand("override", "Sets, lists and removes exceptions")->require_subcommand(1);
    auto set = command.add(overrides, "set", "Sets an exception, effective immediately",
                           Asking<admin::OverrideRequest, admin::OverrideRow>{
                               "policy.override.set", [](const admin::OverrideRow& o) { show(o); }});
    set.app
        ->add_option("SCOPE", set.request->scope,
                     "example.com, .example.com, mx:mx1.example.net or mx:.example.net")
        ->required();
    set.app->add_option("LEVEL", set.request->level, "none, may, encrypt, verify, dane or sts")->required();
    set.app->add_option("--reason", set.request->reason, "the reason, for other administrators")->required();
    set.app->add_option("--author", set.request->author, "who decided it; default: your user id");
    set.app->add_option("--expires", set.request->expires, "when it expires: 14d, or 2027-01-31T00:00:00Z");
    command.add_reading<admin::OverrideList>(overrides, "list", "all exceptions",
                                             [](const std::vector<admin::OverrideRow>& all) {
                                                 for (const auto& o : all) show(o);
                                                 if (all.empty()) tell("No override is set.\n");
                                             });
    auto remove = command.add(overrides, "remove", "Removes an exception",
                              Asking<admin::ScopeValue, admin::ScopeValue>{
                                  "policy.override.remove", [](const admin::ScopeValue& removed) {
                                      tell("removed: {}\n", removed.scope);
                                  }});
    remove.app->add_option("SCOPE", remove.request->scope, "as it was set")->required();
}

}  // namespace

void add_policy(Command& command) {
    auto* app = &command.app();
    Asking<admin::ExplainRequest, admin::ExplainAnswer> explained{
        "explain", [](const admin::ExplainAnswer& answer) { show_lines(answer.lines); }};
    auto explain = command.add(app, "explain", "Shows what delivery to a domain depends on right now",
                               std::move(explained));
    explain.app->add_option("DOMAIN", explain.request->domain, "domain or address")->required();
    explain.app->add_flag("--probe", explain.request->probe,
                          "connect to the MX hosts, and show what they offer");
    auto why = command.add_reading<admin::Why>(
        app, "why", "Explains why a message waits or failed, and who must act",
        [](const admin::WhyAnswer& answer) { show_lines(answer.lines); });
    why.app->add_option("ID", why.request->id, "queue id, also of a message that has left the queue")
        ->required();
    auto* policy =
        app->add_subcommand("policy", "Manages exceptions, and evaluates policies")->require_subcommand(1);
    auto what_if = command.add_reading<admin::WhatIf>(
        policy, "whatif", "Shows which sessions an enforced policy would have failed",
        [](const admin::WhatIfAnswer& answer) { show_lines(answer.lines); });
    what_if.app->add_option("--since", what_if.request->since, "how far back, such as 7d");
    add_overrides(command, policy);
}

}  // namespace sternpost::cmd
