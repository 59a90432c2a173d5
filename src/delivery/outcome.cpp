#include "delivery/outcome.h"

#include <algorithm>

#include "util/text.h"

namespace sternpost::delivery {
namespace {

using smtp::Errc;
using smtp::Stage;
using store::RecipientState;

// The receiving side has no PTR record for our IPv6 address, or does not like it: IPv4 may do (D-21,
// FIELD-NOTES §3.10).
bool names_ptr(const smtp::Reply& reply) {
    if (reply.enhanced() == "5.7.25") return true;
    const std::string text = lowered(reply.text());
    return text.find("ptr") != std::string::npos || text.find("reverse dns") != std::string::npos;
}

// A host that asks strangers to come again says so in words alone: its code stands for other refusals too.
bool greylists(const smtp::Reply& reply) {
    const std::string text = lowered(reply.text());
    for (const std::string_view word :
         {"greylist", "graylist", "grey-list", "gray-list", "grey list", "gray list"})
        if (text.find(word) != std::string::npos) return true;
    return false;
}

// A reply that speaks of our host or rate, not of this recipient: everybody for this hop has to wait.
bool blames_us(const smtp::Failure& failure) {
    if (failure.reply->code == 421) return true;
    return failure.stage == Stage::mail && failure.reply->temporary() &&
           failure.reply->enhanced().starts_with("4.7.");
}

}  // namespace

std::string status_of(const smtp::Reply& reply) {
    if (const std::string enhanced = reply.enhanced(); !enhanced.empty()) return enhanced;
    switch (reply.code) {
        case 421:
            return "4.3.2";
        case 450:
            return "4.2.0";
        case 451:
            return "4.3.0";
        case 452:
            return "4.3.1";
        case 500:
        case 501:
        case 502:
        case 503:
        case 504:
            return "5.5.0";
        case 530:
            return "5.7.0";
        case 552:
            return "5.3.4";
        case 553:
            return "5.1.3";
        case 556:
            return "5.1.10";
        default:
            return std::to_string(reply.severity() == 5 ? 5 : 4) + ".0.0";
    }
}

queue::RecipientResult refused_by_offer(const Adaptation& adaptation) {
    queue::RecipientResult out;
    out.result.state = RecipientState::bounced;
    out.result.text = adaptation.text;
    switch (adaptation.misfit) {
        case Misfit::none:
        case Misfit::too_large:
            out.result.status = "5.3.4";
            break;
        case Misfit::utf8:
            out.result.status = "5.6.7";  // RFC 6531 §3.5
            break;
        case Misfit::eight_bit:
            out.result.status = "5.6.3";
            break;
    }
    return out;
}

queue::Statuses queue_statuses() {
    return {.delayed = "4.4.7", .expired = "5.4.7", .deleted = "5.0.0"};
}

NextStep after_failed_open(const smtp::Failure& failure, bool clear_text_allowed) {
    const auto tls_trouble = [&] {
        return failure.stage == Stage::handshake || failure.stage == Stage::starttls;
    };
    switch (failure.code) {
        case Errc::handshake_failed:
        case Errc::injected_octets:
        case Errc::starttls_refused:
            return clear_text_allowed ? NextStep::clear_text : NextStep::next_host;
        case Errc::timed_out:
        case Errc::closed:
        case Errc::io:
        case Errc::reply_malformed:
        case Errc::reply_too_long:
            return clear_text_allowed && tls_trouble() ? NextStep::clear_text : NextStep::next_host;
        case Errc::connect_refused:
        case Errc::connect_timed_out:
        case Errc::network_unreachable:
        case Errc::source_unusable:
        case Errc::no_passage:
        case Errc::loop:
        case Errc::reply_negative:
        case Errc::starttls_not_offered:
        case Errc::body_unreadable:
        case Errc::body_damaged:
        case Errc::not_convertible:
        case Errc::not_signed:
        case Errc::aborted:
            return NextStep::next_host;
    }
    return NextStep::next_host;
}

std::string sentence_of(const smtp::Failure& failure) {
    const std::string where(smtp::name_of(failure.stage));
    switch (failure.code) {
        case Errc::connect_refused:
            return "no connection: " + failure.text;
        case Errc::connect_timed_out:
            return "no connection: " + failure.text;
        case Errc::network_unreachable:
        case Errc::source_unusable:
            return failure.text;
        case Errc::no_passage:
            return "not dialled: " + failure.text;
        case Errc::loop:
            return failure.text;
        case Errc::timed_out:
            return "no answer in time at " + where;
        case Errc::closed:
            return "the host closed the connection at " + where;
        case Errc::io:
            return "the connection broke at " + where + ": " + failure.text;
        case Errc::reply_malformed:
        case Errc::reply_too_long:
            return "not SMTP at " + where + ": " + failure.text;
        case Errc::reply_negative:
            return "the host answered " + where + " with: " + failure.text;
        case Errc::starttls_not_offered:
            return "the host does not offer STARTTLS";
        case Errc::starttls_refused:
            return "the host refuses STARTTLS: " + failure.text;
        case Errc::injected_octets:
            return failure.text;
        case Errc::handshake_failed:
            return "the TLS handshake failed: " + failure.text;
        case Errc::body_unreadable:
            return "the message cannot be read here: " + failure.text;
        case Errc::body_damaged:
            return "the message was damaged on the disk of this mail system and cannot be sent: " +
                   failure.text;
        case Errc::not_convertible:
            return "the host does not offer 8BITMIME, and the message cannot be converted to 7 bit: " +
                   failure.text;
        case Errc::not_signed:
            return failure.text;
        case Errc::aborted:
            return "given up: we are stopping";
    }
    return failure.text;
}

namespace {

// By a reply of the host.
void refused(Meaning& out, const smtp::Failure& failure, const TransactionFacts& facts) {
    store::DeliveryResult& result = out.recipient_result.result;
    const smtp::Reply& reply = *failure.reply;
    result.diagnostic = reply.text();
    result.status = status_of(reply);
    const std::string enhanced = reply.enhanced();
    if (failure.stage == Stage::rcpt && facts.any_accepted) {
        // Too many recipients (RFC 5321 §4.5.3.1.10): the rest goes in a further transaction. An
        // enhanced code decides (RFC 3463: X.5.3); without one 552 means it too (D-30).
        const bool too_many = enhanced.ends_with(".5.3") ||
                              (reply.code == 452 && !enhanced.starts_with("4.2.")) ||
                              (reply.code == 552 && enhanced.empty());
        if (too_many) {
            out.recipient_result.again = true;
            return;
        }
    }
    if (facts.reused && failure.stage == Stage::mail && reply.code == 421) {
        out.reconnect = true;
        return;
    }
    if (reply.permanent() && failure.stage == Stage::rcpt && enhanced == "5.5.3") {
        result.status = "4.5.3";  // of a first recipient: the host counts what it had in earlier transactions
        return;
    }
    if (reply.permanent()) {
        if (facts.over_ipv6 && names_ptr(reply)) result.reason_code = store::ReasonCode::ipv6_without_ptr;
        if (facts.over_ipv6 && facts.other_family && names_ptr(reply)) {
            out.other_family = true;
            return;
        }
        result.state = RecipientState::bounced;
        return;
    }
    out.recipient_result.blames_hop = blames_us(failure);
    if (greylists(reply)) result.reason_code = store::ReasonCode::greylisted;
    if (!reply.temporary())
        result.status = "4.5.0";  // 2yz or 3yz where neither fits: a confused server (SMTP-08)
}

// Without a reply. After the final dot the message may have arrived.
void connection_lost(Meaning& out, const smtp::Failure& failure, const TransactionFacts& facts) {
    store::DeliveryResult& result = out.recipient_result.result;
    if (failure.stage == Stage::dot) {
        // It may have arrived: sending it again soon would double it (RFC 1047). Thirty minutes,
        // doubling.
        result.text = "possibly-delivered: " + result.text + " after the whole message was sent";
        result.reason_code = store::ReasonCode::possibly_delivered;
        result.lost_replies = facts.lost_replies + 1;
        out.recipient_result.least_wait = std::chrono::minutes(30) * (1 << std::min(facts.lost_replies, 6U));
    } else if (facts.reused && failure.stage == Stage::mail && failure.code != Errc::timed_out) {
        out.reconnect = true;  // the host had ended an idle session: that is no one's fault
    }
}

}  // namespace

Meaning meaning_of(const smtp::RecipientOutcome& outcome, const TransactionFacts& facts) {
    Meaning out;
    store::DeliveryResult& result = out.recipient_result.result;
    if (!outcome.failure) {
        result.state = RecipientState::sent;
        result.status = status_of(outcome.reply);
        if (!result.status.starts_with('2')) result.status = "2.0.0";
        result.text = outcome.reply.text();
        result.diagnostic = outcome.reply.text();
        return out;
    }
    const smtp::Failure& failure = *outcome.failure;
    result.text = sentence_of(failure);
    result.state = RecipientState::queued;
    switch (failure.code) {
        case Errc::reply_negative:
            refused(out, failure, facts);
            return out;
        case Errc::timed_out:
        case Errc::closed:
        case Errc::io:
        case Errc::reply_malformed:
        case Errc::reply_too_long:
            result.status = "4.4.2";
            connection_lost(out, failure, facts);
            return out;
        case Errc::body_unreadable:
            result.status = "4.3.0";
            return out;
        case Errc::body_damaged:  // it was acknowledged and is lost: its sender is told (doc/formats.md)
            result.status = "5.3.0";
            result.state = RecipientState::bounced;
            return out;
        case Errc::not_convertible:  // RFC 6152 §3
            result.status = "5.6.3";
            result.state = RecipientState::bounced;
            return out;
        case Errc::not_signed:  // RFC 3463 §3.8: X.7.5
            result.status = "4.7.5";
            result.reason_code = store::ReasonCode::dkim_key;
            return out;
        case Errc::aborted:
            result.status = "4.3.2";
            return out;
        case Errc::connect_refused:
        case Errc::connect_timed_out:
        case Errc::network_unreachable:
        case Errc::source_unusable:
        case Errc::no_passage:
        case Errc::loop:
        case Errc::starttls_not_offered:
        case Errc::starttls_refused:
        case Errc::injected_octets:
        case Errc::handshake_failed:
            result.status = "4.4.1";
            return out;
    }
    return out;
}

}  // namespace sternpost::delivery
