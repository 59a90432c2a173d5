#include "delivery/advice.h"

#include <array>

namespace sternpost::delivery {
namespace {

constexpr std::string_view them = "{domain}";
constexpr std::string_view us = "this relay";
constexpr std::string_view nobody = "nobody: it passes by itself";

enum class Why { policy, other };  // policy: what is demanded of a host, or of the DNS, holds the mail back

struct Row {
    std::string_view code;
    Why why;
    std::string_view unblocks;
    std::string_view move;
};

constexpr std::array table{
    Row{"sts-mx-not-listed", Why::policy,
        "{domain} lists this MX host in its MTA-STS policy (with a new id in its TXT record), or takes the "
        "host out of its MX records; if {domain} changed neither, somebody forges its MX records",
        them},
    Row{"sts-required", Why::policy,
        "{domain} publishes an MTA-STS policy, or the level \"sts\" is taken back here", us},
    Row{"sts-unknown", Why::policy,
        "the TXT record _mta-sts.{domain} can be looked up; after 30 minutes without an answer the mail goes "
        "as to a domain without a policy, unless {domain} ever had an enforced one",
        "this relay's resolver, or {domain}'s DNS servers"},
    Row{"dns-doubted", Why::policy,
        "{domain} publishes MX records with hosts that take mail; a domain that really takes none any more "
        "must let its MTA-STS policy run out first (mode none)",
        them},
    Row{"starttls-not-offered", Why::policy,
        "the MX host offers STARTTLS again; if it always did, somebody on the way strips it, and the mail "
        "waits for good reason",
        them},
    Row{"starttls-refused", Why::policy, "the MX host answers STARTTLS with 220 again", them},
    Row{"starttls-injection", Why::policy,
        "nobody adds octets in clear text behind the reply to STARTTLS any more: that is an attack or a "
        "broken host",
        them},
    Row{"handshake-failed", Why::policy, "the MX host completes a TLS handshake (TLS 1.2 or later)", them},
    Row{"certificate-expired", Why::policy, "the MX host gets a new certificate", them},
    Row{"certificate-not-yet-valid", Why::policy,
        "the certificate becomes valid, or the clock of this relay is set right", them},
    Row{"certificate-not-trusted", Why::policy,
        "the MX host shows a certificate, with its intermediate ones, from an authority that is trusted here "
        "(option tls.ca_file)",
        them},
    Row{"certificate-too-weak", Why::policy,
        "the MX host gets a certificate with an RSA key of 2048 bits or more and no SHA-1", them},
    Row{"certificate-host-mismatch", Why::policy,
        "the MX host shows a certificate that has its own name, the one in the MX record, among its DNS "
        "names",
        them},
    Row{"dane-no-tlsa-match", Why::policy,
        "{domain} publishes TLSA records for the certificate that its MX host now has: the old ones were "
        "left behind when it changed",
        them},
    Row{"tlsa-lookup-failed", Why::policy,
        "the TLSA records can be looked up: DNS servers that answer such questions with errors, or "
        "signatures that have expired, are the usual causes",
        "{domain}'s DNS servers, or this relay's resolver"},
    Row{"dane-required", Why::policy,
        "the host gets TLSA records that DNSSEC secures, or the level \"dane\" is taken back here", us},
    Row{"requiretls-mx-not-trusted", Why::policy,
        "{domain} signs its MX records with DNSSEC or publishes an enforced MTA-STS policy; or the sender "
        "sends again without REQUIRETLS",
        "{domain}, or the sender"},
    Row{"requiretls-not-offered", Why::policy,
        "the MX host offers REQUIRETLS; or the sender sends again without it", "{domain}, or the sender"},
    Row{"unreachable", Why::other, "an MX host takes a connection and greets", them},
    Row{"addresses-unanswered", Why::other, "the addresses of the MX hosts can be looked up",
        "{domain}'s DNS servers, or this relay's resolver"},
    Row{"no-address", Why::other, "the MX hosts get addresses", them},
    Row{"loop", Why::other,
        "the MX records of {domain} name another host before this one, or this relay gets a route for "
        "{domain}",
        "{domain}, or this relay"},
    Row{"network-unreachable", Why::other, "this machine reaches the Internet again", us},
    Row{"greeting-refused", Why::other,
        "the hosts take connections from this relay's address again: ask where their replies point to, and "
        "see whether the address is on a block list",
        us},
    Row{"takes-no-mail", Why::other, "{domain} names MX hosts that take mail", them},
    Row{"host-asks-to-wait", Why::other, "the time that the host asks for passes", nobody},
    Row{"greylisted", Why::other,
        "the host takes the message at a later attempt: it asks strangers to come again", nobody},
    Row{"ipv6-without-ptr", Why::other,
        "this relay's IPv6 address gets a PTR record with a name that leads back to it; a host that has an "
        "IPv4 address gets the mail there meanwhile",
        us},
    Row{"possibly-delivered", Why::other,
        "the next attempt; the host may have the message already, so it comes late on purpose", nobody},
    Row{"dkim-key", Why::other,
        "the key that the message is to be signed with can be read (\"sternpost dkim list\" says what is "
        "wrong "
        "with it); mail other than reports goes unsigned when it has waited for dkim.patience",
        us},
    Row{"clock", Why::other,
        "the clock of this machine is set right again, or, if it is right now, the daemon is restarted; "
        "until "
        "then nothing expires, and mail goes out as usual",
        us},
    Row{"suspended", Why::other, "\"sternpost queue resume\" ends the suspension", us},
    Row{"limit", Why::other, "a connection that is in use ends", nobody},
    Row{"results-wait", Why::other,
        "there is room on the disk of state_dir again, or it can be written again", us},
    Row{"daemon-down", Why::other, "the daemon is started", us},
    Row{"held", Why::other, "\"sternpost queue release\" ends the hold", us},
};

std::string filled(std::string_view text, const std::string& domain) {
    std::string out;
    for (;;) {
        const auto at = text.find(them);
        out += text.substr(0, at);
        if (at == std::string_view::npos) return out;
        out += domain;
        text.remove_prefix(at + them.size());
    }
}

}  // namespace

Advice advice_for(std::string_view reason_code, const std::string& domain) {
    for (const Row& row : table)
        if (row.code == reason_code)
            return {filled(row.unblocks, domain), filled(row.move, domain), row.why == Why::policy};
    return {"the host takes the message at a later attempt", domain, false};
}

}  // namespace sternpost::delivery
