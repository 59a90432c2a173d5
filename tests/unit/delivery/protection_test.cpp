#include "delivery/protection.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace sternpost::delivery {
namespace {

dns::Domain domain(std::string_view text) {
    return dns::Domain::parse(text).value();
}

Requirement requirement_of(const std::string& mx, const std::string& sts, const std::string& dane,
                           const std::string& level, const std::string& route) {
    Requirement r;
    r.domain = "dest.example";
    if (mx != "literal") r.host.emplace(domain("mx.dest.example"));
    r.name_trust = mx == "dnssec"       ? NameTrust::dnssec
                   : mx == "configured" ? NameTrust::configured
                                        : NameTrust::insecure;
    if (sts != "none") {
        const std::string text = "version: STSv1\nmode: " + sts + "\nmx: mx.dest.example\nmax_age: 604800\n";
        r.sts.emplace(StsDemand{dns::PolicyDomain(domain("dest.example")), sts::Policy::parse(text).value(),
                                "1", text});
    }
    r.dane.state = dane == "usable"     ? DaneState::usable
                   : dane == "unusable" ? DaneState::unusable
                   : dane == "failed"   ? DaneState::failed
                                        : DaneState::absent;
    if (level != "-") {
        r.override_.emplace();
        r.override_->level = level_of(level).value();
    }
    if (route != "-") r.route_level = level_of(route).value();
    return r;
}

TEST(Protection, IsWhatTheTableSaysRowByRow) {
    std::ifstream file(STERNPOST_TEST_DATA "/protection.txt");
    ASSERT_TRUE(file);
    std::size_t rows = 0;
    for (std::string line; std::getline(file, line);) {
        if (line.empty() || line.front() == '#') continue;
        SCOPED_TRACE(line);
        std::istringstream fields(line);
        std::string mx, sts, dane, level, route, expected;
        fields >> mx >> sts >> dane >> level >> route >> expected;
        const Protection seen = protection_of(requirement_of(mx, sts, dane, level, route));
        EXPECT_EQ(name_of(seen), expected);
        EXPECT_EQ(sentence_of(seen).empty(), seen == Protection::full);
        ++rows;
    }
    EXPECT_GE(rows, 45U);
}

// Whatever is called protected, delivery holds back mail for a host that proves nothing.
TEST(Protection, IsNeverClaimedWhereTheDecisionLetsAnUnprovenHostHaveMail) {
    for (const std::string mx : {"insecure", "dnssec", "configured"})
        for (const std::string sts : {"none", "testing", "enforce"})
            for (const std::string dane : {"absent", "unusable", "usable", "failed"})
                for (const std::string level : {"-", "none", "may", "encrypt", "verify", "dane", "sts"})
                    for (const std::string route : {"-", "none", "may", "encrypt", "verify"}) {
                        SCOPED_TRACE(mx + " " + sts + " " + dane + " " + level + " " + route);
                        const Requirement r = requirement_of(mx, sts, dane, level, route);
                        if (protection_of(r) == Protection::opportunistic) continue;
                        EXPECT_FALSE(decide(r, Observation::of_session({})).go) << "in clear";
                        if (protection_of(r) == Protection::encrypted) continue;
                        tls::Evidence unproven;
                        unproven.encrypted = true;
                        EXPECT_FALSE(decide(r, Observation::of_session(unproven)).go) << "by whoever answers";
                    }
}

}  // namespace
}  // namespace sternpost::delivery
