#include "delivery/route.h"

#include "util/text.h"

namespace sternpost::delivery {

Expected<Route, dns::Errc> Route::parse(std::string_view pattern, std::string_view to) {
    Route out;
    out.pattern = lowered(pattern);
    if (out.pattern != "*") {
        const auto name =
            dns::Domain::parse(out.pattern.starts_with('.') ? std::string_view(out.pattern).substr(1)
                                                            : std::string_view(out.pattern));
        if (!name)
            return fail(
                dns::Errc::bad_name,
                "\"" + printable(pattern) +
                    "\" is not what a route can be for: allowed are a domain (example.com), the domains "
                    "under one (.example.com) and \"*\"");
        out.pattern = (out.pattern.starts_with('.') ? "." : "") + name->text();
    }
    const auto bad = [&] {
        return fail(
            dns::Errc::bad_name,
            "\"" + printable(to) +
                "\" is not where a route can lead: allowed are the MX hosts of a domain (mx:example.net), a "
                "host (relay.example.net, relay.example.net:2525) and an address ([192.0.2.1]:25)");
    };
    if (to.starts_with("mx:")) {
        auto domain = dns::Domain::parse(to.substr(3));
        if (!domain) return bad();
        out.mx_of = std::move(*domain);
        return out;
    }
    std::string_view name = to;
    std::string_view port;
    if (to.starts_with('[')) {
        const auto close = to.find(']');
        if (close == std::string_view::npos) return bad();
        name = to.substr(1, close - 1);
        if (lowered(name).starts_with("ipv6:")) name.remove_prefix(5);
        port = to.substr(close + 1);
    } else if (const auto colon = to.rfind(':'); colon != std::string_view::npos) {
        name = to.substr(0, colon);
        port = to.substr(colon);
    }
    if (!port.empty()) {
        const auto number = port.starts_with(':') ? decimal(port.substr(1)) : std::nullopt;
        if (!number || *number == 0 || *number > 65535) return bad();
        out.port = static_cast<std::uint16_t>(*number);
    }
    if (auto address = dns::Address::parse(name)) {
        out.address = *address;
        return out;
    }
    if (to.starts_with('[')) return bad();
    auto host = dns::Domain::parse(name);
    if (!host) return bad();
    out.host = dns::MxHost(std::move(*host));
    return out;
}

bool Route::covers(std::string_view domain) const {
    if (pattern == "*") return true;
    return pattern.starts_with('.') ? domain.ends_with(pattern) : domain == pattern;
}

std::string Route::to_text() const {
    if (mx_of) return "mx:" + mx_of->text();
    const std::string name = host ? host->text() : address->literal();
    return port == 0 ? name : name + ":" + std::to_string(port);
}

const Route* route_of(const std::vector<Route>& routes, std::string_view domain) {
    const Route* best = nullptr;
    const auto weight = [](const Route& r) {
        if (r.pattern == "*") return std::size_t{0};
        return r.pattern.size() + (r.pattern.starts_with('.') ? 0U : 1000U);
    };
    for (const Route& route : routes)
        if (route.covers(domain) && (best == nullptr || weight(route) > weight(*best))) best = &route;
    return best;
}

}  // namespace sternpost::delivery
