// Which hosts and addresses of an answer are used, and that the gate is asked for each.
#include "delivery/hosts.h"

#include <gtest/gtest.h>

#include "fake/policy_world.h"
#include "fake/seeded_random.h"
#include "fake/step_world.h"

namespace sternpost::delivery {
namespace {

dns::Address address(const std::string& text) {
    return dns::Address::parse(text).value();
}

/// Answers with MX and TLSA records too.
class MailResolver final : public fake::TableResolver {
  public:
    std::vector<dns::Mx> exchanges;
    std::vector<dns::Tlsa> certificates;

    asio::awaitable<dns::Result<dns::Answer<dns::Mx>>> mx(dns::Domain) override {
        dns::Answer<dns::Mx> out;
        out.existence = dns::Existence::found;
        out.records = exchanges;
        co_return out;
    }
    asio::awaitable<dns::Result<dns::Answer<dns::Tlsa>>> tlsa(dns::Domain) override {
        dns::Answer<dns::Tlsa> out;
        out.existence = dns::Existence::found;
        out.records = certificates;
        out.authentic = true;
        co_return out;
    }
};

class HostsOfADomain : public ::testing::Test {
  protected:
    HostsOfADomain() {
        dns::Gate::Options gate;
        gate.own_addresses = {address("203.0.114.9")};
        gate.listening = {dns::Server::parse("127.0.0.1:25").value()};
        gate.is_local = [](const dns::Address& a) { return a == address("8.8.4.4"); };
        options_.gate = dns::Gate(std::move(gate));
    }
    Addresses addresses_of(const std::string& host) {
        return world_.run(find_addresses(options_, resolver_, mx_host(host), 25));
    }
    static dns::MxHost mx_host(const std::string& name) {
        return dns::MxHost(dns::Domain::parse(name).value());
    }

    HostOptions options_;
    MailResolver resolver_;
    fake::SeededRandom random_;
    fake::StepWorld world_;
};

TEST_F(HostsOfADomain, AreTheBestOfALargeSet) {  // D-46
    for (std::uint16_t i = 0; i < 1700; ++i)
        resolver_.exchanges.push_back(
            {static_cast<std::uint16_t>(2000 - i), "h" + std::to_string(i) + ".a.test"});
    const auto hosts = world_.run(find_hosts(options_, resolver_, random_, "a.test"));
    ASSERT_TRUE(hosts);
    ASSERT_EQ(hosts->candidates.size(), 20U);
    EXPECT_EQ(hosts->left_out, 1680U);
    EXPECT_EQ(hosts->candidates.front().text(), "h1699.a.test");
    EXPECT_EQ(hosts->candidates.back().text(), "h1680.a.test");
}

TEST_F(HostsOfADomain, HaveFewAddressesOfEachFamily) {
    for (int i = 1; i <= 100; ++i) {
        resolver_.addresses["mx.a.test"].push_back("8.8.8." + std::to_string(i));
        resolver_.addresses["mx.a.test"].push_back("2606:4700::" + std::to_string(i));
    }
    EXPECT_EQ(addresses_of("mx.a.test").usable.size(), 32U);
}

TEST_F(HostsOfADomain, AreOurselvesAtOurAddresses) {  // D-45
    for (const char* own : {"203.0.114.9", "8.8.4.4", "::ffff:8.8.4.4", "64:ff9b::808:404"}) {
        resolver_.addresses["mx.a.test"] = {own};
        const auto found = addresses_of("mx.a.test");
        EXPECT_TRUE(found.ourselves) << own;
        EXPECT_TRUE(found.usable.empty()) << own;
    }
    resolver_.addresses["mx.a.test"] = {"127.0.0.1", "10.0.0.1"};
    EXPECT_FALSE(addresses_of("mx.a.test").ourselves) << "loopback says nothing of us";
    EXPECT_TRUE(addresses_of("mx.a.test").usable.empty());
    options_.gate = options_.gate.allowing_special(true);
    const auto inside = addresses_of("mx.a.test");
    EXPECT_TRUE(inside.ourselves) << "but our own socket is";
    EXPECT_EQ(inside.usable, std::vector{address("10.0.0.1")});
}

TEST_F(HostsOfADomain, LiteralsAreJudgedByWhoNamesThem) {  // D-45
    const auto known = [&](const char* text, dns::Chooser chooser) {
        return known_addresses(options_, {address(text)}, 25, chooser);
    };
    EXPECT_TRUE(known("127.0.0.1", dns::Chooser::stranger).ourselves);
    EXPECT_TRUE(known("8.8.4.4", dns::Chooser::stranger).ourselves);
    EXPECT_TRUE(known("10.0.0.1", dns::Chooser::stranger).usable.empty());
    EXPECT_FALSE(known("10.0.0.1", dns::Chooser::stranger).ourselves);
    EXPECT_EQ(known("8.8.8.8", dns::Chooser::stranger).usable.size(), 1U);
    EXPECT_EQ(known("10.0.0.1", dns::Chooser::administrator).usable.size(), 1U);
    EXPECT_EQ(known("127.0.0.2", dns::Chooser::administrator).usable.size(), 1U);
    EXPECT_TRUE(known("127.0.0.1", dns::Chooser::administrator).ourselves) << "our own socket";
}

TEST_F(HostsOfADomain, ATlsaSetThatIsTooLargeIsNoAnswer) {  // D-46
    Addresses secure;
    secure.secure = true;
    secure.canonical = "mx.a.test";
    resolver_.certificates.assign(64, dns::Tlsa{3, 1, 1, std::vector<std::uint8_t>(32, 7)});
    EXPECT_EQ(world_.run(find_tlsa(resolver_, mx_host("mx.a.test"), secure, 25)).state, DaneState::usable);
    resolver_.certificates.push_back(resolver_.certificates.front());
    const auto refused = world_.run(find_tlsa(resolver_, mx_host("mx.a.test"), secure, 25));
    EXPECT_EQ(refused.state, DaneState::failed);
    EXPECT_NE(refused.trouble.find("65 TLSA records"), std::string::npos) << refused.trouble;
}

}  // namespace
}  // namespace sternpost::delivery
