// The verbs that the daemon answers, by group.
#pragma once

#include "admin/alarm_verbs.h"
#include "admin/dkim_keys.h"
#include "admin/policy_verbs.h"
#include "admin/queue_actions.h"
#include "admin/report_verbs.h"
#include "admin/sts_verbs.h"
#include "control/verbs.h"

namespace sternpost::control {

// Everything that is named outlives `verbs`.
void add_queue(Verbs& verbs, store::Store& store, const admin::Live& live, admin::QueueActions& actions);
void add_alarms(Verbs& verbs, store::Store& store, const admin::Live& live, admin::AlarmVerbs& alarms);
void add_policy(Verbs& verbs, store::Store& store, const admin::Live& live, admin::PolicyVerbs& policy);
void add_sts(Verbs& verbs, admin::StsVerbs& sts);
void add_reports(Verbs& verbs, store::Store& store, const admin::Live& live, admin::ReportVerbs& reports);
void add_dkim(Verbs& verbs, admin::DkimKeys& keys);

}  // namespace sternpost::control
