// What every failure means: sent, deferred or bounced; whom it blames; status code and sentence. Decided here
// only.
#pragma once

#include <string>

#include "delivery/adapt.h"
#include "queue/options.h"
#include "queue/work.h"
#include "smtp/client.h"

namespace sternpost::delivery {

/// What to do after a session could not be opened, or ended.
enum class NextStep {
    next_host,   // this one cannot have the message now
    clear_text,  // again on a fresh connection without STARTTLS, where no requirement forbids it (RFC
                 // 7435; TLS-13, TLS-14)
};

NextStep after_failed_open(const smtp::Failure& failure, bool clear_text_allowed);

/// For the end of a sentence: what happened while opening the session.
std::string sentence_of(const smtp::Failure& failure);

struct TransactionFacts {
    bool any_accepted = false;  // another recipient of the transaction was accepted
    bool over_ipv6 = false;
    bool other_family = false;  // an address of the other family may still be tried
    bool reused = false;        // the session has carried a transaction before
    unsigned lost_replies = 0;  // replies to the final dot that were lost in a row for this recipient
};

/// What the host's words mean for one recipient.
struct Meaning {
    queue::RecipientResult
        recipient_result;  // state, status, text, diagnostic are set; the reason code where the reply has one
    bool other_family = false;  // not a result yet: the other address family first (D-21)
    bool reconnect = false;     // the session was stale: the work goes back untouched
};

Meaning meaning_of(const smtp::RecipientOutcome& outcome, const TransactionFacts& facts);

/// What a message comes to that the host's offer alone rules out: it is returned.
queue::RecipientResult refused_by_offer(const Adaptation& adaptation);

/// The statuses of what ends in the queue without a reply of a host: by time, or by an administrator.
queue::Statuses queue_statuses();

/// RFC 3463 status for a reply: its own enhanced code where it has a fitting one, else by the reply code.
std::string status_of(const smtp::Reply& reply);

}  // namespace sternpost::delivery
