// For the owner of a domain: what is wrong with what it publishes, what to publish, what has changed. Pure; a
// command brings the facts.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/name.h"
#include "sts/policy.h"
#include "util/clock.h"

namespace sternpost::sts {

/// What was found of a domain. An absent value could not be had; the matching `…_problem` says why.
struct Published {
    dns::Domain domain;
    std::optional<std::vector<std::string>> records;  // TXT at _mta-sts, each with its strings joined
    std::string records_problem;
    std::optional<std::string> policy;  // the body of the policy file, octet for octet
    std::string policy_problem;
    std::optional<std::string> content_type;
    std::optional<std::vector<std::string>> mx;  // the MX hosts, as published
    std::string mx_problem;
    std::optional<WallTime> certificate_ends;  // of the policy host
    // The TXT record at _smtp._tls, as whoever sends reports reads it (tlsrpt/record).
    bool reports_known = false;                // it could be looked up
    std::string reports_problem;               // why it could not
    bool reports_usable = false;               // it asks for reports at a place that they can be sent to
    std::vector<std::string> report_problems;  // sentences

    explicit Published(dns::Domain d) : domain(std::move(d)) {}
};

/// error: senders do not see a policy, or mail will be held back. warning: some senders, or some day. hint:
/// could be better.
enum class Severity { error, warning, hint };
std::string_view name_of(Severity severity);

struct Finding {
    Severity severity = Severity::hint;
    std::string text;
    bool operator==(const Finding&) const = default;
};

/// What its owner should change, the gravest first; nothing: all is well (RFC 8461 §3.1, §3.2).
std::vector<Finding> lint(const Published& published, WallTime now);

struct PublicationPlan {
    dns::Domain domain;
    std::vector<std::string> mx;  // patterns
    Mode mode = Mode::testing;
    std::chrono::seconds max_age = std::chrono::hours(24 * 7);
    std::string id;   // 1 to 32 letters and digits
    std::string rua;  // where TLS reports go, `mailto:…` or `https:…`; empty: none are asked for

    explicit PublicationPlan(dns::Domain d) : domain(std::move(d)) {}
};

/// Texts to paste.
struct Publication {
    std::string record;  // a line of a zone file
    std::string policy_url;
    std::string policy;         // the file, with CRLF
    std::string report_record;  // a line of a zone file; empty without rua
    std::vector<std::string> steps;
};

/// Errors: bad_record (the id), bad_policy (patterns, max_age).
Result<Publication> publication(const PublicationPlan& plan);

/// Line by line: `- ` gone, `+ ` new, two blanks for what has stayed. Line ends do not count.
std::vector<std::string> diff(std::string_view before, std::string_view after);

}  // namespace sternpost::sts
