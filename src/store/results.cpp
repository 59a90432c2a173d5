#include "store/results.h"

namespace sternpost::store {

std::string_view name_of(PolicyType type) {
    switch (type) {
        case PolicyType::no_policy_found:
            return "no-policy-found";
        case PolicyType::sts:
            return "sts";
        case PolicyType::tlsa:
            return "tlsa";
    }
    return "no-policy-found";
}

RecipientProgress RecipientProgress::after(const DeliveryResult& result) {
    return {result.state, result.next_at, result.tries, result.lost_replies, result.status, result.text};
}

}  // namespace sternpost::store
