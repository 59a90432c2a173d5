#include "lab/world.h"

#include <gtest/gtest.h>

#include "lab/scenario.h"
#include "sts/policy.h"

namespace sternpost::lab {
namespace {

World world() {
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
    const World w = world();
    EXPECT_EQ(w.look_up("a.example", "MX").records, std::vector<std::string>{"10 mx.a.example."});
    EXPECT_EQ(w.look_up("mx.a.example", "A").records, std::vector<std::string>{"127.9.9.9"});
    EXPECT_EQ(w.look_up("_mta-sts.a.example", "TXT").records,
              std::vector<std::string>{"\"v=STSv1; id=77;\""});
    EXPECT_EQ(w.look_up("mta-sts.a.example", "A").records.size(), 1U);
}

TEST(LabWorld, KnowsWhichNamesThereAre) {
    const World w = world();
    EXPECT_TRUE(w.look_up("example", "A").exists);  // an empty non-terminal (RFC 8020 §2)
    EXPECT_TRUE(w.look_up("mx.a.example", "MX").exists);
    EXPECT_TRUE(w.look_up("_mta-sts.a.example", "A").exists);
    EXPECT_FALSE(w.look_up("nobody.example", "A").exists);
    EXPECT_FALSE(w.look_up("xa.example", "A").exists);
}

TEST(LabWorld, AnswersWhatTheScenarioSaysOfAName) {
    const World w = world();
    EXPECT_EQ(w.look_up("c.example", "MX").cname, "a.example");
    EXPECT_EQ(w.look_up("_mta-sts.b.example", "TXT").records,
              (std::vector<std::string>{"\"v=STSv1; id=1\"", "\"say \\\"no\\\"\""}));
    EXPECT_EQ(w.look_up("mx.a.example", "AAAA").fault, DnsFault::timeout);
    EXPECT_EQ(w.look_up("mx.a.example", "A").fault, DnsFault::none);
    EXPECT_TRUE(w.look_up("mx.a.example", "A").ad);
    EXPECT_FALSE(w.look_up("a.example", "MX").ad);
}

TEST(LabWorld, ServesAPolicyThatIsOne) {
    const World w = world();
    const auto policy = sts::Policy::parse(w.policy_text("mta-sts.a.example"));
    ASSERT_TRUE(policy);
    EXPECT_EQ(policy->mode, sts::Mode::testing);
    EXPECT_EQ(policy->max_age, std::chrono::seconds(600));
    EXPECT_EQ(w.policy_text("mta-sts.b.example"), "");
}

}  // namespace
}  // namespace sternpost::lab
