// `explain`: what delivery to a domain depends on right now.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "admin/answer.h"
#include "admin/queue.h"
#include "delivery/explain.h"

namespace sternpost::admin {

struct ExplainRequest {
    std::string domain;  // a domain, an address, or a name of this host
    bool probe = false;  // connect to its MX hosts
};
BOOST_DESCRIBE_STRUCT(ExplainRequest, (), (domain, probe))

struct FailingRow {
    std::uint64_t attempts = 0;  // in a row
    std::optional<WallTime> since;
    std::optional<WallTime> last;
    std::optional<WallTime> next_at;
    std::optional<WallTime> delivered;
    std::string status;
    std::string reason;
};
BOOST_DESCRIBE_STRUCT(FailingRow, (), (attempts, since, last, next_at, delivered, status, reason))

struct TroubleRow {
    bool permanent = false;
    std::string status;
    std::string reason;
};
BOOST_DESCRIBE_STRUCT(TroubleRow, (), (permanent, status, reason))

struct CachedStsRow {
    std::string state;  // policy, none, unknown
    std::optional<std::string> mode;
    std::optional<std::string> id;
    std::optional<std::string> mx;
    std::optional<WallTime> fetched;
    std::optional<WallTime> expires;
    std::optional<WallTime> next_refresh;
    std::string problem;
};
BOOST_DESCRIBE_STRUCT(CachedStsRow, (), (state, mode, id, mx, fetched, expires, next_refresh, problem))

struct PublishedStsRow {
    std::string name;
    std::string alias;
    std::vector<std::string> records;
    std::string records_problem;
    std::optional<std::string> policy;
    std::string policy_problem;
};
BOOST_DESCRIBE_STRUCT(PublishedStsRow, (), (name, alias, records, records_problem, policy, policy_problem))

struct DaneRow {
    std::string state;
    std::string base_domain;
    std::vector<std::string> records;
};
BOOST_DESCRIBE_STRUCT(DaneRow, (), (state, base_domain, records))

struct VerdictRow {
    bool go = false;
    bool held = false;
    std::string code;
    std::string result_type;
    std::string reason;
};
BOOST_DESCRIBE_STRUCT(VerdictRow, (), (go, held, code, result_type, reason))

/// What a session with the host showed; without `failure` and `tls` it was not reached.
struct ProbeRow {
    std::string address;
    std::optional<std::string> failure;
    std::optional<std::string> tls;
    std::optional<std::string> cipher;
    std::optional<bool> requiretls;
    std::optional<std::vector<std::string>> names;
    std::optional<std::string> issuer;
    std::optional<std::string> fingerprint;
    std::optional<WallTime> not_before;
    std::optional<WallTime> not_after;
    std::optional<std::string> chain;
    std::optional<bool> name_matches;
    std::optional<std::string> tlsa_match;
};
BOOST_DESCRIBE_STRUCT(ProbeRow, (),
                      (address, failure, tls, cipher, requiretls, names, issuer, fingerprint, not_before,
                       not_after, chain, name_matches, tlsa_match))

struct HostRow {
    std::string name;
    std::uint32_t preference = 0;
    std::vector<std::string> addresses;
    bool addresses_secure = false;
    std::string policy;
    std::string protection;
    DaneRow dane;
    std::optional<std::string> override_;
    VerdictRow verdict;
    std::optional<ProbeRow> probe;
};
BOOST_DESCRIBE_STRUCT(HostRow, (),
                      (name, preference, addresses, addresses_secure, policy, protection, dane, override_,
                       verdict, probe))

struct ExplainAnswer {
    std::string domain;
    std::string outlook;
    std::string unprotected;
    std::optional<FailingRow> failing;
    std::optional<SuspensionRow> suspended;
    bool resolver_trusted = false;
    std::optional<TroubleRow> trouble;
    std::optional<std::string> route;
    bool mx_secure = false;
    std::optional<CachedStsRow> sts;
    std::optional<PublishedStsRow> published;
    std::vector<HostRow> hosts;
    std::vector<std::string> lines;
};
BOOST_DESCRIBE_STRUCT(ExplainAnswer, (),
                      (domain, outlook, unprotected, failing, suspended, resolver_trusted, trouble, route,
                       mx_secure, sts, published, hosts, lines))

/// The code is that of the outlook.
Answer<ExplainAnswer> answer_of(const delivery::Explanation& explanation);

}  // namespace sternpost::admin
