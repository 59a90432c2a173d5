#include "mail/sender_domains.h"

#include <algorithm>

#include "dns/name.h"

namespace sternpost::mail {

bool SenderDomains::Rule::allows(std::string_view domain) const {
    return std::any_of(domains.begin(), domains.end(), [&](const std::string& one) {
        return one.starts_with('.') ? domain.ends_with(one) : domain == one;
    });
}

const SenderDomains::Rule* SenderDomains::of_client(const dns::Address& client) const {
    const Rule* best = nullptr;
    for (const Rule& rule : rules_)
        if (rule.network && rule.network->contains(client) &&
            (best == nullptr || rule.network->bits > best->network->bits))
            best = &rule;
    return best;
}

const SenderDomains::Rule* SenderDomains::of_user(std::uint32_t uid, const std::string& login) const {
    const std::string digits = std::to_string(uid);
    const auto rule = std::find_if(rules_.begin(), rules_.end(), [&](const Rule& one) {
        return !one.user.empty() && (one.user == digits || one.user == login);
    });
    return rule == rules_.end() ? nullptr : &*rule;
}

std::optional<std::string> parse_sender_domain(std::string_view text) {
    const bool below = text.starts_with('.');
    const auto domain = dns::Domain::parse(text.substr(below ? 1 : 0));
    if (!domain) return std::nullopt;
    return (below ? "." : "") + domain->text();
}

}  // namespace sternpost::mail
