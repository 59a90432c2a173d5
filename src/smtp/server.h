// The receiving side of SMTP as a pure core: octets in, actions out. Sockets, time and the store are
// listener's business.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dns/record.h"
#include "intake/message_text.h"
#include "intake/recipients.h"
#include "intake/sender_limits.h"
#include "mail/envelope.h"
#include "mail/sender_domains.h"
#include "smtp/client_limits.h"
#include "smtp/data_reader.h"
#include "store/errc.h"
#include "store/message.h"

namespace sternpost::smtp {

/// What mail from a client network is taken for (doc/design.md, D-36). originate: a submission, missing Date
/// and Message-ID are added, Bcc goes, bare line ends are made CRLF. relay: trace alone is added, bare line
/// ends are refused.
enum class ClientRole { originate, relay };

struct ClientNetwork {
    dns::Network network;
    ClientRole role = ClientRole::originate;
};

struct ServerOptions {
    std::string hostname;                         // in the greeting and in Received
    std::string greeting = "Sternpost";           // what follows `220 hostname ESMTP`
    std::uint64_t max_message_size = 52'428'800;  // octets (RFC 1870); at least 65,536 (RFC 5321 §4.5.3.1.7)
    std::size_t max_recipients = 1000;            // a transaction; at least 100 (RFC 5321 §4.5.3.1.8)
    std::size_t max_received =
        100;  // Received fields; more is a loop (RFC 5321 §6.3: the limit is at least 100)
    /// The session only takes mail that another server gets next (`sendmail -bs`): that one corrects it and
    /// adds the trace, and its parameters are the same for all recipients, so that neither TLS nor DSN is
    /// offered. Lines may end with LF alone: all of the stream is one local program's.
    bool hands_over = false;
    std::size_t max_errors = 20;             // commands that were refused as such, then 421
    std::size_t max_stranger_commands = 20;  // ours: of a client that may not send, then 421
    std::vector<ClientNetwork> networks;     // who may send; everybody else is refused at RCPT
    /// What stands between the angle brackets of RCPT to a routable forward-path (mail::LocalNames); true:
    /// the transaction has SMTPUTF8. Must be callable on every I/O thread at once.
    intake::ResolveRecipient resolve_recipient;

    // The shell's limits.
    std::chrono::seconds command_timeout{300};   // RFC 5321 §4.5.3.2.7; also for each 64 KiB of mail data
    std::chrono::seconds handshake_timeout{60};  // ours: the RFC sets none
    ClientLimits::Limits connections;
    std::chrono::seconds stranger_time{60};       // ours: for the whole session of a client that may not send
    intake::SenderLimit sender_limit{60'000, 0};  // of one client address (IPv6: one /64)
    std::vector<intake::SenderRule> sender_rules;  // where it is not that
    mail::SenderDomains sender_domains;            // whom clients in the role originate may write as
};

/// The role of the most specific network that holds `client`; nullopt: a stranger.
std::optional<ClientRole> role_of(const ServerOptions& options, const dns::Address& client);

/// What the DNS cache knows of a next hop at RCPT.
enum class NextHopKnowledge { usable_or_unknown, no_such_domain, null_mx };

enum class TransactionVerdict { go, too_many, no_space, does_not_fit };

/// What the shell does next. "→ f" names the method that gives the answer; until then next() must not be
/// called.
namespace action {
struct NeedInput {};   // send output(), read from the peer → feed()
struct SendOutput {};  // send output() at once: the peer waits for it (RFC 2920 §3.2)
struct AskTransaction {
    std::uint64_t size = 0;  // announced (RFC 1870); 0: not
};                           // may this client begin another message? → transaction()
struct AskNextHop {
    dns::Domain domain;
};  // → next_hop()
// Is there a context for TLS? If not: refuse_tls(). If so: begin_tls(), send output(), do the handshake, then
// tls_started(); a failed handshake ends the connection, since what the client then hears is unknown.
struct StartTls {};
struct BeginBody {};  // open a BodySink → begin_body()
struct WriteBody {
    std::string_view octets;
};                       // into the sink; valid until the next call → written()
struct ShortenLines {};  // intake::encode_long_lines on the sink and text() → shortened()
struct AcceptMessage {
    store::NewMessage message;
};                             // all but the body, which the sink gives → accepted()
struct DropBody {};            // the transaction has failed: the sink is not wanted any more
struct Rejected {              // worth a line in the log
    std::string stage;         // MAIL, RCPT, DATA
    std::string reverse_path;  // without brackets
    std::string recipient;     // the one that it is about, as received; may be empty
    std::string reply;
};
struct Close {};  // send output(), end the connection
}  // namespace action

using Action = std::variant<action::NeedInput, action::SendOutput, action::AskTransaction, action::AskNextHop,
                            action::StartTls, action::BeginBody, action::WriteBody, action::ShortenLines,
                            action::AcceptMessage, action::DropBody, action::Rejected, action::Close>;

/// Who is at the other end.
struct Client {
    dns::Address address;
    std::optional<ClientRole> role;                      // nullopt: a stranger, who may not send
    bool starttls = false;                               // there is a certificate: STARTTLS is offered
    const mail::SenderDomains::Rule* domains = nullptr;  // that it may write as; null: no one has said
};

/// What a finished handshake agreed on.
struct TlsSession {
    std::string version;  // `TLSv1.3`
    std::string cipher;   // IANA's name of the suite
};

/// One connection. Bounded: one command line, one piece of mail data as large as what was fed, the envelope.
class Server {
  public:
    /// `options` must outlive the server.
    Server(const ServerOptions& options, Client client);

