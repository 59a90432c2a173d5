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
    auto* kind = verb.app->add_option("KIND", request.kind, "the kind of alarm, such as tls-gone");
    auto* subject = verb.app->add_option("SUBJECT", request.subject,
                                         "the domain or host that the alarm is about; default: all");
    auto* all = verb.app->add_flag("--all", request.all, "all alarms");
    all->excludes(kind)->excludes(subject);
    if (name == "mute")
        verb.app->add_option("--for", request.span, "how long, such as 7d; off ends it")->required();
}

}  // namespace

void add_alarms(Command& command) {
    auto* alarms = command.app()
                       .add_subcommand("alarms", "Lists alarms, acknowledges and mutes them")
                       ->require_subcommand(1);
    auto list = command.add_reading<admin::AlarmsList>(
        alarms, "list", "Lists open alarms, and what to do about them", show_alarms);
    list.app->add_flag("--all", list.request->all,
                       "also show alarms that are acknowledged, muted, or older than a week");
    add_action(command, alarms, "ack", "Acknowledges alarms; a new occurrence opens them again",
               "acknowledged");
    add_action(command, alarms, "mute", "Stops mail about alarms, and their count in check, for a time",
               "muted");
}

}  // namespace sternpost::cmd
