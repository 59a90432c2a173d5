// Which mail an administrator means by a sender: one syntax for every verb, for suspensions and for limits.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "store/message.h"

namespace sternpost::store {

/// The forms, for help texts and refusals.
inline constexpr std::string_view sender_forms =
    "a reverse-path such as a@example.com, <> (the null one), a domain such as example.com, a client's "
    "address or network, or "
    "a user such as user:www-data or uid:33";

/// What is kept of such a scope: `a@example.com`, `<>`, `@example.com`, `192.0.2.1`, `192.0.2.0/24`, `uid
/// 33`. Takes all forms that people write: also `uid=33`, `uid 33`, `user:33` and `@example.com`. `uid_of`:
/// the uid of a login name. nullopt: none of the forms, or no such user.
std::optional<std::string> parse_sender_scope(
    std::string_view text, const std::function<std::optional<std::uint32_t>(const std::string&)>& uid_of);

/// Whether a kept scope means the message.
bool is_sender(const StoredMessage& message, std::string_view scope);

}  // namespace sternpost::store
