#include "delivery/advice.h"

namespace sternpost::delivery {
namespace {

using store::ReasonCode;

constexpr std::string_view them = "{domain}";
constexpr std::string_view us = "this relay";
constexpr std::string_view nobody = "no one must act: it passes by itself";

struct Row {
    bool by_policy = false;  // what is demanded of a host, or of the DNS, holds the mail back
    std::string_view unblocks;
    std::string_view move;
};

constexpr Row sts_mx_not_listed{
    true,
    "{domain} lists this MX host in its MTA-STS policy (with a new id in its TXT record), or takes the host "
    "out of its MX records; if {domain} changed neither, an attacker forges its MX records",
    them};
constexpr Row sts_required{
    true, "{domain} publishes an MTA-STS policy, or the level \"sts\" is taken back here", us};
constexpr Row sts_unknown{
    true,
    "the TXT record _mta-sts.{domain} can be looked up; after 30 minutes without an answer the mail goes as "
    "to a domain without a policy, unless {domain} ever had an enforced one",
    "this relay's resolver, or {domain}'s DNS servers"};
constexpr Row dns_doubted{true,
                          "{domain} publishes MX records with hosts that take mail; a domain that really "
                          "takes none any more must let its MTA-STS policy run out first (mode none)",
                          them};
constexpr Row starttls_not_offered{
    true,
    "the MX host offers STARTTLS again; if it always did, an attacker on the path "
    "strips it, and the mail waits for good reason",
    them};
constexpr Row starttls_refused{true, "the MX host answers STARTTLS with 220 again", them};
constexpr Row starttls_injection{true,
                                 "no octets in clear text follow the reply to STARTTLS any more: they are an "
                                 "attack, or a fault of the host",
                                 them};
constexpr Row handshake_failed{true, "the MX host completes a TLS handshake (TLS 1.2 or later)", them};
constexpr Row certificate_expired{true, "the MX host gets a new certificate", them};
constexpr Row certificate_not_yet_valid{
    true, "the certificate becomes valid, or the clock of this relay is set right", them};
constexpr Row certificate_not_trusted{true,
                                      "the MX host shows a certificate, with its intermediate ones, from an "
                                      "authority that is trusted here (option tls.ca_file)",
                                      them};
constexpr Row certificate_too_weak{
    true, "the MX host gets a certificate with an RSA key of 2048 bits or more and no SHA-1", them};
constexpr Row certificate_host_mismatch{
    true,
    "the MX host shows a certificate that has its own name, the one in the MX record, among its DNS names",
    them};
constexpr Row dane_no_tlsa_match{true,
                                 "{domain} publishes TLSA records for the certificate that its MX host now "
                                 "has: the old ones were left behind when it changed",
                                 them};
constexpr Row tlsa_lookup_failed{true,
                                 "the TLSA records can be looked up: DNS servers that answer such questions "
                                 "with errors, or signatures that have expired, are the usual causes",
                                 "{domain}'s DNS servers, or this relay's resolver"};
constexpr Row dane_required{
    true, "the host gets TLSA records that DNSSEC secures, or the level \"dane\" is taken back here", us};
constexpr Row requiretls_mx_not_trusted{true,
                                        "{domain} signs its MX records with DNSSEC or publishes an enforced "
                                        "MTA-STS policy; or the sender sends again without REQUIRETLS",
                                        "{domain}, or the sender"};
constexpr Row requiretls_not_offered{
    true, "the MX host offers REQUIRETLS; or the sender sends again without it", "{domain}, or the sender"};
constexpr Row unreachable{false, "an MX host takes a connection and greets", them};
constexpr Row addresses_unanswered{false, "the addresses of the MX hosts can be looked up",
                                   "{domain}'s DNS servers, or this relay's resolver"};
constexpr Row no_address{false, "the MX hosts get addresses", them};
constexpr Row loop{
    false,
    "the MX records of {domain} name another host before this one, or this relay gets a route for {domain}",
    "{domain}, or this relay"};
constexpr Row source_unusable{false, "source_ipv4 and source_ipv6 name addresses that this machine has", us};
constexpr Row network_unreachable{false, "this machine reaches the Internet again", us};
constexpr Row greeting_refused{false,
                               "the hosts take connections from this relay's address again: ask where their "
                               "replies point to, and see whether the address is on a block list",
                               us};
constexpr Row takes_no_mail{false, "{domain} names MX hosts that take mail", them};
constexpr Row host_asks_to_wait{false, "the time that the host asks for passes", nobody};
constexpr Row greylisted{
    false, "the host takes the message at a later attempt: it asks strangers to come again", nobody};
constexpr Row ipv6_without_ptr{false,
                               "this relay's IPv6 address gets a PTR record with a name that leads back to "
                               "it; a host that has an IPv4 address gets the mail there meanwhile",
                               us};
constexpr Row possibly_delivered{
    false, "the next attempt; the host may have the message already, so it comes late on purpose", nobody};
constexpr Row dkim_key{
    false,
    "the key that the message is to be signed with can be read (\"sternpost dkim list\" says what is wrong "
    "with it); mail other than reports goes unsigned when it has waited for dkim.patience",
    us};
constexpr Row clock{false,
                    "the clock of this machine is set right again, or, if it is right now, the daemon is "
                    "restarted; until then nothing expires, and mail goes out as usual",
                    us};
constexpr Row suspended{false, "\"sternpost queue resume\" ends the suspension", us};
constexpr Row limit{false, "a connection that is in use ends", nobody};
constexpr Row in_line{false, "the mail before it has gone", nobody};
constexpr Row results_wait{false, "there is room on the disk of state_dir again, or it can be written again",
                           us};
constexpr Row daemon_down{false, "the daemon is started", us};
constexpr Row held{false, "\"sternpost queue release\" ends the hold", us};
constexpr Row any_reply{false, "the host takes the message at a later attempt", them};

Row row_of(ReasonCode code) {
    switch (code) {
        case ReasonCode::none:
        case ReasonCode::tlsa_unusable:
            break;
        case ReasonCode::sts_mx_not_listed:
            return sts_mx_not_listed;
        case ReasonCode::sts_required:
            return sts_required;
        case ReasonCode::sts_unknown:
            return sts_unknown;
        case ReasonCode::dns_doubted:
            return dns_doubted;
        case ReasonCode::starttls_not_offered:
            return starttls_not_offered;
        case ReasonCode::starttls_refused:
            return starttls_refused;
        case ReasonCode::starttls_injection:
            return starttls_injection;
        case ReasonCode::handshake_failed:
            return handshake_failed;
        case ReasonCode::certificate_expired:
            return certificate_expired;
        case ReasonCode::certificate_not_yet_valid:
            return certificate_not_yet_valid;
        case ReasonCode::certificate_not_trusted:
            return certificate_not_trusted;
        case ReasonCode::certificate_too_weak:
            return certificate_too_weak;
        case ReasonCode::certificate_host_mismatch:
            return certificate_host_mismatch;
        case ReasonCode::dane_no_tlsa_match:
            return dane_no_tlsa_match;
        case ReasonCode::tlsa_lookup_failed:
            return tlsa_lookup_failed;
        case ReasonCode::dane_required:
            return dane_required;
        case ReasonCode::requiretls_mx_not_trusted:
            return requiretls_mx_not_trusted;
        case ReasonCode::requiretls_not_offered:
            return requiretls_not_offered;
        case ReasonCode::unreachable:
            return unreachable;
        case ReasonCode::addresses_unanswered:
            return addresses_unanswered;
        case ReasonCode::no_address:
            return no_address;
        case ReasonCode::loop:
            return loop;
        case ReasonCode::source_unusable:
            return source_unusable;
        case ReasonCode::network_unreachable:
            return network_unreachable;
        case ReasonCode::greeting_refused:
            return greeting_refused;
        case ReasonCode::takes_no_mail:
            return takes_no_mail;
        case ReasonCode::host_asks_to_wait:
            return host_asks_to_wait;
        case ReasonCode::greylisted:
            return greylisted;
        case ReasonCode::ipv6_without_ptr:
            return ipv6_without_ptr;
        case ReasonCode::possibly_delivered:
            return possibly_delivered;
        case ReasonCode::dkim_key:
            return dkim_key;
        case ReasonCode::clock:
            return clock;
        case ReasonCode::suspended:
            return suspended;
        case ReasonCode::limit:
            return limit;
        case ReasonCode::in_line:
            return in_line;
        case ReasonCode::results_wait:
            return results_wait;
        case ReasonCode::daemon_down:
            return daemon_down;
        case ReasonCode::held:
            return held;
    }
    return any_reply;
}

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

Advice advice_for(ReasonCode code, const std::string& domain) {
    const Row row = row_of(code);
    return {filled(row.unblocks, domain), filled(row.move, domain), row.by_policy};
}

}  // namespace sternpost::delivery
