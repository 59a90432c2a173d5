#include "delivery/connections.h"

#include <algorithm>

namespace sternpost::delivery {

bool may_share(const Requirement& requirement, smtp::TlsUse made) {
    switch (requirement.tls_use()) {
        case smtp::TlsUse::required:
            return made == smtp::TlsUse::required;
        case smtp::TlsUse::if_offered:
            return made != smtp::TlsUse::never;
        case smtp::TlsUse::never:
            return true;
    }
    return false;
}

Observation seen_of(const smtp::Opened& opened) {
    return Observation::of_session(opened.evidence, opened.offered.requiretls, opened.starttls_refusal);
}

std::optional<IdleConnection> Connections::remove(std::list<IdleConnection>::iterator which) {
    if (which == idle_.end()) return std::nullopt;
    std::optional<IdleConnection> out(std::move(*which));
    idle_.erase(which);
    return out;
}

std::optional<IdleConnection> Connections::take(const std::optional<dns::MxHost>& host,
                                                const std::vector<dns::Address>& addresses,
                                                std::uint16_t port,
                                                const std::function<bool(const IdleConnection&)>& fits) {
    return remove(std::find_if(idle_.begin(), idle_.end(), [&](const IdleConnection& c) {
        return c.request.host == host && c.request.port == port &&
               std::find(addresses.begin(), addresses.end(), c.request.address) != addresses.end() && fits(c);
    }));
}

bool Connections::has(const std::string& site) const {
    return std::any_of(idle_.begin(), idle_.end(), [&](const IdleConnection& c) { return c.site == site; });
}

std::optional<IdleConnection> Connections::evict(const std::string& site) {
    return remove(
        std::find_if(idle_.begin(), idle_.end(), [&](const IdleConnection& c) { return c.site == site; }));
}

std::optional<IdleConnection> Connections::evict_at(const std::string& place) {
    return remove(
        std::find_if(idle_.begin(), idle_.end(), [&](const IdleConnection& c) { return c.place == place; }));
}

std::optional<IdleConnection> Connections::expired(SteadyTime now) {
    return remove(
        std::find_if(idle_.begin(), idle_.end(), [&](const IdleConnection& c) { return c.until <= now; }));
}

std::optional<SteadyTime> Connections::next_expiry() const {
    std::optional<SteadyTime> out;
    for (const auto& c : idle_)
        if (!out || c.until < *out) out = c.until;
    return out;
}

}  // namespace sternpost::delivery
