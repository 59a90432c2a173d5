// The recipients of one message on its way in, each once. Pure.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "mail/address.h"
#include "mail/envelope.h"
#include "store/message.h"

namespace sternpost::intake {

/// What stands between the angle brackets, or a bare name, to a routable forward-path (mail::LocalNames);
/// true: with SMTPUTF8. Must be callable on every thread that takes mail.
using ResolveRecipient = std::function<mail::Result<mail::ForwardPath>(std::string_view, bool)>;

class Recipients {
  public:
    /// A recipient that is there already is not added again.
    void add(mail::ForwardPath path, const mail::Notify& notify, std::string orcpt = {});
    void clear();
    bool empty() const { return list_.empty(); }
    std::size_t size() const { return list_.size(); }
    const std::vector<store::QueuedRecipient>& list() const { return list_; }
    /// Taken out; nothing is left.
    std::vector<store::QueuedRecipient> take();

  private:
    std::vector<store::QueuedRecipient> list_;
    std::unordered_set<std::string> known_;  // their paths
};

}  // namespace sternpost::intake
