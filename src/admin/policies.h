// Policies as administrators see them: MTA-STS policies that are cached, their versions, and overrides.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/reading.h"
#include "store/policy.h"

namespace sternpost::admin {

struct DomainRequest {
    std::string domain;
};
BOOST_DESCRIBE_STRUCT(DomainRequest, (), (domain))

// ---- MTA-STS policies

struct PolicyRow {
    std::string domain;
    std::string id;
    std::optional<std::string> mode;
    std::optional<std::vector<std::string>> mx;
    std::optional<std::int64_t> max_age;  // seconds
    WallTime fetched{};
    WallTime expires{};
    WallTime checked{};
    std::string fingerprint;
    std::optional<std::string> text;  // the policy as it was served
};
BOOST_DESCRIBE_STRUCT(PolicyRow, (),
                      (domain, id, mode, mx, max_age, fetched, expires, checked, fingerprint, text))
PolicyRow row_of(const store::StoredPolicy& policy, bool with_text);
Refusal not_cached(const std::string& domain);

struct PolicyListing {
    std::vector<PolicyRow> policies;
    bool more = false;
};
BOOST_DESCRIBE_STRUCT(PolicyListing, (), (policies, more))

/// What lies on the disk; a running daemon answers from its cache (admin/sts_verbs).
class StsListAtRest : public ReadingVerb {
  public:
    using Value = PolicyListing;

    store::Result<void> read(store::Questions& questions);
    Answer<Value> answer(const Live&) { return std::move(listing_); }

  private:
    PolicyListing listing_;
};

/// The same of one domain.
class StsShowAtRest : public ReadingVerb {
  public:
    using Value = PolicyRow;

    explicit StsShowAtRest(DomainRequest request) : request_(std::move(request)) {}
    store::Result<void> read(store::Questions& questions);
    Answer<Value> answer(const Live&);

  private:
    DomainRequest request_;
    std::optional<PolicyRow> found_;
};

struct RefreshAnswer {
    std::string domain;
    bool fetched = false;
    std::string problem;
    std::optional<std::string> id;
    std::optional<std::string> mode;
};
BOOST_DESCRIBE_STRUCT(RefreshAnswer, (), (domain, fetched, problem, id, mode))

struct DiffAnswer {
    std::string domain;
    std::string cached;  // the policy's text; empty: none is
    std::string published;
    bool same = false;
    std::vector<std::string> lines;
};
BOOST_DESCRIBE_STRUCT(DiffAnswer, (), (domain, cached, published, same, lines))

struct FindingRow {
    std::string severity;
    std::string text;
};
BOOST_DESCRIBE_STRUCT(FindingRow, (), (severity, text))

struct CheckAnswer {
    std::string domain;
    std::vector<FindingRow> findings;
    std::vector<std::string> lines;
};
BOOST_DESCRIBE_STRUCT(CheckAnswer, (), (domain, findings, lines))

struct VersionRow {
    std::string id;
    WallTime first_seen{};
    WallTime last_seen{};
    std::string fingerprint;  // SHA-256 of the certificate that it was served under
    std::string text;
};
BOOST_DESCRIBE_STRUCT(VersionRow, (), (id, first_seen, last_seen, fingerprint, text))

struct VersionsAnswer {
    std::string domain;
    std::vector<VersionRow> versions;
    std::vector<std::string> lines;
};
BOOST_DESCRIBE_STRUCT(VersionsAnswer, (), (domain, versions, lines))

/// The versions of a domain's policy that were ever served.
class StsHistory : public ReadingVerb {
  public:
    using Request = DomainRequest;
    using Value = VersionsAnswer;
    static constexpr std::string_view name = "sts.history";
    static constexpr Access access = Access::read;

    StsHistory(const Request& request, const Caller&, Paging);
    store::Result<void> read(store::Questions& questions);
    Answer<Value> answer(const Live&);

  private:
    std::string domain_;
    std::vector<store::PolicyVersion> versions_;
};

// ---- overrides

struct OverrideRow {
    std::string scope;
    std::string level;
    std::string reason;
    std::string author;
    std::string from;  // configuration, command
    std::optional<WallTime> set;
    std::optional<WallTime> expires;
    bool expired = false;
};
BOOST_DESCRIBE_STRUCT(OverrideRow, (), (scope, level, reason, author, from, set, expires, expired))
OverrideRow row_of(const KnownOverride& known, WallTime now);
std::vector<OverrideRow> rows_of(const std::vector<KnownOverride>& known, WallTime now);

class OverrideList : public ReadingVerb {
  public:
    using Request = NoRequest;
    using Value = std::vector<OverrideRow>;
    static constexpr std::string_view name = "policy.override.list";
    static constexpr Access access = Access::read;

    OverrideList(Request, const Caller&, Paging) {}
    store::Result<void> read(store::Questions&) { return {}; }
    Answer<Value> answer(const Live& live) { return rows_of(live.overrides(), live.now()); }
};

struct OverrideRequest {
    std::string scope;
    std::string level;
    std::string reason;
    std::string author;   // empty: the caller
    std::string expires;  // a time, or a duration; empty: never
};
BOOST_DESCRIBE_STRUCT(OverrideRequest, (), (scope, level, reason, author, expires))

struct ScopeValue {
    std::string scope;
};
BOOST_DESCRIBE_STRUCT(ScopeValue, (), (scope))

}  // namespace sternpost::admin
