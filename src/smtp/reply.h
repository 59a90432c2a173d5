// SMTP replies: octets in, replies out.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "util/result.h"

namespace sternpost::smtp {

enum class Errc {
    connect_refused,      // TCP: no one listens, or a packet said no
    connect_timed_out,    //
    network_unreachable,  // we cannot reach the network at all: blames no host
    source_unusable,      // the source address that is set is none of this machine: blames no host
    no_passage,           // the address is not one that may be dialled: no connection was tried
    loop,                 // the host greets with our own name
    timed_out,            // the peer did not answer within the stage's time
    closed,               // the peer ended the connection
    io,                   // the connection broke otherwise
    reply_malformed,      // from here on replies cannot be told apart
    reply_too_long,
    reply_negative,        // the reply itself says no: see Failure::reply
    starttls_not_offered,  // the EHLO reply has no STARTTLS (or there was only HELO)
    starttls_refused,      // STARTTLS answered 4yz or 5yz
    injected_octets,       // clear-text octets behind the 220 to STARTTLS (RFC 3207 §4.2)
    handshake_failed,      // TLS alert, no common version, not TLS at all
    body_unreadable,       // the message cannot be read from the store now
    body_damaged,          // nor ever: its octets on disk are not what was written
    not_convertible,       // it has no 7-bit form, and the host takes no other
    not_signed,            // it is to be signed, and its key cannot be used now
    aborted,               // we stop: shutdown
};

template <class T>
using Result = Expected<T, Errc>;

struct Reply {
    int code = 0;
    std::vector<std::string> lines;  // texts, without code and mark

    int severity() const { return code / 100; }
    bool positive() const { return severity() == 2; }
    bool temporary() const { return severity() == 4; }
    bool permanent() const { return severity() == 5; }
    /// RFC 3463 code at the front of the text, if it is well-formed and of the reply's class (RFC 2034 §4);
    /// else empty.
    std::string enhanced() const;
    /// `550 5.1.1 no such user`, lines joined by blanks.
    std::string text() const;
    bool operator==(const Reply&) const = default;
};

class ReplyParser {  // octets in, replies out; lenient where refusing would deliver a message twice
  public:
    void feed(std::string_view octets) { pending_ += octets; }
    /// The next whole reply. nullopt: feed me more. Error (reply_malformed, reply_too_long): drop the
    /// connection, since from here on replies can no longer be told apart.
    Result<std::optional<Reply>> next();
    /// Whether octets are left over that belong to no reply given yet: before a handshake that is an attack
    /// (RFC 3207 §4.2).
    bool empty() const { return pending_.empty() && partial_.lines.empty(); }
    void clear() {
        pending_.clear();
        partial_ = {};
    }

  private:
    std::string pending_;
    Reply partial_;
    std::size_t empty_lines_ = 0;  // before the reply at hand
};

/// Where in a session something happened.
enum class Stage { connect, greeting, helo, starttls, handshake, mail, rcpt, data, body, dot, quit };
std::string_view name_of(Stage stage);

}  // namespace sternpost::smtp
