#include "intake/refusal.h"

#include <gtest/gtest.h>

namespace sternpost::intake {
namespace {

TEST(Refusal, HasTheSameClassInReplyAndStatus) {
    for (int n = 0; n <= static_cast<int>(Errc::io); ++n) {
        const auto code = static_cast<Errc>(n);
        const std::string reply = reply_of({code, "why"});
        EXPECT_EQ(reply.size(), std::string("550  why").size() + status_of(code).size()) << reply;
        EXPECT_EQ(reply[0], status_of(code)[0]) << reply;
        EXPECT_EQ(may_pass(code), reply[0] == '4') << reply;
    }
}

TEST(Refusal, NamesWhatIsWrongWithAnAddress) {
    const auto reply = [](const Refusal& refusal) { return reply_of(refusal).substr(0, 9); };
    EXPECT_EQ(reply(bad_sender({mail::Errc::bad_address, "x"})), "553 5.1.7");
    EXPECT_EQ(reply(bad_sender({mail::Errc::bad_domain, "x"})), "553 5.1.8");
    EXPECT_EQ(reply(bad_sender({mail::Errc::needs_utf8, "x"})), "553 5.6.7");
    EXPECT_EQ(reply(bad_recipient({mail::Errc::bad_address, "x"})), "553 5.1.3");
    EXPECT_EQ(reply(bad_recipient({mail::Errc::bad_domain, "x"})), "553 5.1.2");
    EXPECT_EQ(reply(bad_recipient({mail::Errc::loop, "x"})), "550 5.4.6");
}

TEST(Refusal, DefersWhateverTheStoreCannotDoNow) {
    for (const auto code : {store::Errc::full, store::Errc::io, store::Errc::damaged, store::Errc::closed})
        EXPECT_TRUE(may_pass(not_stored({code, "x"}).code));
    EXPECT_EQ(reply_of(not_stored({store::Errc::full, "x"})).substr(0, 9), "452 4.3.1");
    EXPECT_EQ(reply_of(not_stored({store::Errc::closed, "x"})).substr(0, 9), "421 4.3.2");
    EXPECT_FALSE(may_pass(not_stored({store::Errc::too_big, "x"}).code));
}

}  // namespace
}  // namespace sternpost::intake
