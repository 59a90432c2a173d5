// An MX host's side of one connection: commands in, replies out, with the faults that its host has at the
// moment.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "network.h"
#include "smtp/reply.h"

namespace sternpost::simulation {

class MxHost {
  public:
    struct Said {
        enum class Kind { reply, closes, silence };
        Kind kind = Kind::reply;
        smtp::Reply reply;
    };
    /// `stripped`: someone on the way takes STARTTLS out of what it offers.
    MxHost(Network& network, Host& host, bool stripped) : net_(network), host_(host), stripped_(stripped) {}

    Said greeting();
    Said ehlo(bool inside_tls);
    Said starttls();
    /// What the TLS library says of a handshake that fails; empty: it does not fail.
    std::string handshake_fails();
    Said mail();
    Said rcpt(const std::string& address);
    Said data();
    /// The reply to the final dot; the message counts as taken unless it is negative, heard or not.
    Said dot();
    Said reset() { return says(250, "2.0.0 ok"); }
    Said quit();
    /// Whether the last dot() took the message.
    bool took() const { return took_; }
    /// Those of the transaction, in order, that RCPT was answered with 250 for.
    const std::vector<std::string>& accepted() const { return accepted_; }

    // ---- the same over octets: for the real client core
    void feed(std::string_view octets);
    /// What it says in answer, a reply or an end each.
    std::deque<Said>& said() { return said_; }
    /// Octets of the message that arrived with the last dot, without stuffing.
    const std::string& message() const { return message_; }

  private:
    static Said says(int code, std::string text) { return {Said::Kind::reply, {code, {std::move(text)}}}; }
    std::optional<Said> trouble(bool may_refuse);
    void command(const std::string& line);

    Network& net_;
    Host& host_;
    bool stripped_;
    bool inside_tls_ = false;
    bool took_ = false;
    bool in_data_ = false;
    bool gone_ = false;
    std::vector<std::string> accepted_;
    std::string pending_;
    std::string message_;
    std::deque<Said> said_;
};

}  // namespace sternpost::simulation
