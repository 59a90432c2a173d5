#include "control/access.h"

#include <algorithm>
#include <array>

namespace sternpost::control {
namespace {

struct Row {
    std::string_view verb;
    Access access;
};

constexpr std::array rows{
    Row{"status", Access::read},
    Row{"queue.list", Access::read},
    Row{"queue.show", Access::read},
    Row{"queue.hops", Access::read},
    Row{"queue.suspended", Access::read},
    Row{"why", Access::read},
    Row{"sts.show", Access::read},
    Row{"sts.list", Access::read},
    Row{"sts.history", Access::read},
    Row{"policy.override.list", Access::read},
    Row{"tlsrpt.list", Access::read},
    Row{"tlsrpt.show", Access::read},
    Row{"tlsrpt.status", Access::read},
    Row{"explain", Access::look_up},
    Row{"sts.diff", Access::look_up},
    Row{"sts.check", Access::look_up},
    Row{"tlsrpt.preview", Access::look_up},
    Row{"tlsrpt.digest", Access::look_up},
    Row{"policy.whatif", Access::look_up},
    Row{"dkim.check", Access::look_up},
};

}  // namespace

Access access_of(std::string_view verb) {
    const auto* const row =
        std::find_if(rows.begin(), rows.end(), [&](const Row& one) { return one.verb == verb; });
    return row == rows.end() ? Access::act : row->access;
}

}  // namespace sternpost::control
