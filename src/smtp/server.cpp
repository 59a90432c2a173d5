#include "smtp/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "mail/local_names.h"
#include "mail/trace.h"
#include "util/free_memory.h"
#include "util/text.h"

namespace sternpost::smtp {
namespace {

constexpr std::size_t max_command_line = 512;  // RFC 5321 §4.5.3.1.4, with CRLF
constexpr std::size_t longer_path = 256;       // ours: paths have up to 512 octets here, not 256
constexpr std::size_t max_pending_output =
    4096;  // ours: replies that one read may gather before they are sent

constexpr std::size_t max_kept_buffer = 16384;  // ours: of each buffer, between messages

constexpr std::size_t max_envid = 100;  // RFC 3461 §4.4
constexpr std::size_t max_orcpt = 500;  // RFC 3461 §4.2

// What the extensions on offer add to a command line: SIZE 26 (RFC 1870 §3), BODY 17 (RFC 6152 names no
// number), SMTPUTF8 10 (RFC 6531 §3.1), REQUIRETLS 11 (RFC 8689 §2), RET and ENVID 116; to RCPT, NOTIFY and
// ORCPT what makes 1036 octets of it (RFC 3461 §4).
std::size_t line_limit(std::string_view line) {
    if (istarts_with(line, "RCPT")) return 1036 + longer_path;
    return max_command_line +
           (istarts_with(line, "MAIL") ? longer_path + 26 + 17 + 10 + 11 + 9 + 7 + max_envid : 0);
}

// NEVER alone, or a list of the others, each once (RFC 3461 §4.1).
std::optional<mail::Notify> parse_notify(std::string_view value) {
    mail::Notify out;
    for (const auto word : split(value, ',')) {
        bool& said = iequals(word, "NEVER")     ? out.never
                     : iequals(word, "SUCCESS") ? out.success
                     : iequals(word, "FAILURE") ? out.failure
                                                : out.delay;
        if ((&said == &out.delay && !iequals(word, "DELAY")) || std::exchange(said, true))
            return std::nullopt;
    }
    if (!out.given() || (out.never && (out.success || out.failure || out.delay))) return std::nullopt;
    return out;
}

// `type;xtext` (RFC 3461 §4.2); of the type utf-8 the address has a coding of its own (RFC 6533 §3), and is
// octets in UTF-8 where the message has SMTPUTF8.
bool orcpt_ok(std::string_view value, bool utf8) {
    const auto semicolon = value.find(';');
    if (semicolon == std::string_view::npos || value.size() > max_orcpt) return false;
    const std::string_view type = value.substr(0, semicolon);
    const std::string_view address = value.substr(semicolon + 1);
    const bool atom = !type.empty() && std::all_of(type.begin(), type.end(), [](char ch) {
        return (lower(ch) >= 'a' && lower(ch) <= 'z') || (ch >= '0' && ch <= '9') || ch == '-';
    });
    if (!atom || address.empty()) return false;
    if (!iequals(type, "utf-8")) return unxtext(address).has_value();
    return (utf8 ? valid_utf8(address) : is_ascii(address)) &&
           std::none_of(address.begin(), address.end(),
                        [](char ch) { return static_cast<unsigned char>(ch) <= ' ' || ch == 127; });
}

// Whether the bare keyword SMTPUTF8 is among MAIL's parameters: the path before them is read by it.
bool asks_for_utf8(std::string_view parameters) {
    const auto words = split(parameters, ' ');
    return std::any_of(words.begin(), words.end(), [](auto word) { return iequals(word, "SMTPUTF8"); });
}

struct PathArgument {
    std::string_view path;        // between the angle brackets
    std::string_view parameters;  // after them
};

// `FROM:<path> parameters` or `TO:…` (RFC 5321 §4.1.2). Deviates: blanks after the colon are tolerated, since
// many programs write them and the grammar leaves no other reading.
std::optional<PathArgument> path_argument(std::string_view rest, std::string_view keyword) {
    if (!istarts_with(rest, keyword)) return std::nullopt;
    rest = trimmed(rest.substr(keyword.size()));
    if (!rest.starts_with('<')) return std::nullopt;
    bool in_quotes = false;
    std::size_t close = 1;
    for (; close < rest.size() && (in_quotes || rest[close] != '>'); ++close) {
        if (rest[close] == '"') in_quotes = !in_quotes;
        if (rest[close] == '\\' && in_quotes) ++close;
    }
    if (close >= rest.size()) return std::nullopt;
    const std::string_view after = rest.substr(close + 1);
    if (!after.empty() && after[0] != ' ') return std::nullopt;
    return PathArgument{rest.substr(1, close - 1), trimmed(after)};
}

// Domain or address-literal of RFC 5321 §4.1.1.1, loosely: what may stand in a Received field without
// quoting. Whether the name is the client's is no reason to refuse it (RFC 5321 §4.1.4).
bool helo_name_ok(std::string_view name) {
    return !name.empty() && name.size() <= 255 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
               std::string_view(".-_:[]").find(c) != std::string_view::npos;
    });
}

