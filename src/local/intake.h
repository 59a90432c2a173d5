// From a submission record to a message for the store. No Asio: socket and maildrop feed it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "intake/accept.h"
#include "intake/recipients.h"
#include "local/record.h"
#include "mail/line_ends.h"
#include "mail/sender_domains.h"
#include "store/store.h"

namespace sternpost::local {

struct Options {
    std::string hostname;
    std::uint64_t max_message_size = 52'428'800;  // octets
    std::size_t max_recipients = 10'000;
    std::size_t max_received = 100;  // RFC 5321 §6.3
    intake::ResolveRecipient resolve_recipient;
    /// The login name of a uid, empty when it has none (user_name() of this folder).
    std::function<std::string(std::uint32_t)> user_name;
    mail::SenderDomains sender_domains;  // whom users may write as

    std::string socket_path = "/run/sternpost/submit.sock";
    std::size_t max_connections = 200;
    std::chrono::seconds socket_timeout{300};  // for a whole submission

    std::string maildrop_path = "/var/spool/sternpost/maildrop";
    std::chrono::seconds maildrop_interval{60};  // between looks where no notice of a new file comes
    std::size_t max_passed_over = 10'000;  // ours: names of files that could not be set aside; others are
                                           // tried again at each look
};

/// Takes one record's octets and writes the message they hold to the store's sink.
class RecordIntake {
  public:
    /// `options` and `store` must outlive it. `uid` is the submitter's, as the kernel tells it.
    RecordIntake(const Options& options, store::Store& store, std::uint32_t uid, store::MessageId id,
                 WallTime now);

    /// Errors end the submission: answer_of() says how.
    Result<void> feed(std::string_view octets);
    bool complete() const { return reader_.complete(); }
    /// The message, ready for store::Store::accept. incomplete: the record's end has not come.
    Result<store::NewMessage> finish();

    // For the log, after finish().
    const intake::MessageText& text() const { return text_; }
    const std::string& login() const { return login_; }
    const Submission* submission() const { return reader_.head(); }

  private:
    Result<void> begin();
    Result<mail::ReversePath> reverse_path(const std::string& user) const;
    Result<void> write();
    const mail::SenderDomains::Rule* domains() const;

    const Options& options_;
    store::Store& store_;
    std::uint32_t uid_;
    std::string login_;  // empty: the uid has none
    RecordReader reader_;
    mail::LineEnds line_ends_;
    intake::MessageText text_;
    std::unique_ptr<store::BodySink> sink_;
    store::NewMessage message_;
    std::string raw_;
    std::string lines_;
};

/// What the submitter is told about an error.
Answer answer_of(const Error<Errc>& error);
/// What the submitter is told about the store's word; `id`: the message's.
Answer answer_of(const store::Result<store::MessageId>& result, store::MessageId id);

/// `Full Name <mailbox>` for a From field: the name as atoms, a quoted-string or an encoded-word (RFC 5322
/// §3.2.5, RFC 2047 §5).
std::string from_value(std::string_view full_name, const mail::Mailbox& mailbox);

}  // namespace sternpost::local
