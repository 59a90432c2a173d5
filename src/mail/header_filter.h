// The header of a message as it streams by: what is in it, and what an originated message must gain or lose
// (RFC 6409 §8).
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "mail/repair.h"

namespace sternpost::mail {

/// What is done to the header. By default nothing: a relay adds trace alone, which is put in front (RFC 5321
/// §6.4).
struct HeaderRules {
    bool drop_private = false;    // Bcc, Resent-Bcc and Return-Path go (RFC 5322 §3.6.3, RFC 5321 §4.4)
    bool drop_mbox_line = false;  // a first line `From ` or `>From `, as mail folders have it, goes
    bool repair = false;          // each field goes through repaired()
    bool read_from = false;       // From is read, see from_domains(), also where nothing is repaired
    std::string domain;           // for addresses without one, where `repair`
    // Values of fields that are added at the header's end when the header has no such field; empty: not
    // added.
    std::string from;
    std::string date;
    std::string message_id;  // without brackets

    bool adds() const { return !from.empty() || !date.empty() || !message_id.empty(); }
};

/// The longest field that is repaired; a longer one goes as it is, and too_long_field() names it. Ours.
constexpr std::size_t max_repaired_field = 1'048'576;

/// Octets in, octets out, however they are cut; lines end with CRLF. Holds back at most the start of one
/// line, or where fields are repaired one field.
class HeaderFilter {
  public:
    explicit HeaderFilter(HeaderRules rules = {}) : rules_(std::move(rules)) {}

    void feed(std::string_view octets, std::string& out);
    /// The message has ended; a header that was never closed is completed.
    void finish(std::string& out);

    bool ended() const { return state_ == State::body; }  // the header has
    std::size_t received() const { return received_; }
    bool has_from() const { return from_ > 0; }
    /// Where fields are repaired, or read_from is set: the domains of all addresses in From, as A-labels; `?`
    /// for what is no address, or is too long to be read.
    const std::vector<std::string>& from_domains() const { return from_domains_; }
    /// More than one From field: readers would not agree on whose message it is (RFC 5322 §3.6; DKIM-16).
    bool ambiguous_from() const { return from_ > 1; }
    /// Message-ID's value as far as 250 octets, or the one that was added; empty: none.
    const std::string& message_id() const { return message_id_; }
    /// Exactly one `TLS-Required: No`, in any case, with blanks and comments around it (RFC 8689 §3).
    bool tls_required_no() const { return tls_required_ == 1 && tls_required_no_; }
    /// An octet above 127 is in what goes out of the header.
    bool eight_bit() const { return eight_bit_; }
    bool dkim_signed() const { return dkim_signed_; }
    /// What was repaired so far.
    const Repairs& repairs() const { return repairs_; }
    /// The longest line of what went out, without its CRLF.
    std::size_t longest_line() const { return std::max(longest_line_, line_); }
    /// A header field, by its name, that is too long for any host and has no shorter form; empty: none.
    const std::string& too_long_field() const { return repairs_.too_long; }

  private:
    enum class State { line_start, line, dropped, body };
    enum class Kind { undecided, field, folded, empty, other };

    Kind classify() const;
    void begin_field(std::string& out);
    void end_field(std::string& out);
    void note_from(std::string_view value);
    void end_header(std::string& out, bool empty_line);
    void pass(std::string_view octets, std::string& out);  // of a field that stays
    void consume(std::string_view octets, std::string& out);
    void measure(std::string_view written);

    HeaderRules rules_;
    State state_ = State::line_start;
    std::string held_;  // the start of a line whose kind is not known yet
    bool any_field_ = false;
    bool dropping_ = false;     // the field being read goes
    bool last_was_cr_ = false;  // inside a line: a CRLF may be cut in two
    std::string name_;          // of the field being read, lower case
    std::string value_;         // its first octets, for the few fields whose value matters

    std::string field_;      // the field being read, where it is repaired
    std::string seen_from_;  // From, where it is only read
    Repairs repairs_;
    std::size_t line_ = 0;  // octets of the line that goes out
    std::size_t longest_line_ = 0;
    bool first_line_ = true;

    std::size_t received_ = 0;
    std::size_t from_ = 0;
    std::vector<std::string> from_domains_;
    bool date_ = false;
    bool has_message_id_ = false;
    std::string message_id_;
    std::size_t tls_required_ = 0;
    bool tls_required_no_ = false;
    bool eight_bit_ = false;
    bool dkim_signed_ = false;
};

}  // namespace sternpost::mail
