#include "control/daemon_verbs.h"

#include "admin/mail_log.h"
#include "admin/queue_summary.h"
#include "admin/stats.h"
#include "admin/why.h"

namespace sternpost::control {

using admin::Access;
using queue::AdminAction;

void add_queue(Verbs& verbs, store::Store& store, const admin::Live& live, admin::QueueActions& actions) {
    verbs.add<admin::QueueList>(store, live);
    verbs.add<admin::QueueShow>(store, live);
    verbs.add<admin::QueueHops>(store, live);
    verbs.add<admin::QueueSummary>(store, live);
    verbs.add<admin::QueueSuspended>(store, live);
    verbs.add<admin::Why>(store, live);
    verbs.add<admin::Stats>(store, live);
    verbs.add<admin::MailLog>(store, live);
    for (const auto& [name, action] :
         {std::pair("queue.retry", AdminAction::retry), std::pair("queue.hold", AdminAction::hold),
          std::pair("queue.release", AdminAction::release), std::pair("queue.expire", AdminAction::expire),
          std::pair("queue.delete", AdminAction::remove), std::pair("queue.reroute", AdminAction::reroute)})
        verbs.add<admin::ActionRequest>(
            name, Access::act, [&actions, what = action](admin::ActionRequest request, const Caller& caller) {
                return actions.act(what, std::move(request), caller, progress_to<admin::ActionRow>(caller));
            });
    for (const auto& [name, ended] : {std::pair("queue.suspend", false), std::pair("queue.resume", true)})
        verbs.add<admin::SuspendRequest>(
            name, Access::act, [&actions, over = ended](admin::SuspendRequest request, const Caller& caller) {
                return actions.suspend(std::move(request), caller, over);
            });
}

void add_alarms(Verbs& verbs, store::Store& store, const admin::Live& live, admin::AlarmVerbs& alarms) {
    verbs.add<admin::AlarmsList>(store, live);
    verbs.add<admin::AlarmAction>("alarms.ack", Access::act,
                                  [&alarms](admin::AlarmAction action, const Caller& caller) {
                                      return alarms.acknowledge(std::move(action), caller);
                                  });
    verbs.add<admin::AlarmAction>("alarms.mute", Access::act,
                                  [&alarms](admin::AlarmAction action, const Caller& caller) {
                                      return alarms.mute(std::move(action), caller);
                                  });
}

void add_policy(Verbs& verbs, store::Store& store, const admin::Live& live, admin::PolicyVerbs& policy) {
    verbs.add<admin::WhatIf>(store, live);
    verbs.add<admin::OverrideList>(store, live);
    verbs.add<admin::StsHistory>(store, live);
    verbs.add<admin::ExplainRequest>("explain", Access::look_up,
                                     [&policy](admin::ExplainRequest request, const Caller&) {
                                         return policy.explain(std::move(request));
                                     });
    verbs.add<admin::OverrideRequest>("policy.override.set", Access::act,
                                      [&policy](admin::OverrideRequest request, const Caller& caller) {
                                          return policy.set_override(std::move(request), caller);
                                      });
    verbs.add<admin::ScopeValue>("policy.override.remove", Access::act,
                                 [&policy](admin::ScopeValue request, const Caller& caller) {
                                     return policy.remove_override(std::move(request), caller);
                                 });
    verbs.add<admin::DomainRequest>(
        "sts.diff", Access::look_up,
        [&policy](admin::DomainRequest request, const Caller&) { return policy.diff(std::move(request)); });
    verbs.add<admin::DomainRequest>(
        "sts.check", Access::look_up,
        [&policy](admin::DomainRequest request, const Caller&) { return policy.check(std::move(request)); });
}

void add_sts(Verbs& verbs, admin::StsVerbs& sts) {
    verbs.add<admin::DomainRequest>(
        "sts.show", Access::read,
        [&sts](admin::DomainRequest request, const Caller&) { return sts.show(std::move(request)); });
    verbs.add<admin::NoRequest>("sts.list", Access::read, [&sts](admin::NoRequest, const Caller& caller) {
        return sts.list(pieces_to<admin::PolicyRow>(caller, "policies"));
    });
    verbs.add<admin::DomainRequest>(
        "sts.refresh", Access::act,
        [&sts](admin::DomainRequest request, const Caller&) { return sts.refresh(std::move(request)); });
}

void add_reports(Verbs& verbs, store::Store& store, const admin::Live& live, admin::ReportVerbs& reports) {
    verbs.add<admin::ReportList>(store, live);
    verbs.add<admin::ReportShow>(store, live);
    verbs.add<admin::ReportRequest>("tlsrpt.preview", Access::look_up,
                                    [&reports](admin::ReportRequest request, const Caller&) {
                                        return reports.preview(std::move(request));
                                    });
    verbs.add<admin::ReportRequest>(
        "tlsrpt.send", Access::act, [&reports](admin::ReportRequest request, const Caller& caller) {
            return reports.send(std::move(request), progress_to<admin::SendingRow>(caller));
        });
    verbs.add<admin::IdRequest>(
        "tlsrpt.resend", Access::act,
        [&reports](admin::IdRequest request, const Caller&) { return reports.resend(std::move(request)); });
    verbs.add<admin::DigestRequest>("tlsrpt.digest", Access::look_up,
                                    [&reports](admin::DigestRequest request, const Caller&) {
                                        return reports.digest(std::move(request));
                                    });
    verbs.add<admin::NoRequest>(
        "tlsrpt.status", Access::read,
        [&reports](admin::NoRequest, const Caller&) -> asio::awaitable<admin::Answer<admin::ReportingRow>> {
            co_return reports.status();
        });
}

void add_dkim(Verbs& verbs, admin::DkimKeys& keys) {
    verbs.add<admin::DomainRequest>(
        "dkim.check", Access::look_up,
        [&keys](admin::DomainRequest request, const Caller&) { return keys.check(std::move(request)); });
    verbs.add<admin::NoRequest>("dkim.reload", Access::act,
                                [&keys](admin::NoRequest, const Caller&) { return keys.reload(); });
}

}  // namespace sternpost::control
