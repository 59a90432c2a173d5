// By which rule the sender of a message may write, and so be signed, as which domains (D-47). Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "mail/sender_domains.h"
#include "store/message.h"

namespace sternpost::delivery {

struct WriteRule {
    std::string sender;  // who handed it in, for people: `the client 192.0.2.7`; empty: this relay itself
    const mail::SenderDomains::Rule* rule = nullptr;  // of `domains`; null: no one has said
};

/// `login_of`: the login name of a uid; empty where it has none.
WriteRule write_rule_of(const mail::SenderDomains& domains,
                        const std::function<std::string(std::uint32_t)>& login_of,
                        const store::StoredMessage& message);

/// The rule in words. Empty: the message is relayed, or this relay's own.
std::string sentence_of(const WriteRule& found, const store::StoredMessage& message);

}  // namespace sternpost::delivery
