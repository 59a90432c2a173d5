#include "delivery/override.h"

#include <algorithm>

#include "util/text.h"

namespace sternpost::delivery {
namespace {

bool expired(const store::StoredOverride& o, WallTime now) {
    return o.expires != WallTime{} && o.expires <= now;
}

// How much a scope says of the case at hand: the higher the better.
std::size_t weight(const Scope& scope) {
    return (scope.of_mx_host ? 0U : 1000U) + (scope.suffix ? 0U : 500U) + scope.name.text().size();
}

}  // namespace

Expected<Scope, dns::Errc> Scope::parse(std::string_view text) {
    std::string_view rest = text;
    bool of_mx_host = false;
    bool suffix = false;
    if (rest.starts_with("mx:")) {
        of_mx_host = true;
        rest.remove_prefix(3);
    }
    if (rest.starts_with('.')) {
        suffix = true;
        rest.remove_prefix(1);
    }
    auto name = dns::Domain::parse(rest);
    if (!name)
        return fail(dns::Errc::bad_name,
                    "\"" + printable(text) +
                        "\" is not a scope: allowed are a domain (example.com), the domains under "
                        "one (.example.com), an MX host (mx:mx1.example.net) and MX hosts under a "
                        "name (mx:.example.net)");
    return Scope{of_mx_host, suffix, std::move(*name)};
}

std::string Scope::text() const {
    return (of_mx_host ? "mx:" : "") + std::string(suffix ? "." : "") + name.text();
}

bool Scope::covers(const std::string& domain, const std::optional<dns::MxHost>& host) const {
    if (of_mx_host && !host) return false;
    const std::string& subject = of_mx_host ? host->text() : domain;
    return suffix ? subject.ends_with("." + name.text()) : subject == name.text();
}

bool Overrides::set(store::StoredOverride change) {
    const auto before = set_.size();
    std::erase_if(set_, [&](const auto& o) { return o.scope == change.scope; });
    const bool removed = set_.size() != before;
    if (!change.level.empty()) set_.push_back(std::move(change));
    return removed;
}

std::optional<OverrideDemand> Overrides::in_force(const std::string& domain,
                                                  const std::optional<dns::MxHost>& host,
                                                  WallTime now) const {
    const store::StoredOverride* best = nullptr;
    std::size_t best_weight = 0;
    for (const auto* list : {&set_, &configured_}) {
        for (const auto& candidate : *list) {
            if (expired(candidate, now)) continue;
            const auto scope = Scope::parse(candidate.scope);
            if (!scope || !level_of(candidate.level) || !scope->covers(domain, host)) continue;
            if (best != nullptr && weight(*scope) <= best_weight) continue;
            best = &candidate;
            best_weight = weight(*scope);
        }
    }
    if (best == nullptr) return std::nullopt;
    OverrideDemand out;
    out.level = *level_of(best->level);
    out.scope = best->scope;
    out.reason = best->reason;
    out.author = best->author;
    out.expires = best->expires;
    return out;
}

std::vector<store::StoredOverride> Overrides::all(std::size_t& configured) const {
    std::vector<store::StoredOverride> out = set_;
    out.insert(out.end(), configured_.begin(), configured_.end());
    configured = configured_.size();
    return out;
}

std::vector<store::StoredOverride> Overrides::take_expired(WallTime now) {
    std::vector<store::StoredOverride> out;
    for (const auto& o : set_)
        if (expired(o, now)) out.push_back(o);
    std::erase_if(set_, [&](const auto& o) { return expired(o, now); });
    return out;
}

}  // namespace sternpost::delivery
