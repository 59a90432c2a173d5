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
    EXPECT_TRUE(Domain::parse(long_label.substr(1) + ".test"));
    EXPECT_TRUE(Domain::parse(long_name.substr(1)));
}

struct AddressRow {
    const char* name;
    const char* address;
    bool special;
};

class AddressKind : public ::testing::TestWithParam<AddressRow> {};

TEST_P(AddressKind, KnowsWhatIsNoPlaceOnTheInternet) {  // SMTP-39, FIELD-NOTES 23, D-45
    EXPECT_EQ(Address::parse(GetParam().address).value().is_special(), GetParam().special)
        << GetParam().address;
}

INSTANTIATE_TEST_SUITE_P(
    , AddressKind,
    ::testing::Values(
        AddressRow{"ThisNetwork", "0.0.0.0", true}, AddressRow{"ThisNetworkEnd", "0.255.255.255", true},
        AddressRow{"BelowPrivate10", "9.255.255.255", false}, AddressRow{"Private10", "10.1.2.3", true},
        AddressRow{"BehindPrivate10", "11.0.0.0", false}, AddressRow{"BelowShared", "100.63.255.255", false},
        AddressRow{"Shared", "100.64.0.1", true}, AddressRow{"BehindShared", "100.128.0.0", false},
        AddressRow{"Loopback", "127.0.0.1", true}, AddressRow{"LoopbackEnd", "127.255.255.254", true},
        AddressRow{"LinkLocal", "169.254.169.254", true}, AddressRow{"BehindLinkLocal", "169.255.0.0", false},
        AddressRow{"Private172", "172.31.0.1", true}, AddressRow{"BehindPrivate172", "172.32.0.1", false},
        AddressRow{"ProtocolAssignments", "192.0.0.9", true},
        AddressRow{"BehindAssignments", "192.0.1.1", false}, AddressRow{"Documentation1", "192.0.2.1", true},
        AddressRow{"As112Dname", "192.31.196.1", true}, AddressRow{"BehindAs112Dname", "192.31.197.1", false},
        AddressRow{"Amt", "192.52.193.1", true}, AddressRow{"BehindAmt", "192.52.194.1", false},
        AddressRow{"SixToFourRelay", "192.88.99.1", true},
        AddressRow{"BehindSixToFourRelay", "192.88.100.1", false},
        AddressRow{"Private192", "192.168.1.1", true}, AddressRow{"As112", "192.175.48.1", true},
        AddressRow{"BehindAs112", "192.175.49.1", false}, AddressRow{"Benchmarking", "198.19.255.255", true},
        AddressRow{"BehindBenchmarking", "198.20.0.0", false},
        AddressRow{"Documentation2", "198.51.100.1", true}, AddressRow{"Documentation3", "203.0.113.1", true},
        AddressRow{"BelowMulticast", "223.255.255.255", false}, AddressRow{"Multicast4", "224.0.0.1", true},
        AddressRow{"Reserved4", "240.0.0.1", true}, AddressRow{"Broadcast", "255.255.255.255", true},
        AddressRow{"AHost4", "8.8.8.8", false}, AddressRow{"Unspecified6", "::", true},
        AddressRow{"Loopback6", "::1", true}, AddressRow{"MappedLoopback", "::ffff:127.0.0.1", true},
        AddressRow{"MappedPrivate", "::ffff:10.0.0.1", true},
        AddressRow{"MappedHost", "::ffff:8.8.8.8", false},
        AddressRow{"CompatibleLoopback", "::127.0.0.1", true},
        AddressRow{"CompatiblePrivate", "::10.0.0.1", true}, AddressRow{"CompatibleHost", "::8.8.8.8", false},
        AddressRow{"TranslatedLoopback", "::ffff:0:127.0.0.1", true},
        AddressRow{"TranslatedHost", "::ffff:0:8.8.8.8", false},
        AddressRow{"Nat64Loopback", "64:ff9b::7f00:1", true},
        AddressRow{"Nat64Private", "64:ff9b::a00:1", true},
        AddressRow{"Nat64Host", "64:ff9b::808:808", false},
        AddressRow{"Nat64Local", "64:ff9b:1::808:808", true},
        AddressRow{"Nat64LocalLoopback", "64:ff9b:1::7f00:1", true},
        AddressRow{"DiscardOnly", "100::1", true}, AddressRow{"DummyPrefix", "100:0:0:1::1", true},
        AddressRow{"Unallocated1", "1000::1", true},
        AddressRow{"TeredoServer", "2001:0:7f00:1::f7f7:f7f7", true},
        AddressRow{"TeredoClient", "2001:0:808:808:0:0:80ff:fffe", true},
        AddressRow{"TeredoHost", "2001:0:808:808:0:0:f7f7:f7f7", false},
        AddressRow{"PortControl", "2001:1::1", true}, AddressRow{"Turn", "2001:1::2", true},
        AddressRow{"Benchmarking6", "2001:2::1", true}, AddressRow{"Amt6", "2001:3::1", true},
        AddressRow{"As112Dname6", "2001:4:112::1", true}, AddressRow{"Orchid", "2001:10::1", true},
        AddressRow{"Orchid2", "2001:20::1", true}, AddressRow{"DroneTags", "2001:30::1", true},
        AddressRow{"AssignmentsEnd", "2001:1ff:ffff::1", true},
        AddressRow{"BehindAssignments6", "2001:200::1", false},
        AddressRow{"Documentation6", "2001:db8::1", true},
        AddressRow{"BehindDocumentation6", "2001:db9::1", false},
        AddressRow{"SixToFourLoopback", "2002:7f00:1::1", true},
        AddressRow{"SixToFourPrivate", "2002:a00:1::1", true},
        AddressRow{"SixToFourHost", "2002:808:808::1", false},
        AddressRow{"As112Six", "2620:4f:8000::1", true},
        AddressRow{"BehindAs112Six", "2620:4f:8001::1", false},
        AddressRow{"AHost6", "2606:4700::1111", false}, AddressRow{"BelowDocumentationBig", "3ffe::1", false},
        AddressRow{"DocumentationBig", "3fff::1", true},
        AddressRow{"DocumentationBigEnd", "3fff:fff:ffff::1", true},
        AddressRow{"BehindDocumentationBig", "3fff:1000::1", false},
        AddressRow{"Unallocated4", "4000::1", true}, AddressRow{"SegmentRouting", "5f00::1", true},
        AddressRow{"Unallocated8", "8000::1", true}, AddressRow{"UniqueLocal", "fd00::1", true},
        AddressRow{"UniqueLocalC", "fc00::1", true}, AddressRow{"LinkLocal6", "fe80::1", true},
        AddressRow{"SiteLocal", "fec0::1", true}, AddressRow{"Multicast6", "ff02::1", true},
        AddressRow{"IsatapPrivate", "2606:4700::5efe:a00:1", true},
        AddressRow{"IsatapUniversalLoopback", "2606:4700::200:5efe:7f00:1", true},
        AddressRow{"IsatapHost", "2606:4700::200:5efe:808:808", false}),
    [](const auto& row) { return row.param.name; });

TEST(Address, ShowsTheIpv4AddressesThatPacketsMayEndAt) {
    const auto inside = [](const char* text) {
        std::string out;
        for (const auto& address : Address::parse(text).value().embedded_ipv4()) out += address.text() + " ";
        return out;
    };
    EXPECT_EQ(inside("64:ff9b::808:404"), "8.8.4.4 ");
    EXPECT_EQ(inside("2002:808:404::1"), "8.8.4.4 ");
    EXPECT_EQ(inside("2001:0:808:808:0:0:f7f7:fbfb"), "8.8.8.8 8.8.4.4 ");
    EXPECT_EQ(inside("2606:4700::1111"), "");
    EXPECT_EQ(inside("8.8.8.8"), "");
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
