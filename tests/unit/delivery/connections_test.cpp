#include "delivery/connections.h"

#include <gtest/gtest.h>

namespace sternpost::delivery {
namespace {

Requirement demanding() {
    Requirement out;
    out.domain = "d.test";
    out.route_level = TlsLevel::verify;
    return out;
}

Requirement ordinary() {
    Requirement out;
    out.domain = "d.test";
    return out;
}

TEST(SharedConnection, UnderADemandWasMadeUnderOne) {
    // The handshake for others takes keys and digests that a policy refuses (TLS-05).
    EXPECT_TRUE(may_share(demanding(), smtp::TlsUse::required));
    EXPECT_FALSE(may_share(demanding(), smtp::TlsUse::if_offered));
    EXPECT_FALSE(may_share(demanding(), smtp::TlsUse::never));
}

TEST(SharedConnection, WithoutADemandWasStillAskedForTls) {
    EXPECT_TRUE(may_share(ordinary(), smtp::TlsUse::required));
    EXPECT_TRUE(may_share(ordinary(), smtp::TlsUse::if_offered));
    EXPECT_FALSE(may_share(ordinary(), smtp::TlsUse::never))
        << "it is in clear though the host may offer TLS";
}

TEST(SharedConnection, MayBeAnyWhereTlsIsOff) {
    Requirement off = ordinary();
    off.opportunistic_tls = false;
    for (const auto made : {smtp::TlsUse::required, smtp::TlsUse::if_offered, smtp::TlsUse::never})
        EXPECT_TRUE(may_share(off, made));
}

}  // namespace
}  // namespace sternpost::delivery
