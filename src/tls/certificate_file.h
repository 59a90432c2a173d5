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

}  // namespace sternpost::tls
