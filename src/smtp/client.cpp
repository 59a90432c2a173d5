#include "smtp/client.h"

#include <algorithm>
#include <cassert>

#include "smtp/command.h"
#include "smtp/limits.h"

namespace sternpost::smtp {

std::chrono::milliseconds ClientTimeouts::of(Stage stage) const {
    switch (stage) {
        case Stage::connect:
            return connect;
        case Stage::greeting:
            return greeting;
        case Stage::helo:
            return helo;
        case Stage::starttls:
        case Stage::handshake:
            return starttls;
        case Stage::mail:
            return mail;
        case Stage::rcpt:
            return rcpt;
        case Stage::data:
            return data;
        case Stage::body:
            return data_block;
        case Stage::dot:
            return dot;
        case Stage::quit:
            return quit;
    }
    return quit;
}

Transaction::Transaction(const mail::Envelope& envelope, std::vector<mail::Recipient> recipients,
                         std::uint64_t size, bool eight_bit, const Extensions& offered)
    : envelope_(envelope),
      recipients_(std::move(recipients)),
      size_(size),
      eight_bit_(eight_bit),
      offered_(offered),
      outcomes_(recipients_.size()),
      accepted_(recipients_.size(), false) {
    assert(!recipients_.empty());
}

std::size_t Transaction::in_flight() const {
    std::size_t sum = 0;
    for (const Expected& e : expected_) sum += e.octets;
    return sum;
}

// With PIPELINING, MAIL, all RCPT and DATA form one group (RFC 2920 §3.1), sent in windows; without, one
// command at a time.
void Transaction::queue_commands() {
    const auto room = [&] { return offered_.pipelining ? in_flight() < pipeline_window : expected_.empty(); };
    const auto send = [&](Expect what, std::size_t recipient, std::string line) {
        line += "\r\n";
        expected_.push_back({what, recipient, line.size()});
        out_ += line;
    };
    if (!mail_sent_ && room()) {
        mail_sent_ = true;
        send(Expect::mail, 0, mail_from(envelope_, size_, eight_bit_, offered_));
    }
    while (!mail_refused_ && next_recipient_ < recipients_.size() && room()) {
        send(Expect::rcpt, next_recipient_,
             rcpt_to(recipients_[next_recipient_], offered_.smtputf8 && envelope_.smtputf8, offered_));
        ++next_recipient_;
    }
    if (!mail_refused_ && !data_sent_ && next_recipient_ == recipients_.size() && room()) {
        // Once every answer is in and all said no there is nothing to send (SMTP-23).
        const bool all_refused =
            expected_.empty() && std::none_of(accepted_.begin(), accepted_.end(), [](bool a) { return a; });
        if (!all_refused) {
            data_sent_ = true;
            send(Expect::data, 0, "DATA");
        }
    }
}

Transaction::Action Transaction::next() {
    if (finished_) return Finished{reusable_};
    if (message_due_) {
        message_due_ = false;
        expected_.push_back({Expect::dot, 0, 0});
        return SendMessage{};
    }
    if (lone_dot_due_) {
        lone_dot_due_ = false;
        expected_.push_back({Expect::lone_dot, 0, 0});
        return Send{".\r\n"};  // RFC 2920 §3.1: the server waits for data though no one may have it
    }
    queue_commands();
    if (expected_.empty() && rset_due_) {  // RFC 5321 §4.1.4: an aborted transaction is ended before the next
        rset_due_ = false;
        expected_.push_back({Expect::rset, 0, 6});
        out_ += "RSET\r\n";
    }
    if (!out_.empty()) return Send{std::exchange(out_, {})};
    if (expected_.empty()) {
        finished_ = true;
        return Finished{reusable_};
    }
    switch (expected_.front().what) {
        case Expect::mail:
            return Await{Stage::mail};
        case Expect::rcpt:
            return Await{Stage::rcpt};
        case Expect::data:
            return Await{Stage::data};
        case Expect::lone_dot:
        case Expect::dot:
            return Await{Stage::dot};
        case Expect::rset:
            return Await{Stage::quit};
    }
    return Finished{false};
}

void Transaction::fail_open(const Failure& failure) {
    for (std::size_t i = 0; i < recipients_.size(); ++i)
        if (!outcomes_[i].failure && outcomes_[i].reply.code == 0) outcomes_[i].failure = failure;
}

void Transaction::on_reply(const Reply& reply) {
    assert(!expected_.empty());
    const Expected owed = expected_.front();
    expected_.pop_front();
    const auto negative = [&](Stage stage) {
        return Failure{stage, Errc::reply_negative, reply.text(), reply};
    };
    if (reply.code == 421) {  // RFC 5321 §3.8: the server closes, whatever the command was
        const Stage stage = owed.what == Expect::mail   ? Stage::mail
                            : owed.what == Expect::rcpt ? Stage::rcpt
                            : owed.what == Expect::data ? Stage::data
                                                        : Stage::dot;
        fail_open(negative(stage));
        expected_.clear();
        out_.clear();
        finished_ = true;
        reusable_ = false;
        return;
    }
    switch (owed.what) {
        case Expect::mail:
            mail_answered_ = true;
            if (!reply.positive()) {
                mail_refused_ = true;
                fail_open(negative(Stage::mail));
                rset_due_ = true;
            }
            return;
        case Expect::rcpt:
            if (mail_refused_) return;
            if (reply.positive())
                accepted_[owed.recipient] = true;
            else
                outcomes_[owed.recipient].failure = negative(Stage::rcpt);
            if (expected_.empty() && next_recipient_ == recipients_.size() && !data_sent_ &&
                std::none_of(accepted_.begin(), accepted_.end(), [](bool a) { return a; }))
                rset_due_ = true;
            return;
        case Expect::data: {
            const bool any =
                !mail_refused_ && std::any_of(accepted_.begin(), accepted_.end(), [](bool a) { return a; });
            if (reply.severity() == 3) {
                if (any)
                    message_due_ = true;
                else
                    lone_dot_due_ = true;
                rset_due_ = false;
                return;
            }
            // A positive reply to DATA is no answer that SMTP knows; not an octet of the message goes out
            // (SMTP-09).
            if (any) fail_open(negative(Stage::data));
            rset_due_ = true;
            return;
        }
        case Expect::lone_dot:
            return;
        case Expect::dot:
            for (std::size_t i = 0; i < recipients_.size(); ++i) {
                if (!accepted_[i]) continue;
                if (reply.positive())
                    outcomes_[i].reply = reply;
                else
                    outcomes_[i].failure = negative(Stage::dot);
            }
            return;
        case Expect::rset:
            if (!reply.positive()) reusable_ = false;
            return;
    }
}

void Transaction::on_failure(Errc code, std::string text, std::optional<Stage> known) {
    Stage stage = known.value_or(Stage::mail);
    if (!known && !expected_.empty()) {
        switch (expected_.front().what) {
            case Expect::mail:
                stage = Stage::mail;
                break;
            case Expect::rcpt:
                stage = Stage::rcpt;
                break;
            case Expect::data:
                stage = Stage::data;
                break;
            case Expect::lone_dot:
            case Expect::dot:
                stage = Stage::dot;
                break;
            case Expect::rset:
                stage = Stage::quit;
                break;
        }
    }
    fail_open(Failure{stage, code, std::move(text), std::nullopt});
    expected_.clear();
    out_.clear();
    message_due_ = lone_dot_due_ = rset_due_ = false;
    finished_ = true;
    reusable_ = false;
}

}  // namespace sternpost::smtp
