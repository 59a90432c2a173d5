#include "delivery/list_refusal.h"

#include <gtest/gtest.h>

namespace sternpost::delivery {
namespace {

using namespace std::chrono_literals;

struct ReplyRow {
    const char* name;
    const char* reply;
    const char* list;  // null: none
};

class RefusingReply : public ::testing::TestWithParam<ReplyRow> {};
TEST_P(RefusingReply, NamesWhoListsUs) {
    const auto list = refusing_list(GetParam().reply);
    if (GetParam().list == nullptr)
        EXPECT_FALSE(list) << *list;
    else
        EXPECT_EQ(list, GetParam().list);
}

INSTANTIATE_TEST_SUITE_P(
    Of, RefusingReply,
    ::testing::Values(
        ReplyRow{"Spamhaus",
                 "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; see "
                 "https://www.spamhaus.org/query/ip/192.0.2.1",
                 "Spamhaus"},
        ReplyRow{"SpamCop", "550 Blocked - see https://www.SpamCop.net/bl.shtml?192.0.2.1", "SpamCop"},
        ReplyRow{"Gmail",
                 "421-4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP",
                 "Gmail"},
        ReplyRow{
            "Microsoft",
            "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet "
            "service provider since part of their network is on our block list (S3150).",
            "Microsoft"},
        ReplyRow{"MicrosoftQuotingSpamhaus",
                 "550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked using our list (Spamhaus)",
                 "Microsoft"},
        ReplyRow{"Yahoo", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred", "Yahoo"},
        ReplyRow{"TOnline",
                 "554 IP=192.0.2.1 - A problem occurred. (Ask your postmaster for help or to contact "
                 "tosa@rx.t-online.de to clarify.)",
                 "T-Online"},
        ReplyRow{"SomeList", "550 5.7.1 rejected by dnsbl.example.net", "a block list"},
        ReplyRow{"NoSuchUser", "550 5.1.1 <bob@example.com>: no such user", nullptr},
        ReplyRow{"MailboxFull", "452 4.2.2 mailbox full", nullptr},
        ReplyRow{"Greylisted", "450 4.2.0 greylisted, see http://postgrey.schweikert.ch/help", nullptr},
        ReplyRow{"Accepted", "250 2.0.0 ok, not listed at spamhaus", nullptr}),
    [](const auto& info) { return info.param.name; });

TEST(ListRefusals, RaiseAnAlarmForEachHostAndListOnceAnHour) {
    ListRefusals refusals;
    const SteadyTime now{};
    const char* spamhaus = "554 5.7.1 blocked using zen.spamhaus.org";
    const auto alarm = refusals.observe("mx.test", spamhaus, now);
    ASSERT_TRUE(alarm);
    EXPECT_EQ(alarm->kind, store::AlarmKind::refused_by_list);
    EXPECT_EQ(alarm->subject, "mx.test (Spamhaus)");
    EXPECT_NE(alarm->text.find(spamhaus), std::string::npos);
    EXPECT_FALSE(refusals.observe("mx.test", spamhaus, now + 1h - 1s));
    EXPECT_TRUE(refusals.observe("mx.test", "550 see spamcop.net", now));
    EXPECT_TRUE(refusals.observe("mx2.test", spamhaus, now));
    EXPECT_TRUE(refusals.observe("mx.test", spamhaus, now + 1h));
    EXPECT_FALSE(refusals.observe("mx.test", "550 5.1.1 no such user", now));
}

TEST(ListRefusals, AreRememberedForTenThousandHosts) {
    ListRefusals refusals;
    const auto refuse = [&](int n) {
        return refusals.observe("mx" + std::to_string(n) + ".test", "554 spamhaus", SteadyTime());
    };
    for (int n = 0; n < 10'000; ++n) ASSERT_TRUE(refuse(n));
    EXPECT_TRUE(refuse(10'000)) << "all are forgotten";
    EXPECT_TRUE(refuse(0));
}

}  // namespace
}  // namespace sternpost::delivery
