// How a client's session opens: greeting, EHLO or HELO, STARTTLS, and EHLO again inside TLS. Replies in, next
// action out. No socket, no clock.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "smtp/client.h"
#include "smtp/extensions.h"
#include "smtp/reply.h"

namespace sternpost::smtp {

class Opening {
  public:
    /// `hello`: what this host calls itself. `own_name`: a host of that name is this host; empty: there is
    /// none.
    Opening(TlsUse tls, std::string hello, std::string own_name)
        : tls_(tls), hello_(std::move(hello)), own_name_(std::move(own_name)) {}

    struct Await {};  // read the greeting, give it to on_reply()
    struct Ask {      // send this command, give its reply to on_reply()
        std::string line;
        Stage stage;
    };
    struct Handshake {};  // shake hands, then on_tls()
    struct Ready {};      // MAIL may be said
    struct GiveUp {
        Failure failure;
        bool polite;  // the session is in order: say QUIT
    };
    using Action = std::variant<Await, Ask, Handshake, Ready, GiveUp>;

    /// What to do now; the same until one of the following is called.
    Action next() const;
    /// `more`: octets came along behind the reply.
    void on_reply(Reply reply, bool more = false);
    void on_tls();
    /// The step cannot be ended: no reply came, or there was no handshake.
    void on_failure(Errc code, std::string text);

    /// By the latest EHLO reply. What was offered before TLS is forgotten (RFC 3207 §4.2).
    const Extensions& offered() const { return offered_; }
    /// It refused STARTTLS, and the session goes on in clear.
    const std::optional<Failure>& starttls_refusal() const { return starttls_refusal_; }

  private:
    enum class Step { greeting, ehlo, helo, starttls, handshake, ready, failed };
    Stage stage() const;
    void on_hello(const Reply& reply);
    void on_starttls(Reply reply, bool more);
    void after_hello();
    void refused(Errc code, Reply reply);
    void fail_with(Errc code, std::string text, bool polite);

    const TlsUse tls_;
    const std::string hello_;
    const std::string own_name_;
    Step step_ = Step::greeting;
    bool in_tls_ = false;
    Extensions offered_;
    std::optional<Failure> starttls_refusal_;
    std::optional<GiveUp> give_up_;
};

}  // namespace sternpost::smtp
