#include "delivery/judgement.h"

#include "delivery/requirement.h"
#include "tlsrpt/result_type.h"

namespace sternpost::delivery {

Judged judge(Transaction transaction, const std::vector<smtp::RecipientOutcome>& outcomes,
             const Observation& seen) {
    const queue::Work& work = transaction.work;
    const HostPlan& host = transaction.host;
    const DialRequest& request = transaction.request;
    TransactionFacts& facts = transaction.facts;
    const Verdict verdict = decide(host.requirement, seen);
    facts.over_ipv6 = request.address.is_v6();
    for (const auto& outcome : outcomes)
        facts.any_accepted = facts.any_accepted || !outcome.failure ||
                             outcome.failure->stage == smtp::Stage::dot ||
                             outcome.failure->stage == smtp::Stage::body;
    Judged out;
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
        const auto n = work.recipients[i];
        facts.lost_replies = work.message->recipients[n].lost_replies;
        Meaning meaning = meaning_of(outcomes[i], facts);
        // The other family only if no recipient was served: else this transaction has its results.
        out.other_family = out.other_family || (meaning.other_family && !facts.any_accepted);
        if (meaning.other_family && facts.any_accepted)
            meaning.recipient_result.result.state = store::RecipientState::bounced;
        out.reconnect = out.reconnect || meaning.reconnect;
        store::DeliveryResult& result = meaning.recipient_result.result;
        result.recipient = n;
        result.mx_host = request.host ? request.host->text() : std::string();
        result.mx_address = request.address.text();
        result.relayed = result.state == store::RecipientState::sent && !transaction.opened.offered.dsn;
        result.tls = transaction.opened.evidence.version;
        result.policy = host.requirement.label();
        if (verdict.result_type) result.result_type = tlsrpt::name_of(*verdict.result_type);
        // What was lacking of TLS did not stop the mail: of a refusal it says nothing.
        if (result.state == store::RecipientState::sent) result.reason_code = verdict.reason_code;
        out.recipient_results.push_back(std::move(meaning.recipient_result));
    }
    return out;
}

}  // namespace sternpost::delivery
