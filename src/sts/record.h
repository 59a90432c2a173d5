// The TXT record at _mta-sts (RFC 8461 §3.1).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "util/result.h"

namespace sternpost::sts {

enum class Errc {
    bad_record,  // several STSv1 records, or one without a valid id: as if there were none (RFC 8461 §3.1)
    bad_policy,  // the body or the media type is not a policy (reported as sts-policy-invalid)
    fetch,  // the policy host cannot be reached, answers other than 200, or too much (sts-policy-fetch-error)
    certificate,      // the policy host's certificate does not hold (sts-webpki-invalid)
    refused_address,  // the policy host's addresses are none on the Internet (FIELD-NOTES: SSRF)
    gone,             // the policy host says that there is no policy: 404 or 410 (sts-policy-fetch-error)
    waiting,          // a GET for this id failed less than five minutes ago (RFC 8461 §3.3)
    stopped,          // given up because the daemon stops: says nothing about the domain
};

template <class T>
using Result = Expected<T, Errc>;

struct Record {
    std::string id;
    bool operator==(const Record&) const = default;
};

/// The one STSv1 record among `texts` (each a TXT RR, its strings joined). nullopt: there is none.
/// bad_record: several, or one that breaks the grammar.
Result<std::optional<Record>> parse_record(const std::vector<std::string>& texts);

}  // namespace sternpost::sts
