#include "smtp/opening.h"

#include "smtp/command.h"
#include "util/text.h"

namespace sternpost::smtp {
namespace {

// RFC 5321 §4.2: the host's name is the first word of its greeting, and of its reply to EHLO.
bool names_us(const Reply& reply, const std::string& own_name) {
    if (own_name.empty() || reply.lines.empty()) return false;
    std::string_view name = split(trimmed(reply.lines.front()), ' ').front();
    if (name.ends_with('.')) name.remove_suffix(1);
    return iequals(name, own_name);
}

}  // namespace

Opening::Action Opening::next() const {
    switch (step_) {
        case Step::greeting:
            return Await{};
        case Step::ehlo:
            return Ask{ehlo(hello_), Stage::helo};
        case Step::helo:
            return Ask{helo(hello_), Stage::helo};
        case Step::starttls:
            return Ask{"STARTTLS", Stage::starttls};
        case Step::handshake:
            return Handshake{};
        case Step::ready:
            return Ready{};
        case Step::failed:
            return *give_up_;
    }
    return Ready{};
}

void Opening::on_reply(Reply reply, bool more) {
    if (step_ == Step::starttls) return on_starttls(std::move(reply), more);
    if (reply.positive() && names_us(reply, own_name_))
        return fail_with(
            Errc::loop,
            "the host calls itself " + own_name_ + ", which is the name of this relay: mail would loop",
            true);
    if (step_ != Step::greeting) return on_hello(reply);
    if (!reply.positive()) return refused(Errc::reply_negative, std::move(reply));
    step_ = Step::ehlo;
}

// EHLO, or HELO where EHLO is unknown (RFC 5321 §3.2).
void Opening::on_hello(const Reply& reply) {
    if (reply.positive()) {
        if (step_ == Step::ehlo) offered_ = Extensions::parse(reply);
        return after_hello();
    }
    // SMTP-06: 500 and 502 by the book, 501, 504 and 550 in practice
    if (step_ == Step::ehlo && reply.permanent())
        step_ = Step::helo;
    else
        refused(Errc::reply_negative, reply);
}

void Opening::after_hello() {
    step_ = Step::ready;
    if (in_tls_ || tls_ == TlsUse::never) return;
    if (offered_.starttls) {
        step_ = Step::starttls;
    } else if (tls_ == TlsUse::required) {
        step_ = Step::starttls;
        fail_with(Errc::starttls_not_offered, "the host does not offer STARTTLS", true);
    }
}

void Opening::on_starttls(Reply reply, bool more) {
    if (!reply.positive()) {
        refused(Errc::starttls_refused, std::move(reply));
        if (tls_ == TlsUse::required) return;
        // A refusal leaves the session as it was: without a requirement the mail goes on in clear (TLS-13).
        starttls_refusal_ = std::move(give_up_->failure);
        give_up_.reset();
        step_ = Step::ready;
        return;
    }
    // RFC 3207 §4.2, §6: what stands behind the 220 in clear was put there by someone else; it is never a
    // reply inside TLS.
    if (more)
        return fail_with(
            Errc::injected_octets,
            "octets in clear text follow the reply to STARTTLS, as an attacker would inject them", false);
    step_ = Step::handshake;
}

void Opening::on_tls() {
    in_tls_ = true;
    offered_ = {};
    step_ = Step::ehlo;
}

void Opening::on_failure(Errc code, std::string text) {
    fail_with(code, std::move(text), false);
}

Stage Opening::stage() const {
    switch (step_) {
        case Step::greeting:
            return Stage::greeting;
        case Step::ehlo:
        case Step::helo:
        case Step::ready:
        case Step::failed:
            return Stage::helo;
        case Step::starttls:
            return Stage::starttls;
        case Step::handshake:
            return Stage::handshake;
    }
    return Stage::helo;
}

void Opening::refused(Errc code, Reply reply) {
    std::string text = reply.text();
    fail_with(code, std::move(text), true);
    give_up_->failure.reply = std::move(reply);
}

void Opening::fail_with(Errc code, std::string text, bool polite) {
    Failure failure;
    failure.stage = stage();
    failure.code = code;
    failure.text = std::move(text);
    give_up_ = GiveUp{std::move(failure), polite};
    step_ = Step::failed;
}

}  // namespace sternpost::smtp
