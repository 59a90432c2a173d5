// What mail is grouped by: the next hop, and what the message says of TLS. A message that demands REQUIRETLS
// waits for other reasons than its neighbours, and must not make them wait.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "store/message.h"

namespace sternpost::store {

enum class TlsMode {
    ordinary,
    requiretls,    // RFC 8689 §2: MAIL with REQUIRETLS
    tls_optional,  // RFC 8689 §3: `TLS-Required: No`; also TLS reports (RFC 8460 §3)
};

/// Our own notices go without REQUIRETLS where the way back lacks it: they hold no more than a header (RFC
/// 8689 §5).
TlsMode tls_mode_of(MessageClass message_class, const mail::Envelope& envelope);
inline TlsMode tls_mode_of(const StoredMessage& message) {
    return tls_mode_of(message.message_class, message.envelope);
}

/// The name of a group: `example.com`, `example.com requiretls`, `example.com tls-optional`.
struct HopGroup {
    std::string next_hop;  // the recipient domain, or `[literal]`
    TlsMode tls_mode = TlsMode::ordinary;

    std::string text() const;
    static HopGroup parse(std::string_view text);
};

/// The names of all groups that a next hop can have.
std::array<std::string, 3> groups_of(const std::string& next_hop);

/// The group that the recipient of the message is in.
std::string hop_of(const StoredMessage& message, std::size_t recipient);
std::string hop_of(const NewMessage& message, std::size_t recipient);

}  // namespace sternpost::store
