#include "store/sender_scope.h"

#include <gtest/gtest.h>

namespace sternpost::store {
namespace {

std::optional<std::uint32_t> uid_of(const std::string& login) {
    return login == "www-data" ? std::optional<std::uint32_t>(33) : std::nullopt;
}

StoredMessage from(std::string_view reverse_path, std::string address, std::optional<std::uint32_t> uid) {
    StoredMessage out;
    if (!reverse_path.empty())
        out.envelope.reverse_path = mail::ReversePath::parse(reverse_path, true).value();
    out.origin.address = std::move(address);
    out.origin.uid = uid;
    return out;
}

TEST(SenderScope, TakesEveryFormThatPeopleWrite) {
    const std::pair<std::string_view, std::string_view> rows[] = {
        {"<>", "<>"},
        {"a@example.com", "a@example.com"},
        {"<a@example.com>", "a@example.com"},
        {"@Example.com", "@example.com"},
        {"*@example.com", "@example.com"},
        {"example.com", "@example.com"},
        {"192.0.2.1", "192.0.2.1"},
        {"192.0.2.0/24", "192.0.2.0/24"},
        {"2001:db8::/32", "2001:db8::/32"},
        {"2001:DB8::1", "2001:db8::1"},
        {"uid 33", "uid 33"},
        {"uid=33", "uid 33"},
        {"uid:33", "uid 33"},
        {"user:33", "uid 33"},
        {"user:www-data", "uid 33"},
        {" user=www-data ", "uid 33"},
    };
    for (const auto& [text, scope] : rows) EXPECT_EQ(parse_sender_scope(text, uid_of), scope) << text;
}

TEST(SenderScope, RefusesWhatItDoesNotKnow) {
    for (const std::string_view text : {"", "user:nobody-here", "uid=-1", "uid=99999999999", "www-data", "a@",
                                        "192.0.2.0/33", "user:", "uid", "sender:x@example.com", "@", "a b"})
        EXPECT_EQ(parse_sender_scope(text, uid_of), std::nullopt) << text;
}

TEST(SenderScope, MeansWhatItSays) {
    const auto client = from("a@Example.com", "192.0.2.7", std::nullopt);
    const auto user = from("b@sub.example.com", "", 33);
    const auto null = from("", "2001:db8::7", std::nullopt);
    const auto means = [](std::string_view text, const StoredMessage& message) {
        return is_sender(message, parse_sender_scope(text, uid_of).value());
    };
    EXPECT_TRUE(means("a@example.com", client));
    EXPECT_FALSE(means("b@example.com", client));
    EXPECT_TRUE(means("example.com", client));
    EXPECT_FALSE(means("example.com", user)) << "a domain is not those under it";
    EXPECT_TRUE(means("192.0.2.7", client));
    EXPECT_TRUE(means("192.0.2.0/24", client));
    EXPECT_FALSE(means("198.51.100.0/24", client));
    EXPECT_FALSE(means("0.0.0.0/0", user)) << "a user is no client";
    EXPECT_TRUE(means("2001:db8::/32", null));
    EXPECT_TRUE(means("user:www-data", user));
    EXPECT_FALSE(means("uid=34", user));
    EXPECT_FALSE(means("uid=33", client));
    EXPECT_TRUE(means("<>", null));
    EXPECT_FALSE(means("<>", client));
}

}  // namespace
}  // namespace sternpost::store
