#include "admin/mail_log.h"

#include <gtest/gtest.h>

#include "fake/no_questions.h"
#include "fake/nothing_live.h"
#include "unit/store/store_testing.h"

namespace sternpost::admin {
namespace {

class Remembered final : public fake::NoQuestions {
  public:
    store::Result<store::History> history(const store::HistoryFilter& filter) override {
        asked = filter;
        return holds;
    }
    store::HistoryFilter asked;
    store::History holds;
};

Answer<LogAnswer> log_of(Remembered& store, LogRequest request, bool admin = true) {
    const fake::NothingLive live;
    return read_now(MailLog(request, Caller{7, admin}, Paging::whole), store, live);
}

TEST(MailLog, TellsWhatIsAskedForByItsForm) {
    Remembered store;
    log_of(store, {"bob@example.com", "recipient"});
    EXPECT_EQ(store.asked.name, "bob@example.com");
    EXPECT_EQ(store.asked.name_of, store::NameOf::recipient);
    log_of(store, {"<x@y>"});
    EXPECT_EQ(store.asked.name, "x@y");
    EXPECT_FALSE(store.asked.name_of);
    log_of(store, {"Example.COM"});
    EXPECT_EQ(store.asked.next_hop, "example.com");
    const std::string id = store::MessageId{1234567}.text();
    log_of(store, {id});
    EXPECT_EQ(store.asked.id, id);
    const auto neither = log_of(store, {"what is this"});
    EXPECT_EQ(neither.code, ExitCode::no);
    EXPECT_NE(neither.text.find("neither an address"), std::string::npos) << neither.text;
    EXPECT_EQ(log_of(store, {"a@b.example", "reader"}).code, ExitCode::usage);
}

TEST(MailLog, PutsAttemptsToTheirMessages) {
    Remembered store;
    for (const std::uint64_t n : {1U, 2U, 3U})
        store.holds.messages.push_back(
            store::StoredMessage::of(store::testing::message_to(n, {"bob@example.com"}, "x")));
    store::DeliveryResult result;
    result.message = store::MessageId{3};
    result.status = "2.0.0";
    store.holds.entries.push_back({WallTime{}, 1, result});
    store.holds.entries.push_back({WallTime{}, 2, store::HopState{}});
    const auto all = log_of(store, {"bob@example.com"});
    ASSERT_TRUE(all.value);
    ASSERT_EQ(all.value->messages.size(), 3U);
    EXPECT_FALSE(all.value->more);
    EXPECT_TRUE(all.value->messages[0].attempts.empty());
    ASSERT_EQ(all.value->messages[2].attempts.size(), 1U);
    EXPECT_EQ(all.value->messages[2].attempts[0].status, "2.0.0");
    EXPECT_EQ(all.value->messages[2].recipients[0].path, "bob@example.com");

    LogRequest two{"bob@example.com"};
    two.limit = 2;
    const auto latest = log_of(store, two);
    EXPECT_EQ(store.asked.limit, 3U) << "one more tells whether there are others";
    ASSERT_EQ(latest.value->messages.size(), 2U);
    EXPECT_TRUE(latest.value->more);
    EXPECT_EQ(latest.value->messages[1].id, store::MessageId{3}.text());
}

TEST(MailLog, SaysThatThereIsNothing) {
    Remembered store;
    const auto nothing = log_of(store, {"bob@example.com"});
    EXPECT_EQ(nothing.code, ExitCode::no);
    EXPECT_NE(nothing.text.find("bob@example.com"), std::string::npos);
}

TEST(MailLog, HasTenThousandMessagesAtMost) {
    Remembered store;
    LogRequest request{"bob@example.com"};
    request.limit = 1'000'000;
    log_of(store, request);
    EXPECT_EQ(store.asked.limit, 10'001U);
    EXPECT_EQ(store.asked.entry_limit, 100'000U);
}

TEST(MailLog, ShowsEverybodysMailToAdministratorsAlone) {
    Remembered store;
    EXPECT_EQ(log_of(store, {"bob@example.com"}, false).code, ExitCode::not_permitted);
    EXPECT_EQ(log_of(store, {""}, false).code, ExitCode::not_permitted);
    EXPECT_EQ(log_of(store, {store::MessageId{1234567}.text()}, false).code, ExitCode::no);
}

}  // namespace
}  // namespace sternpost::admin