    /// Octets from the peer; only when next() said NeedInput.
    void feed(std::string_view octets);
    Action next();
    /// What is to be sent, taken out.
    std::string output();

    void refuse_tls();  // 454: not now (RFC 3207 §4)
    void begin_tls();   // 220 is in output(); all that the client said is forgotten (RFC 3207 §4.2)
    void tls_started(TlsSession session);
    /// `why`: of too_many, for the reply.
    void transaction(TransactionVerdict verdict, const std::string& why = {});
    void next_hop(NextHopKnowledge knowledge);
    void begin_body(store::MessageId id, WallTime now);
    void written(const store::Result<void>& result);
    void shortened(const intake::Result<void>& result);
    void accepted(const store::Result<store::MessageId>& result);
    /// In place of accepted(), where the server behind us has answered: `text` is the whole reply.
    void answered(const std::string& text);

    /// The peer was silent for too long: 421, then Close.
    void time_out();
    /// The daemon stops: 421, then Close. Not between AcceptMessage and accepted().
    void shut_down();

    const std::string& helo() const { return helo_; }
    std::string_view with() const;                 // RFC 3848, RFC 6531 §4.3
    intake::MessageText& text() { return text_; }  // of the message just accepted
    const std::optional<TlsSession>& tls() const { return tls_; }
    bool in_data() const { return phase_ == Phase::data; }

  private:
    enum class Phase { command, draining, data, closing };
    enum class Waiting { nothing, transaction, next_hop, tls, body, write, shorten, accept };
    std::optional<Action> read_command();
    void run(std::string_view line);
    void ask(Waiting for_what, Action question);
    void hello(std::string_view rest, bool esmtp);
    void start_tls(std::string_view rest);
    void mail(std::string_view rest);
    void rcpt(std::string_view rest);
    void data(std::string_view rest);
    void add_recipient();
    bool rcpt_parameters(std::string_view text);
    bool mail_parameters(std::string_view text);
    bool mail_parameter(std::string_view keyword, std::optional<std::string_view> value);
    Action read_data();
    void end_data();
    void hand_over();
    void check_data(const intake::Result<void>& result);
    void fail_data(std::string reply);
    void drop_body();
    void end_transaction();

    void reply(std::string_view text);   // without CRLF
    void refuse(std::string_view text);  // the peer's mistake: counted, too many end the session
    void reject(const char* stage, std::string_view recipient, std::string text);  // replied, and logged
    void close_after(std::string_view text);

    const ServerOptions& options_;
    Client client_;
    Phase phase_ = Phase::command;
    Waiting waiting_ = Waiting::nothing;
    std::string in_;
    std::size_t at_ = 0;  // what of in_ has been read
    std::string out_;
    bool prompt_ = false;  // the peer waits for what is in out_
    std::vector<Action> queued_;
    std::size_t errors_ = 0;
    std::size_t commands_ = 0;

    std::optional<TlsSession> tls_;  // since the handshake
    std::string helo_;
    bool esmtp_ = false;
    bool in_transaction_ = false;
    bool rcpt_refused_ = false;
    bool size_given_ = false;  // parameters of the MAIL at hand that may stand there once
    bool body_given_ = false;
    std::uint64_t announced_ = 0;  // the SIZE of the MAIL at hand
    mail::Envelope envelope_;
    intake::Recipients recipients_;  // a second RCPT of the same is answered, not stored
    std::optional<mail::ForwardPath> candidate_;
    std::string candidate_text_;
    mail::Notify candidate_notify_;
    std::string candidate_orcpt_;

    DataReader reader_;
    intake::MessageText text_;
    store::MessageId id_;
    WallTime arrived_;
    std::uint64_t size_ = 0;  // as RFC 1870 counts: what was sent, unstuffed
    std::string raw_;         // unstuffed, not yet filtered
    std::string data_error_;  // the reply to the final dot; empty: all is well so far
    bool sink_open_ = false;
};

}  // namespace sternpost::smtp
