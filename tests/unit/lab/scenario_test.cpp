#include "lab/scenario.h"

#include <gtest/gtest.h>

#include "config/file.h"

namespace sternpost::lab {
namespace {

struct WrongText {
    const char* name;
    std::string_view text;
    std::string_view error;  // the first one, without the file's name
};
class WrongScenario : public testing::TestWithParam<WrongText> {};
TEST_P(WrongScenario, IsToldWithItsLine) {
    const Scenario scenario = read_scenario(GetParam().text, "s.toml");
    ASSERT_FALSE(scenario.errors.empty());
    EXPECT_EQ(scenario.errors.front(), "s.toml:" + std::string(GetParam().error));
}

const WrongText wrong_scenarios[] = {
    {"Section", "\n[domian.\"a.example\"]\n", "2: unknown section \"domian\"; did you mean \"domain\"?"},
    {"Key", "[mx.\"mx.a.example\"]\n\nstartls = \"none\"\n",
     "3: mx.\"mx.a.example\": unknown key \"startls\"; did you mean \"starttls\"?"},
    {"Word", "[mx.\"mx.a.example\"]\nstarttls = \"off\"\n",
     "2: mx.\"mx.a.example\": starttls = \"off\": one of \"offered\", \"none\", \"refused\", \"injected\", "
     "\"garbage\", \"drop\""},
    {"Reply", "[mx.\"mx.a.example\"]\nrcpt = \"no\"\n",
     "2: mx.\"mx.a.example\": rcpt = \"no\": a reply such as \"550 5.1.1 no such user\", \"hang\", \"drop\", "
     "\"cut\", or \"\" for the usual"},
    {"Mode", "[domain.\"a.example\"]\nsts = \"strict\"\n",
     "2: domain.\"a.example\": sts = \"strict\": one of \"none\", \"testing\", \"enforce\", or \"\" for "
     "no policy at all"},
    {"Address", "[mx.\"mx.a.example\"]\naddress = \"192.0.2.1\"\n",
     "2: mx.\"mx.a.example\": address = \"192.0.2.1\": an address of 127.0.0.0/8"},
    {"NameWithoutQuotes", "[domain.a.example]\nmx = []\n",
     "1: domain.\"a\": unknown key \"example\"; there are mx, sts, sts_id, sts_mx, sts_max_age"},
    {"NotToml", "[lab]\nttl = \n",
     "2: not TOML: Error while parsing key-value pair: expected value, saw '\\n'"},
    {"Tlsa", "[mx.\"mx.a.example\"]\ntlsa = [\"3 1 1 mach\"]\n",
     "2: mx.\"mx.a.example\": tlsa = [ \"3 1 1 mach\" ]: a record such as \"3 1 1 match\", \"2 0 1 mismatch "
     "root\", or rdata in digits"},
    {"TlsaOfNobody", "[dns.\"_25._tcp.mx.a.example\"]\ntlsa = \"3 1 1 match\"\n",
     "2: dns.\"_25._tcp.mx.a.example\": tlsa = \"3 1 1 match\": the MX host whose certificate it is about at "
     "the end, as in \"3 1 1 match mx.a.example\""},
    {"TlsVersion", "[policy_host.\"mta-sts.a.example\"]\ntls_max = \"1.4\"\n",
     "2: policy_host.\"mta-sts.a.example\": tls_max = \"1.4\": one of \"\", \"1.0\", \"1.1\", \"1.2\", "
     "\"1.3\""},
    {"Field", "[policy_host.\"mta-sts.a.example\"]\nfields = [\"ETag\"]\n",
     "2: policy_host.\"mta-sts.a.example\": fields = [ \"ETag\" ]: header fields, such as \"ETag: 1\""},
    {"Value", "lab = 1\n", "1: lab is a section: write [lab] on a line of its own"},
};
INSTANTIATE_TEST_SUITE_P(Scenario, WrongScenario, testing::ValuesIn(wrong_scenarios),
                         [](const auto& row) { return row.param.name; });

TEST(Scenario, GivesEveryHostAnAddressOfItsOwn) {
    const Scenario scenario = read_scenario(R"(
        [domain."a.example"]
        mx = ["mx1.a.example", "5 mx2.a.example"]
        sts = "enforce"
        [mx."mx2.a.example"]
        address = "127.1.0.2"
    )",
                                            "s.toml");
    EXPECT_TRUE(scenario.errors.empty());
    const World& world = scenario.world;
    ASSERT_EQ(world.mx.size(), 2U);
    EXPECT_EQ(world.mx.at("mx2.a.example").address, "127.1.0.2");
    EXPECT_NE(world.mx.at("mx1.a.example").address, "127.1.0.2");
    EXPECT_NE(world.mx.at("mx1.a.example").address, world.policy_hosts.at("mta-sts.a.example").address);
    EXPECT_EQ(world.look_up("a.example", "MX").records,
              (std::vector<std::string>{"10 mx1.a.example.", "5 mx2.a.example."}));
}

TEST(Scenario, IsChangedByPath) {
    Scenario scenario = read_scenario("[domain.\"b.example\"]\nmx = [\"mx1.b.example\"]\n", "s.toml");
    World& world = scenario.world;
    EXPECT_TRUE(set(world, "mx.mx1.b.example.starttls", "none"));
    EXPECT_EQ(world.mx.at("mx1.b.example").starttls, StartTls::none);
    EXPECT_TRUE(set(world, "mx.mx1.b.example.starttls", "\"offered\""));  // TOML's quotes may stand there
    EXPECT_EQ(world.mx.at("mx1.b.example").starttls, StartTls::offered);
    EXPECT_TRUE(set(world, "mx.mx1.b.example.rcpt_to.Bob.Smith", "450 4.2.1 later"));
    EXPECT_EQ(world.mx.at("mx1.b.example").rcpt_to.at("bob.smith").text, "450 4.2.1 later");
    EXPECT_TRUE(set(world, "mx.mx1.b.example.listening", "false"));
    EXPECT_FALSE(world.mx.at("mx1.b.example").listening);
    EXPECT_TRUE(set(world, "domain.b.example.mx", R"(["mx1.b.example", "mx2.b.example"])"));
    EXPECT_TRUE(world.mx.contains("mx2.b.example"));
    EXPECT_TRUE(set(world, "dns._mta-sts.b.example.fault", "servfail"));
    EXPECT_EQ(world.look_up("_mta-sts.b.example", "TXT").fault, DnsFault::servfail);
}

TEST(Scenario, StaysAsItWasAfterAChangeThatIsNone) {
    Scenario scenario = read_scenario("[domain.\"b.example\"]\nmx = [\"mx1.b.example\"]\n", "s.toml");
    const auto unknown = set(scenario.world, "mx.mx9.b.example.starttls", "none");
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().text, "there is no \"mx9.b.example\" in this lab");
    EXPECT_FALSE(set(scenario.world, "mx.mx1.b.example.starttls", "off"));
    EXPECT_FALSE(set(scenario.world, "mx.mx1.b.example.rcpt_to.bob", "no"));
    EXPECT_TRUE(scenario.world.mx.at("mx1.b.example").rcpt_to.empty());
    EXPECT_FALSE(set(scenario.world, "nothing", "x"));
    EXPECT_FALSE(set(scenario.world, "", ""));
}

