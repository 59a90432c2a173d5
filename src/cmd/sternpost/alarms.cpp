// `sternpost alarms`: what an administrator should look at, and says to have seen.
#include "admin/alarms.h"

#include "cmd/sternpost/command.h"
#include "cmd/sternpost/show.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

void show_alarms(const admin::AlarmsAnswer& answer) {
    for (const auto& alarm : answer.alarms) {
        show(alarm);
        if (alarm.acked)
            tell("    {}: acknowledged at {} by {}\n", alarm.open ? "raised again since" : "known",
                 rfc3339(*alarm.acked), printable(alarm.acked_by));
        if (alarm.muted_until) tell("    muted until {}\n", rfc3339(*alarm.muted_until));
        if (!alarm.advice.empty()) tell("    What to do: {}\n", alarm.advice);
    }
    if (answer.alarms.empty()) tell("No alarm is open.\n");
    if (answer.muted > 0) tell("{} more {} muted (--all)\n", answer.muted, answer.muted == 1 ? "is" : "are");
}

void add_action(Command& command, CLI::App* alarms, const std::string& name, const std::string& help,
                const std::string& done) {
    auto verb = command.add(alarms, name, help,
                            Asking<admin::AlarmAction, admin::AlarmsDone>{
                                "alarms." + name, [done](const admin::AlarmsDone& all) {
                                    for (const auto& one : all.alarms)
                                        tell("{}: {} {}\n", done, one.kind, printable(one.subject, 300));
                                }});
    auto& request = *verb.request;
    auto* kind = verb.app->add_option("KIND", request.kind, "such as tls-gone");
    auto* subject = verb.app->add_option("SUBJECT", request.subject, "the domain or host; any without");
    auto* all = verb.app->add_flag("--all", request.all, "whatever they are about");
    all->excludes(kind)->excludes(subject);
    if (name == "mute")
        verb.app->add_option("--for", request.span, "for how long, such as 7d; off ends it")->required();
}

}  // namespace

void add_alarms(Command& command) {
    auto* alarms =
        command.app().add_subcommand("alarms", "what an administrator should look at")->require_subcommand(1);
    auto list = command.add_reading<admin::AlarmsList>(alarms, "list", "alarms that are open, and what to do",
                                                       show_alarms);
    list.app->add_flag("--all", list.request->all,
                       "those too that are acknowledged, muted, or older than a week");
    add_action(command, alarms, "ack",
               "says that they are known: they are open again when they are raised again", "acknowledged");
    add_action(command, alarms, "mute", "keeps them from being mailed and counted for a time", "muted");
}

}  // namespace sternpost::cmd
