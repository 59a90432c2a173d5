#include "dns/name.h"

#include <gtest/gtest.h>

#include "dns/record.h"

namespace sternpost::dns {
namespace {

TEST(Domain, IsFoldedToOneForm) {  // STS-63
    EXPECT_EQ(Domain::parse("MAIL.D.Test.").value().text(), "mail.d.test");
    EXPECT_EQ(Domain::parse("b\xc3\xbc"
                            "cher.example")
                  .value()
                  .text(),
              "xn--bcher-kva.example");
    EXPECT_EQ(Domain::parse("_mta-sts.example.com").value().text(), "_mta-sts.example.com");
}

TEST(Domain, RefusesWhatIsNoName) {
    const std::string long_label(64, 'a');
    const std::string long_name = std::string(63, 'a') + "." + std::string(63, 'b') + "." +
                                  std::string(63, 'c') + "." + std::string(62, 'd');
    for (const std::string& text :
         {std::string(), std::string("."), std::string("a..b"), std::string("a b"), std::string("-a.b"),
          std::string("a/b"), long_label + ".test", long_name, std::string("a\0b", 3)})
        EXPECT_FALSE(Domain::parse(text)) << text;
}

TEST(Address, KnowsWhatIsNoPlaceOnTheInternet) {  // SMTP-39, FIELD-NOTES 23
    for (const char* text : {"127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.1.1",
                             "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1",
                             "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "ff02::1"})
        EXPECT_TRUE(Address::parse(text).value().is_special()) << text;
    for (const char* text : {"8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"})
        EXPECT_FALSE(Address::parse(text).value().is_special()) << text;
}

TEST(Network, ContainsByPrefix) {
    const auto network = Network::parse("192.0.2.128/25").value();
    EXPECT_TRUE(network.contains(Address::parse("192.0.2.200").value()));
    EXPECT_FALSE(network.contains(Address::parse("192.0.2.100").value()));
    EXPECT_FALSE(network.contains(Address::parse("::1").value()));
    EXPECT_FALSE(Network::parse("192.0.2.0/33"));
    EXPECT_FALSE(Network::parse("192.0.2.0/"));
}

TEST(Network, AClientIsAnAddressOrASlash64) {
    const auto of = [](const char* address) {
        return Network::of_client(Address::parse(address).value()).text();
    };
    EXPECT_EQ(of("192.0.2.7"), "192.0.2.7/32");
    EXPECT_EQ(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    EXPECT_EQ(of("2001:db8:1:2::9"), of("2001:db8:1:2:ffff::"));
    EXPECT_NE(of("2001:db8:1:2::9"), of("2001:db8:1:3::9"));
}

}  // namespace
}  // namespace sternpost::dns
