#include "sts/fetch.h"

#include "util/call.h"
#include "util/text.h"

namespace sternpost::sts {
namespace {

Errc meaning(util::HttpsErrc code) {
    switch (code) {
        case util::HttpsErrc::certificate:
            return Errc::certificate;
        case util::HttpsErrc::stopped:
            return Errc::stopped;
        case util::HttpsErrc::connect:
        case util::HttpsErrc::timed_out:
        case util::HttpsErrc::tls:
        case util::HttpsErrc::too_big:
        case util::HttpsErrc::protocol:
        case util::HttpsErrc::unusable:
            return Errc::fetch;
    }
    return Errc::fetch;
}

}  // namespace

asio::awaitable<Result<Served>> fetch_text(const FetchOptions& options, dns::Resolver& resolver,
                                           util::Https& https, dns::PolicyDomain domain) {
    const auto host = domain.name().under("mta-sts");  // RFC 8461 §3.3
    if (!host) co_return fail(Errc::fetch, "mta-sts." + domain.text() + " is longer than a name may be");
    util::HttpsRequest request;
    const dns::Gate gate = options.gate.allowing_special(options.allow_special_addresses);
    std::string refused;
    std::string trouble = "has no address";
    for (const bool v6 : {true, false}) {
        if (v6 ? !options.ipv6 : !options.ipv4) continue;
        dns::Result<dns::Answer<dns::Address>> answer = dns::Answer<dns::Address>();
        if (v6)
            answer = co_await resolver.aaaa(*host);
        else
            answer = co_await resolver.a(*host);
        if (!answer) {
            trouble = "cannot be resolved (" + answer.error().text + ")";
            continue;
        }
        for (const auto& address : answer->records) {
            const dns::Passage passage = gate.judge(address, options.port);
            if (passage != dns::Passage::open)
                refused = dns::reason_of(passage);
            else if (request.addresses.size() < 8)  // ours: enough to find one that works
                request.addresses.push_back(address.text());
        }
    }
    if (request.addresses.empty() && !refused.empty())
        co_return fail(Errc::refused_address,
                       "the policy host " + host->text() + " has no address that is dialled: " + refused);
    if (request.addresses.empty())
        co_return fail(Errc::fetch, "the policy host " + host->text() + " " + trouble);
    request.host = host->text();
    request.port = options.port;
    request.allow_special = options.allow_special_addresses;
    request.path = "/.well-known/mta-sts.txt";
    request.timeout = options.timeout;
    request.max_body = options.max_size;
    auto ask = [&https, request = std::move(request)](
                   Completion<Expected<util::HttpsAnswer, util::HttpsErrc>> reply) mutable {
        https.run(std::move(request), std::move(reply));
    };
    auto answer = co_await call<Expected<util::HttpsAnswer, util::HttpsErrc>>(std::move(ask));
    if (!answer)
        co_return fail(meaning(answer.error().code),
                       "the policy host " + host->text() + ": " + answer.error().text);
    if (answer->status != 200)  // RFC 8461 §3.3: redirects are not followed, nothing but 200 counts
        co_return fail(answer->status == 404 || answer->status == 410 ? Errc::gone : Errc::fetch,
                       "the policy host " + host->text() + " answered with HTTP status " +
                           std::to_string(answer->status));
    Served out{std::move(answer->body), std::move(answer->fingerprint), std::move(answer->content_type)};
    co_return out;
}

asio::awaitable<Result<Fetched>> fetch(const FetchOptions& options, dns::Resolver& resolver,
                                       util::Https& https, dns::PolicyDomain domain) {
    const std::string host = "mta-sts." + domain.text();
    auto served = co_await fetch_text(options, resolver, https, std::move(domain));
    if (!served) co_return fail(std::move(served).error());
    if (served->content_type) {  // a missing one is let pass (D-03)
        const std::string_view type =
            trimmed(std::string_view(*served->content_type).substr(0, served->content_type->find(';')));
        if (!iequals(type, "text/plain"))
            co_return fail(Errc::bad_policy, "the policy host " + host + " serves the policy as " +
                                                 printable(type, 60) + ", not text/plain");
    }
    auto policy = Policy::parse(served->text);
    if (!policy)
        co_return fail(Errc::bad_policy, "the policy at " + host + " is invalid: " + policy.error().text);
    if (policy->mx.size() > max_mx_patterns)  // each look-up for mail has them in memory
        co_return fail(Errc::bad_policy, "the policy at " + host + " lists " +
                                             std::to_string(policy->mx.size()) +
                                             " mx patterns, more than the " +
                                             std::to_string(max_mx_patterns) + " that are read");
    Fetched out{std::move(*policy), std::move(served->text), std::move(served->fingerprint),
                std::move(served->content_type)};
    co_return out;
}

}  // namespace sternpost::sts
