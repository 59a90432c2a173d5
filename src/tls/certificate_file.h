// What a certificate on the disk is good for.
#pragma once

#include <string>
#include <vector>

#include "tls/stream.h"
#include "util/clock.h"

namespace sternpost::tls {

struct CertificateFacts {
    WallTime not_before{};
    WallTime not_after{};
    std::vector<std::string> names;  // of hosts, as far as 20
    bool names_host = false;         // the host that was asked for is among them, as a client would judge

    bool operator==(const CertificateFacts&) const = default;
};

/// The first certificate in a PEM file. Any thread; reads the file. Error: bad_certificate.
Result<CertificateFacts> read_certificate(const std::string& file, const std::string& host);

/// Whether clients will take a certificate, the worst last.
enum class CertificateState { good, other_host, expires_soon, expired, unreadable };

struct CertificateVerdict {
    CertificateState state = CertificateState::good;
    std::string text;  // a sentence that names the file, also of a good one
};

/// `soon` is within 14 days.
CertificateVerdict judge_certificate(const std::string& file, const Result<CertificateFacts>& facts,
                                     const std::string& host, WallTime now);

}  // namespace sternpost::tls
