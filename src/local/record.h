// The form in which a local program's message reaches the daemon, over the socket and in the maildrop alike
// (doc/local-submission.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "intake/refusal.h"
#include "mail/envelope.h"
#include "store/message.h"
#include "util/result.h"

namespace sternpost::local {

using intake::Errc;
using intake::Result;

/// What stands before the message octets.
struct Submission {
    store::SubmissionId id;
    std::optional<std::string>
        reverse_path;       // as given, without brackets; empty: null; nullopt: the submitter's own address
    std::string full_name;  // for a From field, should the message lack one
    mail::BodyType body = mail::BodyType::seven_bit;
    bool gateway = false;  // passed on for others: the header is not completed
    mail::Notify notify;   // for every recipient
    mail::Ret ret = mail::Ret::unspecified;
    bool smtputf8 = false;                // RFC 6531: UTF-8 may stand in addresses and header
    bool requiretls = false;              // RFC 8689
    std::string envid;                    // xtext; empty: none
    std::vector<std::string> recipients;  // as given, without brackets; may be bare names
    std::uint64_t octets = 0;             // of the message

    bool operator==(const Submission&) const = default;
};

/// `never`, or `success`, `failure`, `delay` in any number between commas (RFC 3461 §4.1); nullopt: something
/// else.
std::optional<mail::Notify> parse_notify(std::string_view text);
/// `full` or `hdrs` (RFC 3461 §4.3).
std::optional<mail::Ret> parse_ret(std::string_view text);

/// Magic, lines, the empty line.
std::string encode_head(const Submission& submission);
/// What follows the message octets; `crc` is the CRC-32C of all that was before.
std::string encode_end(std::uint32_t crc);

/// Reads a record as it comes, however it is cut. A record that was cut off is never complete.
class RecordReader {
  public:
    RecordReader(std::uint64_t max_octets, std::size_t max_recipients)
        : max_octets_(max_octets), max_recipients_(max_recipients) {}

    /// Appends the message octets among `octets` to `message`. malformed, too_big, incomplete: the record is
    /// refused.
    Result<void> feed(std::string_view octets, std::string& message);
    /// Null until it has been read whole.
    const Submission* head() const { return state_ == State::head ? nullptr : &head_; }
    bool complete() const { return state_ == State::done; }

  private:
    enum class State { head, message, end, done };

    Result<void> parse_head(std::string_view text);
    Result<void> parse_line(std::string_view line);

    std::uint64_t max_octets_;
    std::size_t max_recipients_;
    State state_ = State::head;
    std::string held_;
    std::size_t searched_ = 0;
    Submission head_;
    bool has_octets_ = false;
    std::uint64_t left_ = 0;
    std::uint32_t crc_ = 0;
};

/// The daemon's one line of answer on the socket.
struct Answer {
    enum class Kind { ok, temporary, permanent };
    Kind kind = Kind::temporary;
    std::string text;  // ok: the queue id; else an enhanced status code (RFC 3463) and a sentence

    std::string line() const;                                   // with its LF
    static std::optional<Answer> parse(std::string_view line);  // without LF
    bool operator==(const Answer&) const = default;
};

constexpr std::size_t max_answer = 1000;  // octets of the line

}  // namespace sternpost::local
