#include "lab/world.h"

#include <gtest/gtest.h>

#include "lab/scenario.h"
#include "sts/policy.h"

namespace sternpost::lab {
namespace {

World two_domains() {
    return read_scenario(R"(
        [domain."a.example"]
        mx = ["mx.a.example"]
        sts = "testing"
        sts_id = "77"
        sts_max_age = 600
        [mx."mx.a.example"]
        address = "127.9.9.9"
        [dns."c.example"]
        cname = "a.example"
        [dns."_mta-sts.b.example"]
        txt = ["v=STSv1; id=1", "say \"no\""]
        [dns."mx.a.example"]
        fault = "timeout"
        fault_types = ["aaaa"]
        ad = true
    )",
                         "s.toml")
        .world;
}

TEST(LabWorld, AnswersWhatFollowsFromDomainsAndHosts) {
    const World w = two_domains();
    EXPECT_EQ(w.look_up("a.example", "MX").records, std::vector<std::string>{"10 mx.a.example."});
    EXPECT_EQ(w.look_up("mx.a.example", "A").records, std::vector<std::string>{"127.9.9.9"});
    EXPECT_EQ(w.look_up("_mta-sts.a.example", "TXT").records,
              std::vector<std::string>{"\"v=STSv1; id=77;\""});
    EXPECT_EQ(w.look_up("mta-sts.a.example", "A").records.size(), 1U);
}

TEST(LabWorld, KnowsWhichNamesThereAre) {
    const World w = two_domains();
    EXPECT_TRUE(w.look_up("example", "A").exists);  // an empty non-terminal (RFC 8020 §2)
    EXPECT_TRUE(w.look_up("mx.a.example", "MX").exists);
    EXPECT_TRUE(w.look_up("_mta-sts.a.example", "A").exists);
    EXPECT_FALSE(w.look_up("nobody.example", "A").exists);
    EXPECT_FALSE(w.look_up("xa.example", "A").exists);
}

TEST(LabWorld, AnswersWhatTheScenarioSaysOfAName) {
    const World w = two_domains();
    EXPECT_EQ(w.look_up("c.example", "MX").cname, "a.example");
    EXPECT_EQ(w.look_up("_mta-sts.b.example", "TXT").records,
              (std::vector<std::string>{"\"v=STSv1; id=1\"", "\"say \\\"no\\\"\""}));
    EXPECT_EQ(w.look_up("mx.a.example", "AAAA").fault, DnsFault::timeout);
    EXPECT_EQ(w.look_up("mx.a.example", "A").fault, DnsFault::none);
    EXPECT_TRUE(w.look_up("mx.a.example", "A").ad);
    EXPECT_FALSE(w.look_up("a.example", "MX").ad);
}

TEST(LabWorld, ServesAPolicyThatIsOne) {
    const World w = two_domains();
    const auto policy = sts::Policy::parse(w.policy_text("mta-sts.a.example"));
    ASSERT_TRUE(policy);
    EXPECT_EQ(policy->mode, sts::Mode::testing);
    EXPECT_EQ(policy->max_age, std::chrono::seconds(600));
    EXPECT_EQ(w.policy_text("mta-sts.b.example"), "");
}

TEST(LabWorld, HasTlsaRecordsOfItsHostsAndOfAliases) {
    World w = read_scenario(R"(
        [domain."d.example"]
        mx = ["mx.d.example"]
        [dns."mx.d.example"]
        cname = "end.d.example"
        [mx."end.d.example"]
        tlsa = ["3 1 1 match", "3 1 9 00"]
        [dns."_25._tcp.mx.d.example"]
        tlsa = ["2 0 1 mismatch end.d.example"]
    )",
                            "s.toml")
                  .world;
    EXPECT_FALSE(w.mx.contains("mx.d.example"));  // an alias is no host
    const auto wishes = w.tlsa_wishes();
    ASSERT_EQ(wishes.size(), 2U);
    for (const auto& [host, text] : wishes) {
        EXPECT_EQ(host, "end.d.example");
        w.tlsa_rdata[{host, text}] = "made for " + text;
    }
    EXPECT_EQ(w.look_up("_25._tcp.end.d.example", "TLSA").records,
              (std::vector<std::string>{"made for 3 1 1 match", "3 1 9 00"}));
    EXPECT_EQ(w.look_up("_25._tcp.mx.d.example", "TLSA").records,
              std::vector<std::string>{"made for 2 0 1 mismatch end.d.example"});
    w.smtp_port = 2525;
    EXPECT_TRUE(w.look_up("_25._tcp.end.d.example", "TLSA").records.empty());
    EXPECT_TRUE(w.look_up("_2525._tcp.end.d.example", "TLSA").exists);
}

TEST(LabWorld, TakesTextRecordsAsTheyStandInAZoneFileToo) {
    const World w =
        read_scenario("[dns.\"a.example\"]\ntxt = ['\"one\" \"two\"', 'three']\n", "s.toml").world;
    EXPECT_EQ(w.look_up("a.example", "TXT").records,
              (std::vector<std::string>{"\"one\" \"two\"", "\"three\""}));
}

}  // namespace
}  // namespace sternpost::lab
