// The server's side of DATA: octets become a body, the body a message, and the store's answer the reply.
#include <fmt/format.h>

#include <cassert>

#include "mail/trace.h"
#include "smtp/server.h"
#include "util/text.h"

namespace sternpost::smtp {

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

}  // namespace sternpost::smtp
