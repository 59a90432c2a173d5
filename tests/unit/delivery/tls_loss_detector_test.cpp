#include "delivery/tls_loss_detector.h"

#include <gtest/gtest.h>

namespace sternpost::delivery {
namespace {

constexpr WallTime that_noon =
    std::chrono::sys_days(std::chrono::year(2026) / 11 / 23) + std::chrono::hours(12);

store::TlsOutcome session_of(const std::string& host, bool with_tls) {
    store::TlsOutcome out;
    out.at = that_noon;
    out.domain = "d.test";
    out.mx_host = host;
    if (with_tls)
        out.tls = "TLSv1.3";
    else
        out.result_type = "starttls-not-supported";
    return out;
}

TEST(TlsLossDetector, KnowsAHundredThousandHosts) {
    std::vector<store::StoredHost> hosts(99'999);
    for (std::size_t n = 0; n < hosts.size(); ++n) {
        hosts[n].name = "mx" + std::to_string(100'000 + n) + ".test";  // ascending
        hosts[n].tls_sessions = 3;
        hosts[n].last_tls = that_noon;
    }
    TlsLossDetector watch;
    watch.restore(hosts);
    const auto alarm = watch.observe(session_of(hosts[0].name, false), false);
    ASSERT_TRUE(alarm);
    EXPECT_EQ(alarm->kind, store::AlarmKind::tls_gone);
    EXPECT_FALSE(watch.observe(session_of("mx.new.test", true), false));
    EXPECT_FALSE(watch.observe(session_of(hosts[1].name, false), false)) << "all are forgotten";
}

}  // namespace
}  // namespace sternpost::delivery
