// `sternpost status`.
#include "admin/status.h"

#include "cmd/sternpost/command.h"
#include "cmd/sternpost/show.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

// What keeps mail from coming in or going out.
void show_troubles(const admin::Status& status) {
    if (!status.clock_trusted.value_or(true))
        tell(
            "CLOCK NOT TRUSTED: it jumped, or is earlier than queued mail. Nothing will expire. Set the "
            "clock; if it is correct now, restart the daemon.\n");
    if (status.disk_short.value_or(false))
        tell(
            "DISK: there is too little free space where state_dir is: mail is refused until there is more\n");
    if (status.memory_short.value_or(false))
        tell("MEMORY: the daemon has more than max_memory: mail is refused until it has less\n");
    if (status.results_waiting.value_or(0) > 0)
        tell(
            "STORE: {} result(s) of deliveries cannot be kept: nothing is delivered until they are; the log "
            "says why (results-wait)\n",
            *status.results_waiting);
}

template <class Rows, class Show>
void show_each(const std::optional<Rows>& rows, Show show_one) {
    if (rows)
        for (const auto& row : *rows) show_one(row);
}

void show_status(const admin::Status& status) {
    if (!status.running) tell("The daemon is down; this is what the disk holds.\n");
    if (status.running)
        tell("sternpostd {} at {}, pid {}, since {}\n", status.version.value_or(""),
             status.hostname.value_or(""), status.pid.value_or(0),
             status.started ? rfc3339(*status.started) : "");
    tell("queue: {} message(s), {} recipient(s), {} octets{}\n", status.queue.messages,
         status.queue.recipients, status.queue.octets,
         status.queue.oldest ? ", oldest of " + rfc3339(*status.queue.oldest) : "");
    tell("MTA-STS policies cached: {}\n", status.policies);
    if (status.dnssec)
        tell("DNSSEC: {}\n",
             status.dnssec->reason.empty() ? status.dnssec->state : printable(status.dnssec->reason, 1000));
    if (status.tls_reports) show(*status.tls_reports);
    show_troubles(status);
    show_each(status.overrides, [](const admin::OverrideRow& o) {
        if (!o.expired)
            tell("override \"{}\" for {}{}\n", o.level, o.scope,
                 o.expires ? " until " + rfc3339(*o.expires) : "");
    });
    show_each(status.alarms, [](const admin::AlarmRow& alarm) {
        if (alarm.open && !alarm.muted_until) show(alarm);
    });
    show_each(status.suspended, [](const admin::SuspensionRow& one) { show(one); });
    show_each(status.next_hops, [](const admin::HopRow& hop) { show(hop); });
}

}  // namespace

void add_status(Command& command) {
    Asking<admin::NoRequest, admin::Status> asking{"status", show_status};
    asking.at_rest = [](const config::Settings& settings, const admin::NoRequest&) {
        return answer_at_rest(settings, admin::StatusAtRest());
    };
    command.add(&command.app(), "status", "Shows the state of the daemon and its queue", std::move(asking));
}

}  // namespace sternpost::cmd
