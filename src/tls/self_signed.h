// A certificate that vouches for no one: so that a listener has TLS before its administrator has got it a
// real one.
#pragma once

#include <string>
#include <string_view>

#include "tls/context.h"
#include "util/clock.h"

namespace sternpost::tls {

/// A certificate and its key, both PEM.
struct SelfSigned {
    std::string certificate;
    std::string key;
};

/// A new EC P-256 key and a certificate for `hostname` that it signs itself, good for ten years from `now`.
Result<SelfSigned> make_self_signed(const std::string& hostname, WallTime now);

/// Whether `pem` is a certificate for `hostname` that is good at `now`: else it is time for a new one.
bool names_host(std::string_view pem, const std::string& hostname, WallTime now);

}  // namespace sternpost::tls