// A browser that was led to post a form to us speaks commands in its body: those must not be reached.
bool is_http(std::string_view line) {
    static constexpr std::string_view methods[] = {"GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "CONNECT "};
    return line.find(" HTTP/") != std::string_view::npos &&
           std::any_of(std::begin(methods), std::end(methods), [&](auto m) { return line.starts_with(m); });
}

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
    // Octets that came along in clear were sent by somebody who has not seen our 220: by an attacker in
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

// ---- mail data

void Server::data(std::string_view rest) {
    if (!rest.empty()) return refuse("501 5.5.4 DATA takes no argument");
    if (!in_transaction_) return refuse("503 5.5.1 MAIL first");
    if (recipients_.empty())
        return refuse(rcpt_refused_ ? "554 5.5.1 no valid recipients" : "503 5.5.1 RCPT first");
    // RFC 2920 §3.1: DATA ends a group. Octets that came along were sent without having seen 354: reading
    // them as mail data or as commands would both be a guess, and a wrong guess is how a message is smuggled
    // in. What a local program writes to its own `sendmail -bs` is all its own, and often comes in one piece.
    if (at_ < in_.size() && !options_.hands_over)
        return close_after("554 5.5.1 mail data before the reply 354; closing");
    ask(Waiting::body, action::BeginBody{});
}

void Server::begin_body(store::MessageId id, WallTime now) {
    assert(waiting_ == Waiting::body);
    waiting_ = Waiting::nothing;
    phase_ = Phase::data;
    sink_open_ = true;
    id_ = id;
    arrived_ = now;
    size_ = 0;
    data_error_.clear();
    reader_ = DataReader(options_.hands_over ? DataReader::Lines::any : DataReader::Lines::crlf);
    text_ = {};
    if (!options_.hands_over) {
        intake::TextRules rules;
        rules.originated = client_.role == ClientRole::originate;
        rules.hostname = options_.hostname;
        rules.from = envelope_.reverse_path.is_null() ? "postmaster@" + options_.hostname
                                                      : envelope_.reverse_path.a_label_text();
        rules.max_received = options_.max_received;
        rules.domains = client_.domains;
        rules.sender = client_.address.text();
        mail::Received trace;
        trace.from = helo_ + " (" + client_.address.literal() + ")";
        trace.with = with();
        if (tls_) {
            trace.tls = tls_->cipher;
            trace.tls_version = tls_->version;
        }
        text_ = intake::MessageText(std::move(rules), id, now, std::move(trace), recipients_.list());
    }
    reply("354 end with <CRLF>.<CRLF>");
}

Action Server::read_data() {
    if (!reader_.ended()) {
        if (at_ == in_.size()) return action::NeedInput{};
        raw_.clear();
        at_ += reader_.feed(std::string_view(in_).substr(at_), raw_);
        size_ += raw_.size();
        if (size_ > options_.max_message_size)
            fail_data(
                fmt::format("552 5.3.4 messages have at most {} octets here", options_.max_message_size));
        if (data_error_.empty()) check_data(text_.feed(raw_));
        if (data_error_.empty() && reader_.ended()) check_data(text_.finish());
    }
    if (data_error_.empty() && !text_.piece().empty()) {
        waiting_ = Waiting::write;
        return action::WriteBody{text_.piece()};
    }
    if (reader_.ended()) end_data();
    return next();
}

void Server::written(const store::Result<void>& result) {
    assert(waiting_ == Waiting::write);
    waiting_ = Waiting::nothing;
    text_.piece_written();
    if (!result) fail_data(intake::reply_of(intake::not_stored(result.error())));
}

void Server::check_data(const intake::Result<void>& result) {
    if (!result) fail_data(intake::reply_of(result.error()));
}

// What follows up to the final dot is read and thrown away; then the reply is given (RFC 1870 §6.3).
void Server::fail_data(std::string reply) {
    if (!data_error_.empty()) return;
    data_error_ = std::move(reply);
    text_.piece_written();
    drop_body();
}

void Server::drop_body() {
    if (std::exchange(sink_open_, false)) queued_.emplace_back(action::DropBody{});
}

void Server::end_data() {
    phase_ = Phase::command;
    prompt_ = true;
    if (reader_.bare_line_end() && client_.role == ClientRole::relay)
        check_data(
            fail(intake::Errc::bare_line_end, "a carriage return or line feed stands alone in the message"));
    check_data(text_.judge(size_));
    if (!data_error_.empty()) {
        reject("DATA", {}, data_error_);
        return end_transaction();
    }
    if (text_.has_long_lines()) return ask(Waiting::shorten, action::ShortenLines{});
    hand_over();
}

void Server::shortened(const intake::Result<void>& result) {
    assert(waiting_ == Waiting::shorten);
    waiting_ = Waiting::nothing;
    check_data(result);
    if (data_error_.empty()) return hand_over();
    reject("DATA", {}, data_error_);
    end_transaction();
}

void Server::hand_over() {
    store::NewMessage message;
    message.id = id_;
    message.arrived = arrived_;
    text_.describe(envelope_);
    envelope_.originated = client_.role == ClientRole::originate;
    message.envelope = envelope_;
    message.recipients = recipients_.take();
    message.origin.address = client_.address.text();
    message.origin.helo = helo_;
    message.origin.with = with();
    sink_open_ = false;  // it is the message's now
    ask(Waiting::accept, action::AcceptMessage{std::move(message)});
}

void Server::accepted(const store::Result<store::MessageId>& result) {
    assert(waiting_ == Waiting::accept);
    waiting_ = Waiting::nothing;
    if (result || result.error().code == store::Errc::duplicate) {
        errors_ = 0;
        reply("250 2.0.0 " + id_.text() + " queued");
    } else {
        reject("DATA", {}, intake::reply_of(intake::not_stored(result.error())));
        if (result.error().code == store::Errc::closed) phase_ = Phase::closing;
    }
    end_transaction();
}

void Server::answered(const std::string& text) {
    assert(waiting_ == Waiting::accept);
    waiting_ = Waiting::nothing;
    if (text.starts_with('2')) errors_ = 0;
    reply(text);
    end_transaction();
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
