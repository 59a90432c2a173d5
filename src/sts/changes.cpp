#include "sts/changes.h"

#include <algorithm>

#include "sts/policy.h"

namespace sternpost::sts {
namespace {

constexpr int cut_to = 4;  // ours: a max_age below a quarter of what it was

// Whether every host that `pattern` matches is matched by one of `patterns`.
bool covered(const MxPattern& pattern, const std::vector<MxPattern>& patterns) {
    return std::any_of(patterns.begin(), patterns.end(), [&](const MxPattern& p) {
        return p == pattern || (!pattern.wildcard && p.matches(dns::MxHost(pattern.domain)));
    });
}

}  // namespace

std::vector<Change> changes(const store::PolicyVersion& before, const store::PolicyVersion& after) {
    std::vector<Change> out;
    if (before.text == after.text) return out;
    if (before.id == after.id)
        out.push_back({store::AlarmKind::policy_changed_without_id,
                       "the policy has changed, but the id in the TXT record is still " + after.id +
                           ": senders that have the old one cached will not look for the new one"});
    const auto old_policy = Policy::parse(before.text);
    const auto new_policy = Policy::parse(after.text);
    if (!old_policy || !new_policy) return out;
    if (old_policy->mode == Mode::enforce && new_policy->mode != Mode::enforce)
        out.push_back({store::AlarmKind::policy_weakened, "the mode was enforce and is " +
                                                              std::string(name_of(new_policy->mode)) +
                                                              " now (id " + after.id + ")"});
    std::string missing;
    for (const auto& pattern : old_policy->mx)
        if (!covered(pattern, new_policy->mx)) missing += (missing.empty() ? "" : ", ") + pattern.text();
    if (!missing.empty() && new_policy->mode != Mode::none)
        out.push_back({store::AlarmKind::mx_set_shrunk,
                       "the policy (id " + after.id + ") does not list " + missing + " any more"});
    if (new_policy->max_age * cut_to < old_policy->max_age)
        out.push_back(
            {store::AlarmKind::max_age_cut, "max_age was " + std::to_string(old_policy->max_age.count()) +
                                                " and is " + std::to_string(new_policy->max_age.count()) +
                                                " seconds now (id " + after.id + ")"});
    return out;
}

}  // namespace sternpost::sts
