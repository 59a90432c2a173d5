#include "intake/recipients.h"

#include <gtest/gtest.h>

namespace sternpost::intake {
namespace {

mail::ForwardPath path(const char* text) {
    return mail::ForwardPath::parse(text).value();
}

TEST(Recipients, AreThereOnceEach) {
    Recipients recipients;
    mail::Notify never;
    never.never = true;
    recipients.add(path("bob@example.com"), never, "rfc822;bob@example.com");
    recipients.add(path("carol@example.com"), {});
    recipients.add(path("bob@example.com"), {});
    ASSERT_EQ(recipients.size(), 2U);
    EXPECT_EQ(recipients.list()[0].recipient.path.text(), "bob@example.com");
    EXPECT_EQ(recipients.list()[0].recipient.notify, never) << "the first one counts";
    EXPECT_EQ(recipients.list()[0].next_hop, "example.com");
    EXPECT_EQ(recipients.list()[1].recipient.path.text(), "carol@example.com");
}

TEST(Recipients, OfOneMessageAreForgottenInTheNext) {
    Recipients recipients;
    recipients.add(path("bob@example.com"), {});
    EXPECT_EQ(recipients.take().size(), 1U);
    EXPECT_TRUE(recipients.empty());
    recipients.add(path("bob@example.com"), {});
    EXPECT_EQ(recipients.size(), 1U) << "after a message";
    recipients.clear();
    EXPECT_TRUE(recipients.empty());
    recipients.add(path("bob@example.com"), {});
    EXPECT_EQ(recipients.size(), 1U) << "after RSET";
}

}  // namespace
}  // namespace sternpost::intake
