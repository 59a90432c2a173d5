// The text of one message on its way in, from every source: trace on top, header corrected where it is
// originated here, judged at its end (RFC 5321 §4.4, RFC 6409 §8). Octets in, octets for the body out. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "intake/refusal.h"
#include "mail/header_filter.h"
#include "mail/sender_domains.h"
#include "mail/trace.h"
#include "store/message.h"

namespace sternpost::intake {

struct TextRules {
    /// The message begins its way here: its header is completed and repaired. Else trace is all that is
    /// added.
    bool originated = false;
    std::string hostname;
    std::string from;                // of the From field, should an originated message lack one
    std::size_t max_received = 100;  // Received fields; more is a loop (RFC 5321 §6.3)
    const mail::SenderDomains::Rule* domains = nullptr;  // that may stand in From; null: no one has said
    std::string sender;                                  // for refusals: `192.0.2.1`, `this user`
};

/// What trace and added fields may come to beyond the size limit, octets. Ours.
constexpr std::uint64_t room_for_fields = 4096;

class MessageText {
  public:
    /// Nothing is added, changed or judged: another server gets it next.
    MessageText() = default;
    /// `trace`: by, id, for and at are filled in here. `recipients`: those of the transaction.
    MessageText(TextRules rules, store::MessageId id, WallTime arrived, mail::Received trace,
                const std::vector<store::QueuedRecipient>& recipients);

    /// Octets of the message; lines end with CRLF.
    Result<void> feed(std::string_view octets);
    Result<void> finish();
    /// What is to be written to the body next; empty: nothing.
    const std::string& piece() const { return piece_; }
    void piece_written() { piece_.clear(); }

    /// After finish(). `size`: octets of the message.
    Result<void> judge(std::uint64_t size) const;
    /// After judge(): lines are too long for SMTP and must be encoded (RFC 5321 §4.5.3.1.6; D-22).
    bool has_long_lines() const;
    void lines_were_encoded() { lines_encoded_ = true; }
    /// What the text says about the envelope.
    void describe(mail::Envelope& envelope) const;

    // For the log.
    const std::string& message_id() const { return filter_.message_id(); }
    mail::Repairs repairs() const;
    std::size_t longest_line() const { return filter_.longest_line(); }

    /// Lets go of a large buffer between messages.
    void clear();

  private:
    Result<void> check() const;
    Result<void> judge_domains() const;
    Result<void> judge_lines(std::uint64_t size) const;

    bool touches_ = false;
    TextRules rules_;
    mail::HeaderFilter filter_;
    std::string piece_;
    bool nul_ = false;
    bool lines_encoded_ = false;
};

/// `DOMAIN is not among the domains that the rule RULE lets SENDER write as`.
Refusal not_allowed(const mail::SenderDomains::Rule& rule, const std::string& domain,
                    const std::string& sender);

}  // namespace sternpost::intake
