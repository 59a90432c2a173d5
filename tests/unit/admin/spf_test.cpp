#include "admin/spf.h"

#include <gtest/gtest.h>

#include "fake/policy_world.h"
#include "fake/step_world.h"

namespace sternpost::admin {
namespace {

class SpfWorld final : public fake::TableResolver {
  public:
    std::map<std::string, std::vector<std::string>> hosts;  // MX
    asio::awaitable<dns::Result<dns::Answer<dns::Mx>>> mx(dns::Domain name) override {
        dns::Answer<dns::Mx> out;
        for (const auto& host : hosts[name.text()]) out.records.push_back({10, host});
        co_return out;
    }
};

struct SpfRow {
    const char* name;
    const char* record;
    const char* address;
    SpfResult result;
    const char* by;  // in what is said of it
};

SpfWorld world() {
    SpfWorld out;
    out.addresses["d.test"] = {"192.0.2.10", "2001:db8::10"};
    out.addresses["mx1.d.test"] = {"192.0.2.20"};
    out.hosts["d.test"] = {"mx1.d.test"};
    out.texts["pass.test"] = {"v=spf1 ip4:192.0.2.1 -all"};
    out.texts["soft.test"] = {"v=spf1 ~all"};
    out.texts["loop.test"] = {"v=spf1 include:loop.test -all"};
    out.texts["several.test"] = {"v=spf1 -all", "v=spf1 +all"};
    out.broken.insert("broken.test");
    return out;
}

SpfAnswer judged(SpfWorld& resolver, const char* address) {
    fake::StepWorld loop;
    Spf spf(resolver, dns::Address::parse(address).value());
    SpfAnswer out;
    asio::co_spawn(loop.context(), spf.check(dns::Domain::parse("d.test").value()),
                   [&](const std::exception_ptr& error, SpfAnswer answer) {
                       if (error) std::rethrow_exception(error);
                       out = std::move(answer);
                   });
    loop.settle();
    return out;
}

class SpfRecord : public ::testing::TestWithParam<SpfRow> {};
TEST_P(SpfRecord, IsJudgedAsReceivingHostsDo) {
    SpfWorld resolver = world();
    if (GetParam().record != nullptr) resolver.texts["d.test"] = {"other text", GetParam().record};
    const auto found = judged(resolver, GetParam().address);
    EXPECT_EQ(name_of(found.result), name_of(GetParam().result)) << found.text;
    EXPECT_NE(found.text.find(GetParam().by), std::string::npos) << found.text;
}

INSTANTIATE_TEST_SUITE_P(
    Of, SpfRecord,
    ::testing::Values(
        SpfRow{"None", nullptr, "192.0.2.1", SpfResult::none, "no SPF record"},
        SpfRow{"Address", "v=spf1 ip4:192.0.2.1 -all", "192.0.2.1", SpfResult::pass, "ip4:192.0.2.1"},
        SpfRow{"Network", "v=spf1 ip4:192.0.2.0/24 -all", "192.0.2.9", SpfResult::pass, "ip4"},
        SpfRow{"Network6", "v=spf1 ip6:2001:db8::/32 -all", "2001:db8::9", SpfResult::pass, "ip6"},
        SpfRow{"AnotherAddress", "v=spf1 ip4:192.0.2.1 -all", "192.0.2.2", SpfResult::fail, "-all"},
        SpfRow{"FamiliesApart", "v=spf1 ip4:0.0.0.0/0 ~all", "2001:db8::1", SpfResult::softfail, "~all"},
        SpfRow{"UpperCase", "V=SPF1 IP4:192.0.2.1 -ALL", "192.0.2.2", SpfResult::fail, "-ALL"},
        SpfRow{"A", "v=spf1 a -all", "192.0.2.10", SpfResult::pass, "a"},
        SpfRow{"A6", "v=spf1 a -all", "2001:db8::10", SpfResult::pass, "a"},
        SpfRow{"AWithLength", "v=spf1 a:d.test/24 -all", "192.0.2.99", SpfResult::pass, "a:d.test/24"},
        SpfRow{"AWithBothLengths", "v=spf1 a/32//64 -all", "2001:db8::99", SpfResult::pass, "a/32//64"},
        SpfRow{"ANotInLength", "v=spf1 a/28 -all", "192.0.2.99", SpfResult::fail, "-all"},
        SpfRow{"Mx", "v=spf1 mx -all", "192.0.2.20", SpfResult::pass, "mx"},
        SpfRow{"MxNot", "v=spf1 mx -all", "192.0.2.21", SpfResult::fail, "-all"},
        SpfRow{"Include", "v=spf1 include:pass.test -all", "192.0.2.1", SpfResult::pass, "include:pass.test"},
        SpfRow{"IncludeThatFails", "v=spf1 include:pass.test ?all", "192.0.2.2", SpfResult::neutral, "?all"},
        SpfRow{"IncludeThatSoftfails", "v=spf1 include:soft.test -all", "192.0.2.2", SpfResult::fail, "-all"},
        SpfRow{"IncludeWithoutRecord", "v=spf1 include:empty.test -all", "192.0.2.2", SpfResult::permerror,
               "empty.test"},
        SpfRow{"IncludeOfSeveral", "v=spf1 include:several.test -all", "192.0.2.2", SpfResult::permerror,
               "several"},
        SpfRow{"IncludeUnanswered", "v=spf1 include:broken.test -all", "192.0.2.2", SpfResult::temperror,
               "broken.test"},
        SpfRow{"IncludeOfItself", "v=spf1 include:loop.test -all", "192.0.2.2", SpfResult::permerror, "loop"},
        SpfRow{"Redirect", "v=spf1 redirect=pass.test", "192.0.2.1", SpfResult::pass, "ip4"},
        SpfRow{"RedirectBehindAll", "v=spf1 redirect=pass.test -all", "192.0.2.1", SpfResult::fail, "-all"},
        SpfRow{"NoEnd", "v=spf1 ip4:192.0.2.1", "192.0.2.2", SpfResult::neutral, "no term matches"},
        SpfRow{"Exists", "v=spf1 exists:d.test -all", "192.0.2.2", SpfResult::pass, "exists"},
        SpfRow{"Ptr", "v=spf1 ptr -all", "192.0.2.1", SpfResult::fail, "-all"},
        SpfRow{"Macro", "v=spf1 exists:%{i}.d.test -all", "192.0.2.2", SpfResult::not_judged, "macro"},
        SpfRow{"Mistyped", "v=spf1 ipv4:192.0.2.1 -all", "192.0.2.1", SpfResult::permerror, "ipv4"},
        SpfRow{"NoNetwork", "v=spf1 ip4:192.0.2.300 -all", "192.0.2.1", SpfResult::permerror, "no network"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Spf, NeedsNoMoreThanTenLookUps) {
    SpfWorld resolver = world();
    std::string ten = "v=spf1";
    for (int n = 0; n < 10; ++n) {
        const std::string name = "n" + std::to_string(n) + ".test";
        resolver.addresses[name] = {"198.51.100.1"};
        ten += " a:" + name;
    }
    resolver.texts["d.test"] = {ten + " -all"};
    EXPECT_EQ(judged(resolver, "192.0.2.1").result, SpfResult::fail);
    resolver.texts["d.test"] = {ten + " a -all"};
    EXPECT_EQ(judged(resolver, "192.0.2.10").result, SpfResult::permerror);
}

TEST(Spf, CallsNoMoreThanTenMxHosts) {
    SpfWorld resolver = world();
    resolver.texts["d.test"] = {"v=spf1 mx -all"};
    resolver.hosts["d.test"].clear();
    for (int n = 0; n < 10; ++n) resolver.hosts["d.test"].push_back("mx" + std::to_string(n) + ".test");
    EXPECT_EQ(judged(resolver, "192.0.2.1").result, SpfResult::fail);
    resolver.hosts["d.test"].push_back("mx10.test");
    EXPECT_EQ(judged(resolver, "192.0.2.1").result, SpfResult::permerror);
}

}  // namespace
}  // namespace sternpost::admin
