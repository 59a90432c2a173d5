// The small internet as values: who is in it, what each does wrong, and what its DNS would say. No socket, no
// clock.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sternpost::lab {

/// What is wrong with a certificate, or nothing.
enum class CertificateKind {
    valid,
    expired,
    notyet,  // valid from tomorrow on
    selfsigned,
    unknownca,  // signed by an authority that no one was given
    wrongname,
    cnonly,     // the name stands in the subject alone (RFC 9525 §6.3 ignores it there)
    wildcard,   // *.parent: covers the name
    wildcard2,  // *.grandparent: covers no name of two more labels (RFC 9525 §6.3)
    partial,    // m*.parent: a wildcard for a part of a label
    weakkey,    // RSA of 1024 bits
    sha1,       // signed with SHA-1
    notca,      // signed by a certificate that is no authority's
    outside,    // signed by an authority that may sign for other.example alone
};

/// Which certificates come in the handshake next to the host's own.
enum class Chain {
    usual,  // those between it and the root
    leaf,   // none
    root,   // those, and the root
};

/// How a host answers a ClientHello.
enum class Hello {
    usual,
    close,
    reset,
    alert,  // handshake_failure, fatal
    silence,
    garbage,
};

enum class TlsVersion { any, v1_0, v1_1, v1_2, v1_3 };

enum class DnsFault { none, servfail, nxdomain, refused, timeout, truncate };
enum class HttpsFault {
    none,
    hang,
    drip,      // an octet a second
    oversize,  // 1 MiB
    redirect,
    drop,
    empty,  // no body
    gzip,   // the body is encoded so, unasked
    cut,    // the connection ends in the middle of the body
};

/// How the end of a body is told.
enum class Framing { length, chunked, close };

/// How an MX host treats STARTTLS.
enum class StartTls {
    offered,
    none,      // neither offered nor known: what an attacker who strips it leaves
    refused,   // offered, then 454
    injected,  // replies in clear behind the 220, as an attacker would slip them in (RFC 3207 §6)
    garbage,   // 220, then octets that are not TLS
    drop,      // the connection ends
};

/// Where an MX host offers REQUIRETLS (RFC 8689 §2: inside TLS alone).
enum class RequireTls { no, always, before, after };

/// The words for an enumeration's values, in their order.
template <class E>
std::vector<std::string_view> words();
template <>
std::vector<std::string_view> words<CertificateKind>();
template <>
std::vector<std::string_view> words<DnsFault>();
template <>
std::vector<std::string_view> words<HttpsFault>();
template <>
std::vector<std::string_view> words<StartTls>();
template <>
std::vector<std::string_view> words<Chain>();
template <>
std::vector<std::string_view> words<Hello>();
template <>
std::vector<std::string_view> words<TlsVersion>();
template <>
std::vector<std::string_view> words<Framing>();
template <>
std::vector<std::string_view> words<RequireTls>();

/// What an MX host says at one point of the dialogue instead of the usual: a reply such as `550 5.1.1 no such
/// user`, or the words `hang` (silence), `drop` (the connection ends) and `cut` (it ends in the middle of the
/// usual reply, without TLS's close_notify). Empty: the usual.
struct Say {
    std::string text;

    bool usual() const { return text.empty(); }
    bool positive() const { return usual() || text.front() == '2' || text.front() == '3'; }
    /// Whether it is one of those.
    static bool valid(std::string_view text);
};

/// What MX hosts and policy hosts have in common.
struct TlsServer {
    std::string address;  // given by the world where the scenario has none
    bool listening = true;
    CertificateKind certificate = CertificateKind::valid;
    std::vector<std::string> certificate_names;  // in the SAN; empty: the host's own name
    bool intermediate = false;                   // an authority stands between certificate and root
    Chain chain = Chain::usual;
    TlsVersion tls_min = TlsVersion::any;
    TlsVersion tls_max = TlsVersion::any;
    Hello hello = Hello::usual;
};

