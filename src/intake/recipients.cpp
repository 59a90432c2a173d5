#include "intake/recipients.h"

namespace sternpost::intake {

void Recipients::add(mail::ForwardPath path, const mail::Notify& notify, std::string orcpt) {
    if (!known_.insert(path.text()).second) return;
    std::string hop = path.mailbox().host();
    mail::Recipient recipient(std::move(path));
    recipient.notify = notify;
    recipient.orcpt = std::move(orcpt);
    list_.emplace_back(std::move(recipient), std::move(hop));
}

void Recipients::clear() {
    list_.clear();
    known_.clear();
}

std::vector<store::QueuedRecipient> Recipients::take() {
    auto out = std::move(list_);
    clear();
    return out;
}

}  // namespace sternpost::intake