TEST(Scenario, WritesAConfigurationThatTheDaemonReads) {
    const Scenario scenario = read_scenario(
        "[sternpost]\nhostname = \"r.example\"\n[sternpost.queue]\nretry = [\"7s\"]\n", "s.toml");
    Places places;
    places.folder = "/tmp/a \"folder\"";
    places.resolver = "127.0.0.53:10053";
    places.smtp_port = 10025;
    places.https_port = 10443;
    const auto loaded = config::read_text(daemon_config(places, scenario.sternpost), "sternpost.toml");
    EXPECT_TRUE(loaded.errors.empty()) << loaded.errors.front();
    EXPECT_EQ(loaded.settings.hostname, "r.example");
    EXPECT_EQ(loaded.settings.retry, (std::vector<config::Duration>{std::chrono::seconds(7)}));
    EXPECT_EQ(loaded.settings.smtp_port, 10025U);
    EXPECT_EQ(loaded.settings.sts_policy_port, 10443U);
    EXPECT_EQ(loaded.settings.ca_file, "/tmp/a \"folder\"/ca.pem");
    EXPECT_TRUE(loaded.settings.sts_special_addresses);
    EXPECT_TRUE(loaded.settings.delivery_special_addresses);
}

}  // namespace
}  // namespace sternpost::lab
