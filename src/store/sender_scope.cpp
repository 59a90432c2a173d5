#include "store/sender_scope.h"

#include "dns/name.h"
#include "dns/record.h"
#include "mail/address.h"
#include "util/text.h"

namespace sternpost::store {
namespace {

// What follows `uid:`, `uid=` or `uid ` in any case; nullopt: it is another form.
std::optional<std::string_view> behind(std::string_view text, std::string_view keyword) {
    if (!istarts_with(text, keyword) || text.size() <= keyword.size()) return std::nullopt;
    const char separator = text[keyword.size()];
    if (separator != ':' && separator != '=' && separator != ' ') return std::nullopt;
    return trimmed(text.substr(keyword.size() + 1));
}

std::optional<std::string> uid_scope(std::string_view digits) {
    const auto uid = decimal(digits);
    if (!uid || *uid > UINT32_MAX) return std::nullopt;
    return "uid " + std::to_string(*uid);
}

}  // namespace

std::optional<std::string> parse_sender_scope(
    std::string_view text, const std::function<std::optional<std::uint32_t>(const std::string&)>& uid_of) {
    text = trimmed(text);
    if (text == "<>") return "<>";
    if (const auto digits = behind(text, "uid")) return uid_scope(*digits);
    if (const auto user = behind(text, "user")) {
        if (auto number = uid_scope(*user)) return number;
        const auto uid = uid_of(std::string(*user));
        return uid ? std::optional("uid " + std::to_string(*uid)) : std::nullopt;
    }
    if (text.starts_with('<') && text.ends_with('>')) text = text.substr(1, text.size() - 2);
    if (const auto address = dns::Address::parse(text)) return address->text();
    if (const auto network = dns::Network::parse(text)) return network->text();
    if (text.starts_with("*@")) text.remove_prefix(1);
    const auto at = text.rfind('@');
    if (at != std::string_view::npos && at > 0) {
        const auto mailbox = mail::Mailbox::parse(text, true);
        return mailbox ? std::optional(mailbox->text()) : std::nullopt;
    }
    const auto domain = dns::Domain::parse(text.substr(at == 0 ? 1 : 0));
    if (!domain || domain->text().find('.') == std::string::npos) return std::nullopt;
    return "@" + domain->text();
}

bool is_sender(const StoredMessage& message, std::string_view scope) {
    const mail::ReversePath& path = message.envelope.reverse_path;
    if (scope == "<>") return path.is_null();
    if (scope.starts_with("uid "))
        return message.origin.uid && message.message_class == MessageClass::mail &&
               scope.substr(4) == std::to_string(*message.origin.uid);
    if (scope.starts_with('@')) {
        if (path.is_null()) return false;
        const std::string text = path.a_label_text();
        return text.size() > scope.size() &&
               iequals(std::string_view(text).substr(text.size() - scope.size()), scope);
    }
    if (scope.find('@') != std::string_view::npos) return iequals(path.text(), scope);
    if (message.message_class != MessageClass::mail || message.origin.address.empty()) return false;
    if (message.origin.address == scope) return true;
    const auto client = dns::Address::parse(message.origin.address);
    const auto network = dns::Network::parse(scope);
    return client && network && network->contains(*client);
}

}  // namespace sternpost::store
