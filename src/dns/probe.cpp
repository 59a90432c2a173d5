#include "dns/probe.h"

namespace sternpost::dns {

std::string_view name_of(Validation validation) {
    switch (validation) {
        case Validation::not_probed:
            return "not-probed";
        case Validation::untrusted:
            return "untrusted";
        case Validation::validates:
            return "validates";
        case Validation::does_not:
            return "does-not-validate";
        case Validation::unanswered:
            return "unanswered";
    }
    return "";
}

asio::awaitable<ProbeResult> probe(Resolver& resolver, ProbeNames names) {
    const std::string who = "the resolver " + resolver.servers_text();
    ProbeResult out;
    if (!resolver.trusted()) {
        out.validation = Validation::untrusted;
        out.text = who +
                   " is not taken at its word on DNSSEC by dns.trust_ad (\"auto\" trusts resolvers on "
                   "127.0.0.1 and ::1 "
                   "that do not only forward, as 127.0.0.53 and 127.0.0.11 do; \"no\" trusts none): DANE is "
                   "not used; "
                   "run a validating resolver on this machine (apt install unbound), or set dns.trust_ad = "
                   "\"yes\" if "
                   "the way to it is safe";
        co_return out;
    }
    auto secure = Domain::parse(names.secure);
    auto bogus = Domain::parse(names.bogus);
    if (!secure || !bogus) {
        out.text = "no names to probe the resolver with are set (dns.probe_secure, dns.probe_bogus)";
        co_return out;
    }
    const auto good = co_await resolver.a(*secure);
    if (!good) {
        out.validation = Validation::unanswered;
        out.text = who + " gives no answer for " + names.secure + " (" + good.error().text +
                   "): whether it validates DNSSEC cannot be told";
        co_return out;
    }
    const auto bad = co_await resolver.a(*bogus);
    // A name that is not there (any more) shows nothing, unless its absence is what DNSSEC secures.
    const bool good_is_gone = !good->authentic && good->records.empty();
    if (good_is_gone || (bad && bad->records.empty())) {
        out.validation = Validation::unanswered;
        out.text =
            who + " finds no address for " + (good_is_gone ? names.secure : names.bogus) +
            ", the name to probe it with: whether it validates DNSSEC cannot be told; set "
            "dns.probe_secure to a name that is signed, dns.probe_bogus to one whose signatures are wrong";
        co_return out;
    }
    if (!good->authentic || bad) {
        out.validation = Validation::does_not;
        out.text =
            who + " does not validate DNSSEC: " +
            (good->authentic ? "it answers for " + names.bogus + ", whose signatures are wrong"
                             : "it does not mark the signed name " + names.secure + " as authentic") +
            "; no domain's TLSA records can be trusted by it, so DANE protects nothing until it is mended "
            "(unbound: auto-trust-anchor-file; BIND: dnssec-validation auto)";
        co_return out;
    }
    out.validation = Validation::validates;
    out.text = who + " validates DNSSEC";
    co_return out;
}

}  // namespace sternpost::dns
