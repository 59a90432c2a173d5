// `sternpost explain`, `why` and `policy`.
#include "admin/explanation.h"
#include "admin/why.h"
#include "cmd/sternpost/command.h"
#include "cmd/sternpost/show.h"

namespace sternpost::cmd {
namespace {

void add_overrides(Command& command, CLI::App* policy) {
    auto* overrides = policy->add_subcommand("override", "exceptions from policies")->require_subcommand(1);
    auto set = command.add(overrides, "set", "set an exception, now and without a restart",
                           Asking<admin::OverrideRequest, admin::OverrideRow>{
                               "policy.override.set", [](const admin::OverrideRow& o) { show(o); }});
    set.app
        ->add_option("SCOPE", set.request->scope,
                     "example.com, .example.com, mx:mx1.example.net or mx:.example.net")
        ->required();
    set.app->add_option("LEVEL", set.request->level, "none, may, encrypt, verify, dane or sts")->required();
    set.app->add_option("--reason", set.request->reason, "why, for those who come after you")->required();
    set.app->add_option("--author", set.request->author, "who says so; else your user id");
    set.app->add_option("--expires", set.request->expires, "when it ends: 14d, or 2027-01-31T00:00:00Z");
    command.add_reading<admin::OverrideList>(overrides, "list", "all exceptions",
                                             [](const std::vector<admin::OverrideRow>& all) {
                                                 for (const auto& o : all) show(o);
                                                 if (all.empty()) tell("No override is set.\n");
                                             });
    auto remove = command.add(overrides, "remove", "take an exception back",
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
    auto explain = command.add(app, "explain", "shows what mail to a domain depends on right now, and why",
                               std::move(explained));
    explain.app->add_option("DOMAIN", explain.request->domain, "a domain, or an address in it")->required();
    explain.app->add_flag("--probe", explain.request->probe,
                          "connect to its MX hosts and show what they offer");
    auto why =
        command.add_reading<admin::Why>(app, "why", "why a message is where it is, and whose move it is",
                                        [](const admin::WhyAnswer& answer) { show_lines(answer.lines); });
    why.app->add_option("ID", why.request->id, "its queue id; also of a message that is gone")->required();
    auto* policy =
        app->add_subcommand("policy", "overrides of what domains demand, and what-if")->require_subcommand(1);
    auto what_if = command.add_reading<admin::WhatIf>(
        policy, "whatif", "which sessions would have failed under an enforced policy",
        [](const admin::WhatIfAnswer& answer) { show_lines(answer.lines); });
    what_if.app->add_option("--since", what_if.request->since, "how far back, such as 7d");
    add_overrides(command, policy);
}

}  // namespace sternpost::cmd
