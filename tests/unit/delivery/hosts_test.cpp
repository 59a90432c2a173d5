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
    std::size_t left_out = 0;  // MX and TLSA records that the resolver has read and not kept
    bool a_signed = true;
    bool aaaa_signed = true;
    bool tlsa_signed = true;

    asio::awaitable<dns::Result<dns::Answer<dns::Address>>> a(dns::Domain name) override {
        auto out = co_await TableResolver::a(name);
        out->authentic = a_signed;
        out->canonical = name.text();
        co_return out;
    }
    asio::awaitable<dns::Result<dns::Answer<dns::Address>>> aaaa(dns::Domain name) override {
        auto out = co_await TableResolver::aaaa(name);
        out->authentic = aaaa_signed;
        out->canonical = name.text();
        co_return out;
    }
    asio::awaitable<dns::Result<dns::Answer<dns::Mx>>> mx(dns::Domain) override {
        dns::Answer<dns::Mx> out;
        out.existence = dns::Existence::found;
        out.records = exchanges;
        out.left_out = left_out;
        co_return out;
    }
    asio::awaitable<dns::Result<dns::Answer<dns::Tlsa>>> tlsa(dns::Domain) override {
        dns::Answer<dns::Tlsa> out;
        out.existence = dns::Existence::found;
        out.records = certificates;
        out.left_out = left_out;
        out.authentic = tlsa_signed;
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
    /// The MX hosts of a.test in the order in which they are tried, or the status of the failure.
    std::string hosts() {
        const auto found = world_.run(find_hosts(options_, resolver_, random_, "a.test"));
        if (!found) return found.error().hop_failure.status;
        std::string out;
        for (const auto& host : found->candidates) out += (out.empty() ? "" : " ") + host.text();
        return out;
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

TEST_F(HostsOfADomain, CountWhatTheResolverLeftOut) {  // D-46
    for (std::uint16_t i = 0; i < 64; ++i)
        resolver_.exchanges.push_back({i, "h" + std::to_string(i) + ".a.test"});
    resolver_.left_out = 1000;
    EXPECT_EQ(world_.run(find_hosts(options_, resolver_, random_, "a.test"))->left_out, 1044U);
    options_.own_names = {"h30.a.test"};
    EXPECT_EQ(world_.run(find_hosts(options_, resolver_, random_, "a.test"))->left_out, 10U)
        << "what is no better than we are is none of the hosts";
}

TEST_F(HostsOfADomain, AreNoneWithANullMxAlone) {  // RFC 7505 §3
    resolver_.exchanges = {{0, ""}};
    EXPECT_EQ(hosts(), "5.1.10");
    resolver_.exchanges = {{0, ""}, {10, "mx.a.test"}};
    EXPECT_EQ(hosts(), "mx.a.test");
}

TEST_F(HostsOfADomain, AreThoseThatAreBetterThanWeAre) {  // RFC 5321 §5.1
    options_.own_names = {"relay.test"};
    resolver_.exchanges = {
        {10, "best.a.test"}, {20, "relay.test"}, {20, "same.a.test"}, {30, "worse.a.test"}};
    EXPECT_EQ(hosts(), "best.a.test");
    resolver_.exchanges.front().preference = 20;
    EXPECT_EQ(hosts(), "5.4.6");
}

TEST_F(HostsOfADomain, AreSecureWithAllTheirAddresses) {  // RFC 7672 §2.2
    resolver_.addresses["mx.a.test"] = {"8.8.8.8", "2606:4700::1"};
    for (const bool a : {true, false})
        for (const bool aaaa : {true, false}) {
            resolver_.a_signed = a;
            resolver_.aaaa_signed = aaaa;
            EXPECT_EQ(addresses_of("mx.a.test").secure, a && aaaa) << a << aaaa;
        }
}

TEST_F(HostsOfADomain, HaveTlsaRecordsThatAreSignedOrNone) {  // RFC 7672 §2.1.1
    Addresses secure;
    secure.secure = true;
    secure.canonical = "mx.a.test";
    resolver_.certificates = {dns::Tlsa{3, 1, 1, std::vector<std::uint8_t>(32, 7)}};
    for (const bool is_signed : {true, false}) {
        resolver_.tlsa_signed = is_signed;
        const auto demand = world_.run(find_tlsa(resolver_, mx_host("mx.a.test"), secure, 25));
        EXPECT_EQ(demand.state, is_signed ? DaneState::usable : DaneState::absent);
        EXPECT_EQ(demand.records.empty(), !is_signed);
    }
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
    resolver_.certificates.pop_back();
    resolver_.left_out = 36;
    const auto cut = world_.run(find_tlsa(resolver_, mx_host("mx.a.test"), secure, 25));
    EXPECT_EQ(cut.state, DaneState::failed) << "what the resolver left out could be the record that matches";
    EXPECT_NE(cut.trouble.find("100 TLSA records"), std::string::npos) << cut.trouble;
}

}  // namespace
}  // namespace sternpost::delivery
