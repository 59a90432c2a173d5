// The message on sendmail's standard input, as it streams by: where it ends, its line ends, what its header
// says.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "local/sendmail_args.h"
#include "mail/header_filter.h"
#include "mail/line_ends.h"

namespace sternpost::local {

/// Octets of a Unix program in, message octets out: CRLF, without an mbox `From ` line, Bcc and Return-Path.
class SendmailMessage {
  public:
    /// `date`: for a message that has none; unused when `arguments.gateway`.
    SendmailMessage(const Arguments& arguments, std::string date);

    void feed(std::string_view octets, std::string& out);
    void finish(std::string& out);

    /// A line with a single dot came: what follows is not read.
    bool ended() const { return ended_; }
    bool has_from() const { return filter_.has_from(); }
    /// An address in what the daemon makes of the header has UTF-8 before its @: the message needs SMTPUTF8.
    /// After finish(); false for a message that is passed on for others, whose header is not touched.
    bool utf8_address() const;
    /// The recipients that the header names, after finish(): of Resent-To, Resent-Cc and Resent-Bcc if there
    /// are any, else of To, Cc and Bcc. data_error: one is not an address, or the header is beyond 1 MiB.
    Expected<std::vector<std::string>, Exit> recipients() const;

  private:
    void take_lines(std::string& out, bool last);
    void pass(std::string_view octets, std::string& out);

    bool dot_ends_;
    bool gateway_;
    mail::LineEnds line_ends_;
    mail::HeaderFilter filter_;
    std::string pending_;  // CRLF octets, the start of a line held back
    std::string header_;   // as it came, Bcc and all
    bool line_start_ = true;
    bool first_line_ = true;
    bool dropping_ = false;
    bool ended_ = false;
};

}  // namespace sternpost::local
