// The client's side of one transaction, MAIL to the reply to the final dot: replies in, next action out. No
// socket, no clock.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "mail/envelope.h"
#include "smtp/extensions.h"
#include "smtp/reply.h"
#include "tls/verify.h"

namespace sternpost::smtp {

/// How a session is to use TLS.
enum class TlsUse {
    never,  // clear text, even if STARTTLS is offered: the fresh connection after a failed handshake (TLS-14)
    if_offered,  // opportunistic: any TLS will do
    required,    // no MAIL without TLS: STARTTLS must be offered, and TLS is strict
};

/// How long each step may take (RFC 5321 §4.5.3.2; connect, EHLO, STARTTLS, QUIT: ours, the RFC lists none).
struct ClientTimeouts {
    std::chrono::milliseconds connect{std::chrono::seconds(30)};
    std::chrono::milliseconds greeting{std::chrono::minutes(5)};
    std::chrono::milliseconds helo{std::chrono::minutes(5)};
    std::chrono::milliseconds starttls{std::chrono::minutes(2)};  // the command and the handshake, each
    std::chrono::milliseconds mail{std::chrono::minutes(5)};
    std::chrono::milliseconds rcpt{std::chrono::minutes(5)};
    std::chrono::milliseconds data{std::chrono::minutes(2)};
    std::chrono::milliseconds data_block{std::chrono::minutes(3)};
    std::chrono::milliseconds dot{std::chrono::minutes(10)};
    std::chrono::milliseconds quit{std::chrono::seconds(5)};
    /// For all of the opening, and for all of a transaction before the final dot (ours: the RFC bounds each
    /// step alone). A transaction has this for every 32 MiB of the message again.
    std::chrono::milliseconds whole{std::chrono::minutes(30)};

    std::chrono::milliseconds of(Stage stage) const;
};

/// Why a step did not succeed: a negative reply, or an error of the connection.
struct Failure {
    Stage stage = Stage::connect;
    Errc code = Errc::io;
    std::string text;             // for people
    std::optional<Reply> reply;   // with code reply_negative and starttls_refused
    std::string dialogue{};       // of a session that could not be opened: lines `C: …`, `S: …`
    std::string local_address{};  // likewise, where there was a connection
    std::optional<tls::Evidence> evidence{};  // likewise, where TLS was established before it failed
    std::string helo{};                       // likewise, the name that the host gave itself, where it did
};

/// What the host said about one recipient. No failure: the host took the message for it.
struct RecipientOutcome {
    Reply reply;  // the decisive positive reply
    std::optional<Failure>
        failure;  // else what stood in the way; stage dot with an error that is no reply: fate unknown
};

class Transaction {
  public:
    /// `size` and `eight_bit` describe the message octets; `recipients`: at least one.
    Transaction(const mail::Envelope& envelope, std::vector<mail::Recipient> recipients, std::uint64_t size,
                bool eight_bit, const Extensions& offered);

    struct Send {  // write these octets
        std::string octets;
    };
    struct Await {  // read one reply within the stage's time, give it to on_reply()
        Stage stage;
    };
    struct SendMessage {
    };  // write the message, dot-stuffed, with its final dot; then the next Await is Stage::dot
    struct Finished {
        bool reusable;  // the session may carry another transaction (false: say QUIT)
    };
    using Action = std::variant<Send, Await, SendMessage, Finished>;

    /// What to do now. After Await call on_reply() or on_failure() first.
    Action next();
    void on_reply(const Reply& reply);
    /// The connection is gone, timed out or cannot be understood any more: nothing else will come. `stage`
    /// where it is not that of the reply owed next: Stage::body when the final dot was certainly not sent.
    void on_failure(Errc code, std::string text, std::optional<Stage> stage = std::nullopt);

    /// One an recipient, in order; complete once next() gave Finished.
    const std::vector<RecipientOutcome>& outcomes() const { return outcomes_; }

  private:
    enum class Expect { mail, rcpt, data, lone_dot, dot, rset };
    struct Expected {
        Expect what;
        std::size_t recipient = 0;
        std::size_t octets = 0;
    };
    void queue_commands();
    void fail_open(const Failure& failure);
    std::size_t in_flight() const;

    mail::Envelope envelope_;
    std::vector<mail::Recipient> recipients_;
    std::uint64_t size_;
    bool eight_bit_;
    Extensions offered_;

    std::vector<RecipientOutcome> outcomes_;
    std::vector<bool> accepted_;
    std::deque<Expected> expected_;  // replies that are owed to us, in order
    std::string out_;
    std::size_t next_recipient_ = 0;
    bool mail_sent_ = false;
    bool mail_refused_ = false;
    bool mail_answered_ = false;
    bool data_sent_ = false;
    bool message_due_ = false;
    bool lone_dot_due_ = false;
    bool rset_due_ = false;
    bool finished_ = false;
    bool reusable_ = true;
};

}  // namespace sternpost::smtp
