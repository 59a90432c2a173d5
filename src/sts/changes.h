// What an administrator should know when a domain's policy is not what it was. Pure.
#pragma once

#include <string>
#include <vector>

#include "store/alarm_kind.h"
#include "store/policy.h"

namespace sternpost::sts {

/// A change that may be a mistake or an attack.
struct Change {
    store::AlarmKind kind;
    std::string text;  // the sentence
    bool operator==(const Change&) const = default;
};

/// What is remarkable about `after` where `before` was served last. A text that is no policy has only its id
/// compared.
std::vector<Change> changes(const store::PolicyVersion& before, const store::PolicyVersion& after);

}  // namespace sternpost::sts
