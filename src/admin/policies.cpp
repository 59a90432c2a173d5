#include "admin/policies.h"

#include "dns/name.h"
#include "sts/advice.h"
#include "sts/policy.h"
#include "util/text.h"

namespace sternpost::admin {

// ---- MTA-STS policies

PolicyRow row_of(const store::StoredPolicy& policy, bool with_text) {
    PolicyRow out;
    out.domain = policy.domain;
    out.id = policy.id;
    if (const auto parsed = sts::Policy::parse(policy.text)) {
        out.mode = sts::name_of(parsed->mode);
        out.mx.emplace();
        for (const auto& pattern : parsed->mx) out.mx->push_back(pattern.text());
        out.max_age = parsed->max_age.count();
    }
    out.fetched = policy.fetched;
    out.expires = policy.expires;
    out.checked = policy.checked;
    out.fingerprint = policy.fingerprint;
    if (with_text) out.text = policy.text;
    return out;
}

Refusal not_cached(const std::string& domain) {
    return refusal("no MTA-STS policy of " + printable(domain) + " is cached");
}

store::Result<void> StsListAtRest::read(store::Questions& questions) {
    const auto all = questions.policies();
    if (!all) return fail(all.error());
    for (const auto& policy : *all) listing_.policies.push_back(row_of(policy, false));
    return {};
}

store::Result<void> StsShowAtRest::read(store::Questions& questions) {
    const auto all = questions.policies();
    if (!all) return fail(all.error());
    for (const auto& policy : *all)
        if (policy.domain == lowered(request_.domain)) found_ = row_of(policy, true);
    return {};
}

Answer<PolicyRow> StsShowAtRest::answer(const Live&) {
    if (!found_) return not_cached(request_.domain);
    return std::move(*found_);
}

StsHistory::StsHistory(const Request& request, const Caller&, Paging) {
    if (const auto name = dns::Domain::parse(request.domain))
        domain_ = name->text();
    else
        refused_ = refusal(name.error().text);
}

store::Result<void> StsHistory::read(store::Questions& questions) {
    auto versions = questions.versions(domain_);
    if (!versions) return fail(std::move(versions).error());
    versions_ = std::move(*versions);
    return {};
}

Answer<VersionsAnswer> StsHistory::answer(const Live&) {
    if (versions_.empty()) return refusal("no policy of " + domain_ + " was ever seen");
    VersionsAnswer out{domain_, {}, {}};
    std::string before;
    for (auto& version : versions_) {
        out.lines.push_back("id " + version.id + ", first seen " + rfc3339(version.first_seen) +
                            ", last seen " + rfc3339(version.last_seen));
        out.lines.push_back("  served under the certificate with SHA-256 " + version.fingerprint);
        for (const auto& line : sts::diff(before, version.text))
            out.lines.push_back("  " + printable(line, 1000));
        before = version.text;
        out.versions.push_back({version.id, version.first_seen, version.last_seen, version.fingerprint,
                                std::move(version.text)});
    }
    return out;
}

// ---- overrides

OverrideRow row_of(const KnownOverride& known, WallTime now) {
    const store::StoredOverride& o = known.what;
    OverrideRow out{o.scope, o.level, o.reason, o.author, known.configured ? "configuration" : "command",
                    {},      {},      false};
    if (o.set != WallTime{}) out.set = o.set;
    if (o.expires != WallTime{}) out.expires = o.expires;
    out.expired = o.expires != WallTime{} && o.expires <= now;
    return out;
}

std::vector<OverrideRow> rows_of(const std::vector<KnownOverride>& known, WallTime now) {
    std::vector<OverrideRow> out;
    for (const auto& one : known) out.push_back(row_of(one, now));
    return out;
}

}  // namespace sternpost::admin
