#include "smtp/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "mail/local_names.h"
#include "smtp/command_syntax.h"
#include "util/free_memory.h"
#include "util/text.h"

namespace sternpost::smtp {
namespace {

constexpr std::size_t max_pending_output =
    4096;  // ours: replies that one read may gather before they are sent

constexpr std::size_t max_kept_buffer = 16384;  // ours: of each buffer, between messages

}  // namespace

std::optional<ClientRole> role_of(const ServerOptions& options, const dns::Address& client) {
    const ClientNetwork* best = nullptr;
    for (const auto& candidate : options.networks)
        if (candidate.network.contains(client) &&
            (best == nullptr || candidate.network.bits > best->network.bits))
            best = &candidate;
    return best == nullptr ? std::nullopt : std::optional(best->role);
}

Server::Server(const ServerOptions& options, Client client) : options_(options), client_(std::move(client)) {
    reply(fmt::format("220 {} ESMTP {}", options_.hostname, options_.greeting));
}

void Server::feed(std::string_view octets) {
    in_.erase(0, at_);
    at_ = 0;
    in_ += octets;
}

std::string Server::output() {
    return std::exchange(out_, {});
}

Action Server::next() {
    assert(waiting_ == Waiting::nothing || !queued_.empty());
    for (;;) {
        if (!queued_.empty()) {
            Action first = std::move(queued_.front());
            queued_.erase(queued_.begin());
            return first;
        }
        if (phase_ == Phase::closing) return action::Close{};
        if ((prompt_ || out_.size() > max_pending_output) && !out_.empty()) {
            prompt_ = false;
            return action::SendOutput{};
        }
        if (phase_ == Phase::data) return read_data();
        if (auto action = read_command()) return std::move(*action);
    }
}

// ---- commands

std::optional<Action> Server::read_command() {
    std::string_view pending = std::string_view(in_).substr(at_);
    const auto eol = pending.find('\n');
    if (eol == std::string_view::npos) {
        if (phase_ == Phase::draining || pending.size() > line_limit(pending)) {
            phase_ = Phase::draining;
            if (!pending.empty()) at_ = in_.size() - (pending.back() == '\r' ? 1 : 0);
        }
        if (at_ == in_.size() && in_.capacity() > max_kept_buffer) {  // the client may be silent from here on
            free_memory(in_);
            at_ = 0;
        }
        return action::NeedInput{};
    }
    at_ += eol + 1;
    const bool crlf = eol > 0 && pending[eol - 1] == '\r';
    if (!crlf && !options_.hands_over) {
        // Only CRLF ends a command line (RFC 5321 §2.3.8). Who sends something else may not mean what we
        // would read, and what follows could be another's words smuggled in: nothing of it is executed.
        close_after("500 5.5.2 a line feed without carriage return before it; closing");
        return std::nullopt;
    }
    const std::string_view line = pending.substr(0, eol - (crlf ? 1 : 0));
    if (phase_ == Phase::draining || eol + 1 > line_limit(line)) {
        phase_ = Phase::command;
        refuse("500 5.5.2 the command line is too long");
        return std::nullopt;
    }
    run(line);
    return std::nullopt;
}

void Server::run(std::string_view line) {
    if (!client_.role && ++commands_ > options_.max_stranger_commands)
        return close_after("421 4.7.0 " + options_.hostname +
                           " too many commands of a host that may not send here");
    if (line.find('\r') != std::string_view::npos || line.find('\0') != std::string_view::npos)
        return refuse("500 5.5.2 a control character in the command line");
    if (is_http(line)) return close_after("554 5.5.1 this is SMTP, not HTTP; closing");
    const auto blank = line.find(' ');
    const std::string verb = lowered(line.substr(0, blank));
    const std::string_view rest =
        blank == std::string_view::npos ? std::string_view() : trimmed(line.substr(blank));

    if (verb == "mail") return mail(rest);
    if (verb == "rcpt") return rcpt(rest);
    if (verb == "rset") {
        if (!rest.empty()) return refuse("501 5.5.4 RSET takes no argument");
        end_transaction();
        return reply("250 2.0.0 ok");
    }
    prompt_ = true;  // RFC 2920 §3.2: the replies to all others are not held back
    if (verb == "data") return data(rest);
    if (verb == "ehlo") return hello(rest, true);
    if (verb == "helo") return hello(rest, false);
    if (verb == "noop") return reply("250 2.0.0 ok");
    if (verb == "quit") {
        if (!rest.empty()) return refuse("501 5.5.4 QUIT takes no argument");
        return close_after("221 2.0.0 " + options_.hostname + " closing");
    }
    if (verb == "vrfy") {
        if (rest.empty()) return refuse("501 5.5.4 VRFY needs an argument");
        return reply("252 2.0.0 cannot verify, but will take mail for it and try");
    }
    if (verb == "help")
        return reply("214 2.0.0 EHLO HELO STARTTLS MAIL RCPT DATA RSET NOOP QUIT VRFY HELP; see RFC 5321");
    if (verb == "starttls") return start_tls(rest);
    for (const auto* known : {"expn", "auth", "bdat", "etrn", "turn"})
        if (verb == known) return refuse("502 5.5.1 not offered here");
    refuse("500 5.5.2 unknown command");
}

void Server::ask(Waiting for_what, Action question) {
    waiting_ = for_what;
    queued_.push_back(std::move(question));
}

// Replies to EHLO and HELO carry no enhanced code (RFC 2034 §4).
void Server::hello(std::string_view rest, bool esmtp) {
    if (!helo_name_ok(rest))
        return refuse("501 a domain name or an address literal is wanted (RFC 5321 4.1.1.1)");
    end_transaction();
    helo_ = rest;
    esmtp_ = esmtp;
    if (!esmtp) return reply("250 " + options_.hostname);
    reply("250-" + options_.hostname);
    reply("250-PIPELINING");
    reply(fmt::format("250-SIZE {}", options_.max_message_size));
    reply("250-8BITMIME");
    reply("250-SMTPUTF8");
    if (!options_.hands_over) reply("250-DSN");
    if (tls_)
        reply("250-REQUIRETLS");  // RFC 8689 §2: inside TLS only
    else if (client_.starttls)
        reply("250-STARTTLS");
    reply("250 ENHANCEDSTATUSCODES");
}

std::string_view Server::with() const {
    if (!esmtp_) return "SMTP";
    if (envelope_.smtputf8) return tls_ ? "UTF8SMTPS" : "UTF8SMTP";
    return tls_ ? "ESMTPS" : "ESMTP";
}

// ---- STARTTLS (RFC 3207 §4)

void Server::start_tls(std::string_view rest) {
    if (tls_) return refuse("503 5.5.1 TLS is in use already");
    if (!client_.starttls) return refuse("502 5.5.1 not offered here");
    if (!rest.empty()) return refuse("501 5.5.4 STARTTLS takes no argument");
    // Octets that came along in clear were sent by someone who has not seen our 220: by an attacker in
    // between, as a rule, who wants them to be taken for the client's words inside TLS (CVE-2011-0411). They
    // are not executed, neither before nor after the handshake.
    if (at_ < in_.size()) {
        reject("STARTTLS", {}, "554 5.5.1 octets after STARTTLS before the reply 220; closing");
        phase_ = Phase::closing;
        return;
    }
    ask(Waiting::tls, action::StartTls{});
}

void Server::refuse_tls() {
    assert(waiting_ == Waiting::tls);
    waiting_ = Waiting::nothing;
    reply("454 4.7.0 TLS is not available now, try again later");
}

void Server::begin_tls() {
    assert(waiting_ == Waiting::tls);
    end_transaction();
    helo_.clear();
    esmtp_ = false;
    in_.clear();
    at_ = 0;
    reply("220 2.0.0 begin the TLS handshake");
}

void Server::tls_started(TlsSession session) {
    assert(waiting_ == Waiting::tls);
    waiting_ = Waiting::nothing;
    tls_ = std::move(session);
}

void Server::mail(std::string_view rest) {
    if (helo_.empty()) return refuse("503 5.5.1 EHLO first");
    if (in_transaction_) return refuse("503 5.5.1 a transaction is open already");
    const auto argument = path_argument(rest, "FROM:");
    if (!argument) return refuse("501 5.5.4 wanted: MAIL FROM:<reverse-path> [parameters]");
    // A local program's own name, and this host's, are for the server behind us to complete.
    const bool bare =
        options_.hands_over && !argument->path.empty() && argument->path.find('@') == std::string_view::npos;
    auto path = mail::ReversePath::parse(std::string(argument->path) + (bare ? "@localhost" : ""),
                                         esmtp_ && asks_for_utf8(argument->parameters));
    if (!path) return refuse(intake::reply_of(intake::bad_sender(path.error())));
    const bool own = options_.hands_over && !path->is_null() && path->mailbox().host() == "localhost";
    if (!path->is_null() && !own && !mail::fully_qualified(path->mailbox()))
        return refuse(intake::reply_of(
            {intake::Errc::bad_sender_domain, "the domain of the reverse-path is not fully qualified"}));
    if (client_.domains != nullptr && !path->is_null() && !client_.domains->allows(path->mailbox().host()))
        return reject("MAIL", {},
                      intake::reply_of(intake::not_allowed(*client_.domains, path->mailbox().host(),
                                                           client_.address.text())));
    envelope_ = {};
    envelope_.reverse_path = std::move(*path);
    if (!mail_parameters(argument->parameters)) {
        envelope_ = {};
        return;
    }
    if (!client_.role) return transaction(TransactionVerdict::go);  // no message can come of it
    ask(Waiting::transaction, action::AskTransaction{announced_});
}

// Neither of the first two is worth a line in the log each time: that there is a limit, or no space, has been
// said.
void Server::transaction(TransactionVerdict verdict, const std::string& why) {
    waiting_ = Waiting::nothing;
    if (verdict == TransactionVerdict::too_many) {
        reply("450 4.7.1 " + why);
        return end_transaction();
    }
    if (verdict == TransactionVerdict::no_space) {
        reply("452 4.3.1 no space for the message, try again later");
        return end_transaction();
    }
    if (verdict == TransactionVerdict::does_not_fit) {
        reject("MAIL", {},
               fmt::format("452 4.3.1 no space for a message of {} octets, try again later", announced_));
        return end_transaction();
    }
    in_transaction_ = true;
    reply("250 2.1.0 ok");
}

// Parameters of MAIL (RFC 5321 §4.1.1.11). False: refused, with its reply.
bool Server::mail_parameters(std::string_view text) {
    size_given_ = body_given_ = false;
    announced_ = 0;
    for (const auto word : split(text, ' ')) {
        if (word.empty()) continue;
        const auto equals = word.find('=');
        std::optional<std::string_view> value;
        if (equals != std::string_view::npos) value = word.substr(equals + 1);
        // a HELO session knows no extensions, so no parameters either
        if (!esmtp_) {
            refuse("555 5.5.4 unknown parameter " + printable(word.substr(0, equals), 40));
            return false;
        }
        if (!mail_parameter(word.substr(0, equals), value)) return false;
    }
    return true;
}

// `value`: nullopt where there is no '='.
bool Server::mail_parameter(std::string_view keyword, std::optional<std::string_view> value) {
    const auto refused = [this](std::string_view why) {
        refuse(why);
        return false;
    };
    if (iequals(keyword, "SIZE")) {  // RFC 1870 §3: 1 to 20 digits
        const bool digits = value && !value->empty() && value->size() <= 20 &&
                            value->find_first_not_of("0123456789") == std::string_view::npos;
        if (!digits || std::exchange(size_given_, true)) return refused("501 5.5.4 wanted: one SIZE=octets");
        const auto size = decimal(*value);  // nullopt: beyond 64 bits
        if (!size || *size > options_.max_message_size) {
            reject("MAIL", {},
                   fmt::format("552 5.3.4 messages have at most {} octets here", options_.max_message_size));
            return false;
        }
        announced_ = *size;
        return true;
    }
    if (iequals(keyword, "BODY") && !iequals(value.value_or(""), "BINARYMIME")) {  // RFC 6152 §2
        const bool eight = iequals(value.value_or(""), "8BITMIME");
        if ((!eight && !iequals(value.value_or(""), "7BIT")) || std::exchange(body_given_, true))
            return refused("501 5.5.4 wanted: one BODY=7BIT or BODY=8BITMIME");
        if (eight) envelope_.body = mail::BodyType::eight_bit_mime;
        return true;
    }
    if (iequals(keyword, "SMTPUTF8")) {  // RFC 6531 §3.4
        if (value || std::exchange(envelope_.smtputf8, true))
            return refused("501 5.5.4 SMTPUTF8 stands once and has no value");
        return true;
    }
    if (iequals(keyword, "REQUIRETLS")) {  // RFC 8689 §2
        if (value || std::exchange(envelope_.requiretls, true))
            return refused("501 5.5.4 REQUIRETLS stands once and has no value");
        if (!tls_)  // the message has been in clear sight already: nothing can be promised for it any more
            return refused(client_.starttls
                               ? "530 5.7.0 REQUIRETLS is for mail that comes by TLS: STARTTLS first"
                               : "555 5.5.4 REQUIRETLS is not offered here: there is no TLS");
        return true;
    }
    if (iequals(keyword, "RET") && !options_.hands_over) {  // RFC 3461 §4.3
        const bool full = iequals(value.value_or(""), "FULL");
        if ((!full && !iequals(value.value_or(""), "HDRS")) || envelope_.ret != mail::Ret::unspecified)
            return refused("501 5.5.4 wanted: one RET=FULL or RET=HDRS");
        envelope_.ret = full ? mail::Ret::full : mail::Ret::hdrs;
        return true;
    }
    if (iequals(keyword, "ENVID") && !options_.hands_over) {  // RFC 3461 §4.4
        const bool sound = value && !value->empty() && value->size() <= max_envid && unxtext(*value);
        if (!sound || !envelope_.envid.empty())
            return refused("501 5.5.4 wanted: one ENVID= with at most 100 octets of xtext");
        envelope_.envid = *value;
        return true;
    }
    return refused("555 5.5.4 unknown parameter " + printable(keyword, 40));
}

// Parameters of RCPT (RFC 3461 §4.1, §4.2). False: refused, with its reply.
bool Server::rcpt_parameters(std::string_view text) {
    candidate_notify_ = {};
    candidate_orcpt_.clear();
    const bool dsn = esmtp_ && !options_.hands_over;
    for (const auto word : split(text, ' ')) {
        if (word.empty()) continue;
        const auto equals = word.find('=');
        const std::string_view keyword = word.substr(0, equals);
        const std::string_view value =
            equals == std::string_view::npos ? std::string_view() : word.substr(equals + 1);
        if (dsn && iequals(keyword, "NOTIFY")) {
            const auto notify = parse_notify(value);
            if (!notify || candidate_notify_.given()) {
                refuse("501 5.5.4 wanted: one NOTIFY=NEVER, or SUCCESS, FAILURE, DELAY with commas between");
                return false;
            }
            candidate_notify_ = *notify;
        } else if (dsn && iequals(keyword, "ORCPT")) {
            if (!orcpt_ok(value, envelope_.smtputf8) || !candidate_orcpt_.empty()) {
                refuse("501 5.5.4 wanted: one ORCPT=type;xtext of at most 500 octets");
                return false;
            }
            candidate_orcpt_ = value;
        } else {
            refuse("555 5.5.4 unknown parameter " + printable(keyword, 40));
            return false;
        }
    }
    return true;
}

void Server::rcpt(std::string_view rest) {
    if (!in_transaction_) return refuse("503 5.5.1 MAIL first");
    const auto argument = path_argument(rest, "TO:");
    if (!argument) return refuse("501 5.5.4 wanted: RCPT TO:<forward-path>");
    rcpt_refused_ = true;  // until it is added
    candidate_text_ = argument->path;
    if (!client_.role) {  // RFC 5321 §7.9: never an open relay, whatever the address looks like
        ++errors_;
        return reject("RCPT", argument->path, "550 5.7.1 " + client_.address.text() + " may not relay here");
    }
    if (!rcpt_parameters(argument->parameters)) return;
    auto path = options_.resolve_recipient(argument->path, envelope_.smtputf8);
    if (!path) return reject("RCPT", argument->path, intake::reply_of(intake::bad_recipient(path.error())));
    if (recipients_.size() >= options_.max_recipients)  // RFC 5321 §4.5.3.1.10: those before it stay
        return reply("452 4.5.3 too many recipients, send the rest in another transaction");
    candidate_ = std::move(*path);
    if (candidate_->mailbox().is_literal()) return add_recipient();
    ask(Waiting::next_hop, action::AskNextHop{candidate_->mailbox().domain()});
}

void Server::next_hop(NextHopKnowledge knowledge) {
    assert(waiting_ == Waiting::next_hop);
    waiting_ = Waiting::nothing;
    switch (knowledge) {
        case NextHopKnowledge::usable_or_unknown:
            return add_recipient();
        case NextHopKnowledge::no_such_domain:
            return reject("RCPT", candidate_text_,
                          "550 5.1.2 " + candidate_->mailbox().host() + " does not exist in the DNS");
        case NextHopKnowledge::null_mx:  // RFC 7505 §4.1
            return reject("RCPT", candidate_text_,
                          "556 5.1.10 " + candidate_->mailbox().host() + " takes no mail (null MX)");
    }
}

void Server::add_recipient() {
    recipients_.add(std::move(*candidate_), candidate_notify_, candidate_orcpt_);
    candidate_.reset();
    rcpt_refused_ = false;
    reply("250 2.1.5 ok");
}

void Server::end_transaction() {
    in_transaction_ = false;
    rcpt_refused_ = false;
    envelope_ = {};
    recipients_.clear();
    candidate_.reset();
    raw_.clear();
    if (raw_.capacity() > max_kept_buffer) free_memory(raw_);
    text_.clear();
}

// ---- replies

// A reply is ASCII (RFC 5321 §4.2); what we quote of the client's words need not be.
void Server::reply(std::string_view text) {
    for (const char c : text) out_ += static_cast<unsigned char>(c) < 0x80 ? c : '?';
    out_ += "\r\n";
}

void Server::refuse(std::string_view text) {
    prompt_ = true;
    reply(text);
    if (++errors_ >= options_.max_errors)
        close_after("421 4.7.0 " + options_.hostname + " too many errors, closing");  // RFC 5321 §3.8
}

void Server::reject(const char* stage, std::string_view recipient, std::string text) {
    reply(text);
    queued_.emplace_back(
        action::Rejected{stage, envelope_.reverse_path.text(), std::string(recipient), std::move(text)});
    if (errors_ >= options_.max_errors)
        close_after("421 4.7.0 " + options_.hostname + " too many errors, closing");
}

void Server::close_after(std::string_view text) {
    reply(text);
    drop_body();
    phase_ = Phase::closing;
}

void Server::time_out() {
    close_after("421 4.4.2 " + options_.hostname + " waited too long, closing");
}

void Server::shut_down() {
    close_after("421 4.3.2 " + options_.hostname + " shutting down");
}

}  // namespace sternpost::smtp
