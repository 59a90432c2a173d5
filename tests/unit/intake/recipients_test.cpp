#include "intake/recipients.h"

#include <gtest/gtest.h>

namespace sternpost::intake {
namespace {

void add(Recipients& to, std::string_view path) {
    to.add(mail::ForwardPath::parse(path).value(), {});
}

TEST(Recipients, AreEachThereOnce) {
    Recipients recipients;
    for (const char* path : {"a@d.test", "b@d.test", "a@d.test"}) add(recipients, path);
    EXPECT_EQ(recipients.size(), 2U);
    EXPECT_EQ(recipients.list().at(0).next_hop, "d.test");
}

TEST(Recipients, OfOneMessageAreForgottenInTheNext) {
    Recipients recipients;
    add(recipients, "a@d.test");
    EXPECT_EQ(recipients.take().size(), 1U);
    EXPECT_TRUE(recipients.empty());
    add(recipients, "a@d.test");
    EXPECT_EQ(recipients.size(), 1U) << "after a message";
    recipients.clear();
    EXPECT_TRUE(recipients.empty());
    add(recipients, "a@d.test");
    EXPECT_EQ(recipients.size(), 1U) << "after RSET";
}

}  // namespace
}  // namespace sternpost::intake
