#include "mail/sender_domains.h"

#include <gtest/gtest.h>

#include "dns/organizational.h"

namespace sternpost::mail {
namespace {

SenderDomains::Rule client(std::string_view network, std::vector<std::string> domains) {
    return {"[[client]] " + std::string(network), dns::Network::parse(network).value(), "",
            std::move(domains)};
}

SenderDomains::Rule user(std::string name, std::vector<std::string> domains) {
    return {"[[sender]] user:" + name, std::nullopt, name, std::move(domains)};
}

TEST(SenderDomains, AreThoseOfTheMostSpecificNetwork) {
    const SenderDomains all(
        {client("10.0.0.0/8", {"all.example"}), client("10.1.0.0/16", {"b.example", ".b.example"})});
    const auto of = [&](std::string_view address) {
        return all.of_client(dns::Address::parse(address).value());
    };
    EXPECT_EQ(of("192.0.2.1"), nullptr);
    EXPECT_TRUE(of("10.2.0.1")->allows("all.example"));
    const auto* b = of("10.1.0.1");
    EXPECT_TRUE(b->allows("b.example"));
    EXPECT_TRUE(b->allows("mail.b.example"));
    EXPECT_FALSE(b->allows("all.example"));
    EXPECT_FALSE(b->allows("evilb.example"));
    EXPECT_FALSE(of("10.2.0.1")->allows("sub.all.example"))
        << "a name without a dot in front is that name alone";
}

TEST(SenderDomains, KnowUsersByNameAndByNumber) {
    const SenderDomains all({user("www-data", {"shop.example"}), user("1000", {"ann.example"})});
    EXPECT_TRUE(all.of_user(33, "www-data")->allows("shop.example"));
    EXPECT_TRUE(all.of_user(1000, "ann")->allows("ann.example"));
    EXPECT_EQ(all.of_user(34, "backup"), nullptr);
    EXPECT_EQ(all.of_user(0, ""), nullptr) << "no name is nobody's name";
}

TEST(SenderDomains, AreReadAsTheyAreCompared) {
    EXPECT_EQ(parse_sender_domain("Example.COM"), "example.com");
    EXPECT_EQ(parse_sender_domain(".Example.COM"), ".example.com");
    EXPECT_EQ(parse_sender_domain("b\xc3\xbc"
                                  "cher.example"),
              "xn--bcher-kva.example");
    EXPECT_EQ(parse_sender_domain("a@example.com"), std::nullopt);
    EXPECT_EQ(parse_sender_domain("*.example.com"), std::nullopt);
}

TEST(OrganizationalDomain, IsWhatCanBeRegistered) {
    const auto of = [](std::string_view text) {
        return dns::organizational_domain(dns::Domain::parse(text).value());
    };
    EXPECT_EQ(of("mail.example.com"), "example.com");
    EXPECT_EQ(of("a.b.example.co.uk"), "example.co.uk");
    EXPECT_EQ(of("example.com"), "example.com");
    EXPECT_EQ(of("customer.github.io"), "customer.github.io");
}

}  // namespace
}  // namespace sternpost::mail
