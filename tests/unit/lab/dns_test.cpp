#include "lab/dns.h"

#include <gtest/gtest.h>
#include <ldns/ldns.h>

#include <memory>

#include "lab/scenario.h"

namespace sternpost::lab {
namespace {

using PacketPtr = std::unique_ptr<ldns_pkt, decltype(&ldns_pkt_free)>;

struct Asking {
    bool ad = false;
    bool tcp = false;
};

std::vector<std::uint8_t> query(const char* name, ldns_rr_type type, Asking asking) {
    const PacketPtr packet(ldns_pkt_query_new(ldns_dname_new_frm_str(name), type, LDNS_RR_CLASS_IN, LDNS_RD),
                           ldns_pkt_free);
    ldns_pkt_set_id(packet.get(), 4711);
    ldns_pkt_set_ad(packet.get(), asking.ad);
    std::uint8_t* wire = nullptr;
    std::size_t size = 0;
    ldns_pkt2wire(&wire, packet.get(), &size);
    const std::unique_ptr<std::uint8_t, decltype(&std::free)> owned(wire, std::free);
    return {wire, wire + size};
}

// The lab's answer; null: it is silent.
PacketPtr ask(const World& world, const char* name, ldns_rr_type type, Asking asking = {}) {
    DnsQuestion seen;
    const auto wire = answer_query(world, query(name, type, asking), asking.tcp, seen);
    ldns_pkt* packet = nullptr;
    if (wire) {
        EXPECT_EQ(ldns_wire2pkt(&packet, wire->data(), wire->size()), LDNS_STATUS_OK);
    }
    return {packet, ldns_pkt_free};
}

World world() {
    return read_scenario(R"(
        [domain."a.example"]
        mx = ["mx.a.example"]
        [dns."alias.example"]
        cname = "a.example"
        [dns."loop.example"]
        cname = "loop.example"
        [dns."secure.example"]
        txt = "yes"
        ad = true
        [dns."broken.example"]
        a = "no address"
        [dns."short.example"]
        txt = "x"
        fault = "truncate"
        [dns."long.example"]
        txt = ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1",
               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa2",
               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa3",
               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa4",
               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa5"]
    )",
                         "s.toml")
        .world;
}

std::size_t answers(const PacketPtr& packet) {
    return ldns_rr_list_rr_count(ldns_pkt_answer(packet.get()));
}

TEST(LabDns, FollowsAnAlias) {
    const auto packet = ask(world(), "alias.example.", LDNS_RR_TYPE_MX);
    EXPECT_EQ(ldns_pkt_id(packet.get()), 4711);
    EXPECT_EQ(ldns_pkt_get_rcode(packet.get()), LDNS_RCODE_NOERROR);
    EXPECT_EQ(answers(packet), 2U);
}

TEST(LabDns, EndsALoopOfAliases) {
    EXPECT_LE(answers(ask(world(), "loop.example.", LDNS_RR_TYPE_A)), 10U);
}

TEST(LabDns, TellsNoDataFromNoName) {
    const World w = world();
    const auto no_data = ask(w, "a.example.", LDNS_RR_TYPE_TXT);
    EXPECT_EQ(ldns_pkt_get_rcode(no_data.get()), LDNS_RCODE_NOERROR);
    EXPECT_EQ(answers(no_data), 0U);
    EXPECT_EQ(ldns_rr_list_rr_count(ldns_pkt_authority(no_data.get())), 1U);
    EXPECT_EQ(ldns_pkt_get_rcode(ask(w, "nobody.example.", LDNS_RR_TYPE_A).get()), LDNS_RCODE_NXDOMAIN);
}

TEST(LabDns, MarksAsAuthenticOnlyForThoseWhoAsk) {
    const World w = world();
    EXPECT_TRUE(ldns_pkt_ad(ask(w, "secure.example.", LDNS_RR_TYPE_TXT, {.ad = true}).get()));
    EXPECT_FALSE(ldns_pkt_ad(ask(w, "secure.example.", LDNS_RR_TYPE_TXT).get()));
    EXPECT_FALSE(ldns_pkt_ad(ask(w, "a.example.", LDNS_RR_TYPE_MX, {.ad = true}).get()));
}

TEST(LabDns, CutsWhatIsTooLongForUdp) {
    const World w = world();
    for (const char* name : {"long.example.", "short.example."}) {
        const auto cut = ask(w, name, LDNS_RR_TYPE_TXT);
        EXPECT_TRUE(ldns_pkt_tc(cut.get())) << name;
        EXPECT_EQ(answers(cut), 0U) << name;
        const auto whole = ask(w, name, LDNS_RR_TYPE_TXT, {.tcp = true});
        EXPECT_FALSE(ldns_pkt_tc(whole.get())) << name;
        EXPECT_GE(answers(whole), 1U) << name;
    }
}

TEST(LabDns, FailsAsTold) {
    World w = world();
    DnsName& name = w.dns["a.example"];
    const std::pair<DnsFault, ldns_pkt_rcode> faults[] = {{DnsFault::servfail, LDNS_RCODE_SERVFAIL},
                                                          {DnsFault::refused, LDNS_RCODE_REFUSED},
                                                          {DnsFault::nxdomain, LDNS_RCODE_NXDOMAIN}};
    for (const auto& [fault, rcode] : faults) {
        name.fault = fault;
        EXPECT_EQ(ldns_pkt_get_rcode(ask(w, "A.Example.", LDNS_RR_TYPE_MX).get()), rcode);
    }
    name.fault = DnsFault::timeout;
    EXPECT_FALSE(ask(w, "a.example.", LDNS_RR_TYPE_MX));
    name.fault_types = {"txt"};
    EXPECT_EQ(answers(ask(w, "a.example.", LDNS_RR_TYPE_MX)), 1U);
}

TEST(LabDns, SaysServfailWhereTheScenarioHasNoRecord) {
    EXPECT_EQ(ldns_pkt_get_rcode(ask(world(), "broken.example.", LDNS_RR_TYPE_A).get()), LDNS_RCODE_SERVFAIL);
}

TEST(LabDns, IsSilentTowardsWhatIsNoQuery) {
    const World w = world();
    DnsQuestion seen;
    auto wire = query("a.example.", LDNS_RR_TYPE_MX, {});
    EXPECT_TRUE(answer_query(w, wire, false, seen));
    for (std::size_t size = 0; size < wire.size(); ++size)
        EXPECT_FALSE(answer_query(w, std::span(wire).first(size), false, seen)) << size;
    wire[2] |= 0x80U;  // QR: an answer
    EXPECT_FALSE(answer_query(w, wire, false, seen));
}

}  // namespace
}  // namespace sternpost::lab
