#include "admin/live_daemon.h"

namespace sternpost::admin {

std::vector<KnownOverride> LiveDaemon::overrides() const {
    std::size_t configured = 0;
    auto all = s_.overrides.all(configured);
    std::vector<KnownOverride> out;
    for (std::size_t n = 0; n < all.size(); ++n)
        out.push_back({std::move(all[n]), n + configured >= all.size()});
    return out;
}

std::vector<store::StoredOverride> LiveDaemon::overrides_for(const std::string& next_hop) const {
    const auto o = s_.overrides.in_force(next_hop, std::nullopt, now());
    if (!o) return {};
    store::StoredOverride one;
    one.scope = o->scope;
    one.level = delivery::name_of(o->level);
    one.reason = o->reason;
    one.author = o->author;
    one.expires = o->expires;
    return {one};
}

}  // namespace sternpost::admin
