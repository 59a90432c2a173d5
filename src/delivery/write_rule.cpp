#include "delivery/write_rule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace sternpost::delivery {

WriteRule write_rule_of(const mail::SenderDomains& domains,
                        const std::function<std::string(std::uint32_t)>& login_of,
                        const store::StoredMessage& message) {
    if (const auto client = dns::Address::parse(message.origin.address))
        return {"the client " + client->text(), domains.of_client(*client)};
    if (!message.origin.uid) return {};
    const std::string login = login_of ? login_of(*message.origin.uid) : "";
    return {login.empty() ? "uid " + std::to_string(*message.origin.uid) : "the user " + login,
            domains.of_user(*message.origin.uid, login)};
}

std::string sentence_of(const WriteRule& found, const store::StoredMessage& message) {
    if (!message.envelope.originated || message.message_class != store::MessageClass::mail ||
        found.sender.empty())
        return "";
    if (found.rule == nullptr)
        return "no rule says what " + found.sender +
               " may write as: its mail is signed while all keys that sign belong to one organization";
    return fmt::format("the rule {} lets {} write as {}", found.rule->name, found.sender,
                       fmt::join(found.rule->domains, ", "));
}

}  // namespace sternpost::delivery
