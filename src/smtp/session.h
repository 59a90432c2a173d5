// The shell that runs the client core on a stream: connect, greeting, EHLO, STARTTLS, transactions, QUIT.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <optional>
#include <string>

#include "dns/record.h"
#include "smtp/client.h"
#include "smtp/dialogue.h"
#include "tls/stream.h"

namespace sternpost::smtp {

namespace asio = boost::asio;

/// Whom to call and how.
struct Target {
    std::optional<dns::MxHost> host;  // none: an address literal
    dns::Address address;
    std::uint16_t port = 25;
    std::optional<dns::Address> source;
    TlsUse tls = TlsUse::if_offered;
    std::optional<tls::DaneReference> dane;  // TLSA records that the handshake is judged by
    std::optional<tls::Ticket> ticket;       // a TLS session that may be taken up again
    std::string helo_name;                   // our FQDN; empty: the address literal of our end
    ClientTimeouts timeouts;
    tls::ClientContexts contexts;
};

/// Message octets for a transaction.
struct Message {
    std::uint64_t size = 0;
    bool eight_bit = false;
    /// Up to `most` octets from `offset`; shorter only at the end.
    std::function<asio::awaitable<Result<std::string>>(std::uint64_t offset, std::size_t most)> read;
};

/// What an opened session showed: all there is to decide whether it may have a message.
struct Opened {
    Extensions offered;  // by the latest EHLO reply: inside TLS where there is TLS
    tls::Evidence evidence;
    std::string local_address;
    std::string dialogue;                     // what was said so far
    std::vector<tls::Ticket> tickets;         // to take this TLS session up again later
    std::optional<Failure> starttls_refusal;  // it refused STARTTLS, and the session went on in clear
};

class Opening;

/// One client session. Lives on one I/O thread; one operation at a time.
class Session {
  public:
    Session(asio::any_io_executor executor, Target target);

    /// To the state in which MAIL may be said. A failure has ended the session (with QUIT where the peer
    /// still listens).
    asio::awaitable<tl::expected<Opened, Failure>> open();
    /// Runs one transaction; outcomes in the recipients' order.
    asio::awaitable<std::vector<RecipientOutcome>> transact(mail::Envelope envelope,
                                                            std::vector<mail::Recipient> recipients,
                                                            Message message);
    /// Whether another transaction may follow.
    bool reusable() const { return reusable_; }
    /// Between DATA and the reply to the final dot: shutdown waits for these.
    bool in_data() const { return in_data_; }
    /// What was said so far, for people: lines `C: …`, `S: …`, no message text; the first and the last of it
    /// where it was long.
    std::string dialogue() const { return dialogue_.text(); }
    /// Closes at once unless the final dot may be on its way; what is awaited then fails.
    void abort();
    /// QUIT where the session is in order, then closes.
    asio::awaitable<void> quit();

  private:
    asio::awaitable<Result<Reply>> read_reply(Deadline deadline);
    asio::awaitable<Result<Reply>> command(std::string line, Stage stage);
    asio::awaitable<std::optional<Failure>> connect();
    std::string hello_name();
    asio::awaitable<void> shake_hands(Opening& opening);
    asio::awaitable<std::optional<Failure>> send_message(const Message& message, Transaction& transaction);
    Deadline after(Stage stage) const;
    std::string told(sternpost::Error<util::Errc> error) const;
    asio::awaitable<tl::unexpected<Failure>> give_up(Failure failure, bool say_quit);

    Target target_;
    Deadline end_ = Deadline::max();  // of the opening, or of the transaction, as a whole
    tls::Stream stream_;
    ReplyParser parser_;
    Extensions offered_;
    Dialogue dialogue_;
    tls::Evidence proof_;  // what the handshake proved, once there was one
    std::array<char, 16384> chunk_{};
    bool reusable_ = false;
    bool in_data_ = false;
};

}  // namespace sternpost::smtp
