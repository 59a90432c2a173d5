#include "delivery/notice_counts.h"

#include <algorithm>

#include "util/text.h"

namespace sternpost::delivery {
namespace {

constexpr std::size_t most_counted = 100'000;  // ours: messages, and mailboxes, whose notices are counted
constexpr std::size_t mailboxes_of_domain =
    10;  // ours: a domain may have as many notices as so many mailboxes

// Spellings of one mailbox count together: hosts do not tell them apart, as a rule, and whoever forges
// senders could make any number of them.
std::string key_of(const mail::Mailbox& mailbox) {
    std::string local;
    bool escaped = false;
    for (const char c : mailbox.local_part()) {
        if (!escaped && (c == '"' || c == '\\')) {
            escaped = c == '\\';
            continue;
        }
        escaped = false;
        local += lower(c);
    }
    return local.substr(0, std::max<std::size_t>(local.find('+'), 1)) + "@" + mailbox.host();
}

}  // namespace

bool NoticeCounts::count(store::MessageId message, const mail::Mailbox& to, WallTime now) {
    const auto today = std::chrono::floor<std::chrono::days>(now);
    if (today > today_) {  // a clock that is set back over midnight gives no one a second day
        today_ = today;
        per_mailbox_.clear();
    }
    const auto of_message = per_message_.find(message.value);
    if (of_message != per_message_.end() && of_message->second >= most_per_message_) return false;
    const std::string mailbox = key_of(to);
    const std::string domain = mailbox.substr(mailbox.rfind('@'));
    const auto known = [this](const std::string& key) {
        const auto of = per_mailbox_.find(key);
        return of == per_mailbox_.end() ? nullptr : &of->second;
    };
    std::size_t* const of_mailbox = known(mailbox);
    std::size_t* const of_domain = known(domain);
    const auto full = [](const std::size_t* sent, std::size_t most) {
        return most != 0 && sent != nullptr && *sent >= most;
    };
    if (full(of_mailbox, most_per_day_) || full(of_domain, most_per_day_ * mailboxes_of_domain)) return false;
    if (per_message_.size() >= most_counted) per_message_.clear();
    ++per_message_[message.value];
    const auto add = [this](std::size_t* sent, const std::string& key, std::size_t most) {
        if (sent != nullptr)
            ++*sent;
        else if (per_mailbox_.size() < most)
            per_mailbox_.emplace(key, 1);
    };
    // Beyond so many mailboxes, those that come new are counted by their domain alone.
    add(of_mailbox, mailbox, most_counted);
    add(of_domain, domain, 2 * most_counted);
    return true;
}

void NoticeCounts::take_back(store::MessageId message, const mail::Mailbox& to) {
    if (const auto of = per_message_.find(message.value); of != per_message_.end() && of->second > 0)
        --of->second;
    const std::string mailbox = key_of(to);
    for (const std::string& key : {mailbox, mailbox.substr(mailbox.rfind('@'))})
        if (const auto of = per_mailbox_.find(key); of != per_mailbox_.end() && of->second > 0) --of->second;
}

}  // namespace sternpost::delivery