struct MxHost : TlsServer {
    StartTls starttls = StartTls::offered;
    std::vector<std::string> extensions{"PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES"};
    std::optional<std::vector<std::string>> extensions_in_tls;  // unset: those outside
    RequireTls requiretls = RequireTls::no;
    std::vector<std::string> tlsa;  // at _25._tcp: TlsaWish texts, or rdata
    Say greeting, ehlo, starttls_reply, mail, rcpt, data, dot;
    std::map<std::string, Say> rcpt_to;  // by local-part, lower case; goes before `rcpt`
};

struct PolicyHost : TlsServer {
    HttpsFault fault = HttpsFault::none;
    std::uint32_t status = 200;
    std::string content_type = "text/plain";
    std::string body;                 // empty: the policy of the domain that it is for
    std::string location;             // of a redirect; empty: elsewhere on the same host
    std::vector<std::string> fields;  // more of the header, as in `ETag: "1"`
    std::uint32_t pad_to = 0;         // octets: the body is filled up with an extension
    Framing framing = Framing::length;
};

/// A mail domain: its MX records and, with `sts`, its MTA-STS record, policy and policy host.
struct MailDomain {
    std::vector<std::string> mx;  // `mx.a.example`, or `10 mx.a.example`
    std::string sts;              // none, testing, enforce; empty: it has no policy
    std::string sts_id = "1";
    std::vector<std::string> sts_mx;  // patterns; empty: the MX hosts
    std::uint32_t sts_max_age = 86400;
};

/// What one name has beyond what the hosts and domains give it, and how asking for it fails.
struct DnsName {
    std::vector<std::string> a, aaaa, mx, txt, tlsa;
    std::string cname;
    DnsFault fault = DnsFault::none;
    std::vector<std::string> fault_types;  // `TXT`, `MX` …; empty: all
    std::optional<bool> ad;
    std::optional<std::uint32_t> ttl;
};

/// What holds for all of it.
struct General {
    std::uint32_t ttl = 1;    // of answers, seconds; short, so that a change shows at once
    bool ad = false;          // answers are marked authentic
    bool keep_files = false;  // messages are also written to DIR/mail
};

/// One name and type, looked up.
struct DnsView {
    DnsFault fault = DnsFault::none;
    bool exists = false;  // the name, or one under it
    bool ad = false;
    std::uint32_t ttl = 0;
    std::string cname;                 // where it leads, when that is all there is
    std::vector<std::string> records;  // rdata as in a zone file
};

class World {
  public:
    General general;
    std::map<std::string, MailDomain, std::less<>> domains;  // names in lower case, without a trailing dot
    std::map<std::string, MxHost, std::less<>> mx;
    std::map<std::string, PolicyHost, std::less<>> policy_hosts;
    std::map<std::string, DnsName, std::less<>> dns;
    std::uint16_t smtp_port = 25;  // of MX hosts; the world's `_25._tcp` names stand for it
    /// What became of the TlsaWish texts: rdata by host and text. Made by whoever has the certificates.
    std::map<std::pair<std::string, std::string>, std::string> tlsa_rdata;

    /// Makes the hosts that domains name and the scenario does not, and gives every host without an address
    /// one of its own in 127.1.0.0/16. Hosts stay where they are in memory from then on.
    void complete();

    /// `type` as in `TXT`. Never follows CNAME.
    DnsView look_up(std::string_view name, std::string_view type) const;
    /// Every host and text of a TLSA record that its certificate has to be looked at for.
    std::vector<std::pair<std::string, std::string>> tlsa_wishes() const;
    /// What `host` serves: its body, or the policy of the domain that it belongs to. Empty: it has none.
    std::string policy_text(std::string_view host) const;

  private:
    using MxHosts = std::map<std::string, MxHost, std::less<>>;
    std::string scripted_name(std::string_view asked) const;
    DnsView look_up_scripted(std::string_view name, std::string_view type) const;
    MxHosts::const_iterator host_of_tlsa(std::string_view name) const;
    std::string made_tlsa(const std::string& host, const std::string& text) const;
    void add_records(DnsView& view, std::string_view name, std::string_view type) const;
    bool anything_at_or_under(std::string_view name) const;
};

}  // namespace sternpost::lab
