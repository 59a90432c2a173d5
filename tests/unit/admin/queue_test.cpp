#include "admin/queue.h"

#include <gtest/gtest.h>

#include "fake/no_questions.h"
#include "fake/nothing_live.h"

namespace sternpost::admin {
namespace {

store::StoredMessage message(std::uint64_t id, std::size_t recipients) {
    store::StoredMessage out;
    out.id = {id};
    out.body.size = 10;
    for (std::size_t n = 0; n < recipients; ++n)
        out.recipients.emplace_back(
            store::QueuedRecipient(mail::Recipient(mail::ForwardPath::parse("u@d.test").value()), "d.test"));
    return out;
}

// A queue of so many messages with so many recipients each.
class Many final : public fake::NoQuestions {
  public:
    Many(std::uint64_t messages, std::size_t recipients) : messages_(messages), recipients_(recipients) {}

    store::Result<std::vector<store::StoredMessage>> find(const store::QueueFilter& filter) override {
        ++asked;
        std::vector<store::StoredMessage> out;
        for (std::uint64_t id = filter.after.value + 1; id <= messages_ && out.size() < filter.limit; ++id)
            out.push_back(message(id, recipients_));
        store::cut_to(filter, out);
        return out;
    }
    store::Result<store::QueueTotals> totals() override {
        return store::QueueTotals{messages_, messages_ * recipients_, messages_ * 10, {}};
    }
    store::Result<std::vector<store::HopLoad>> hops(const store::HopFilter& filter) override {
        ++asked;
        std::vector<store::HopLoad> out;
        std::uint64_t n = filter.after ? filter.after->recipients - 1 : messages_;
        for (; n > 0 && out.size() < filter.limit; --n) {
            store::HopLoad load;
            load.state.next_hop = "d" + std::to_string(n) + ".test";
            load.recipients = n;
            out.push_back(std::move(load));
        }
        return out;
    }
    int asked = 0;

  private:
    std::uint64_t messages_;
    std::size_t recipients_;
};

Listing list(Many& queue, std::uint64_t limit, Paging paging) {
    Selection selection;
    selection.limit = limit;
    fake::NothingLive live;
    return read_now(QueueList(selection, Caller{0, true}, paging), queue, live).value.value();
}

TEST(QueueList, IsWholeHoweverManyPagesItTakes) {
    Many queue(2500, 1);
    const auto all = list(queue, 10'000, Paging::whole);
    EXPECT_EQ(all.messages.size(), 2500U);
    EXPECT_EQ(all.selected.messages, 2500U);
    EXPECT_EQ(all.totals.messages, 2500U);
    EXPECT_FALSE(all.more);
    EXPECT_EQ(queue.asked, 3);
}

TEST(QueueList, SaysThatThereIsMoreThanItsLimit) {
    Many queue(2500, 1);
    const auto some = list(queue, 1500, Paging::whole);
    EXPECT_EQ(some.messages.size(), 1500U);
    EXPECT_TRUE(some.more);
    EXPECT_EQ(some.totals.messages, 2500U);
}

TEST(QueueList, GivesOnePageToACallerThatTakesNoPieces) {
    Many queue(2500, 1);
    const auto page = list(queue, 10'000, Paging::one_page);
    EXPECT_EQ(page.messages.size(), 1000U);
    EXPECT_TRUE(page.more);
    EXPECT_EQ(queue.asked, 1);
}

TEST(QueueList, PutsNoMessageOnAPageThatHasTwoThousandRecipients) {
    Many queue(100, 500);
    const auto page = list(queue, 10'000, Paging::one_page);
    EXPECT_EQ(page.messages.size(), 4U);
    EXPECT_TRUE(page.more);
}

TEST(QueueList, IsReadByOthersOnlyWithoutWhatSearchesTheWholeQueue) {
    for (const auto member :
         {&Selection::sender, &Selection::reason, &Selection::recipient, &Selection::from}) {
        Selection selection;
        selection.*member = "uid=33";
        EXPECT_EQ(QueueList(selection, Caller{1000, false}, Paging::one_page).refused()->code,
                  ExitCode::not_permitted);
        EXPECT_FALSE(QueueList(selection, Caller{0, true}, Paging::one_page).refused());
    }
    Selection by_domain;
    by_domain.domain = "d.test";
    EXPECT_FALSE(QueueList(by_domain, Caller{1000, false}, Paging::one_page).refused());
}

TEST(QueueList, KnowsNoSenderOfAnotherForm) {
    Selection selection;
    selection.sender = "somebody";
    selection.sender += "!";
    EXPECT_EQ(QueueList(selection, Caller{0, true}, Paging::whole).refused()->code, ExitCode::usage);
    Selection no_id;
    no_id.ids = {"what?"};
    EXPECT_EQ(QueueList(no_id, Caller{0, true}, Paging::whole).refused()->code, ExitCode::no);
}

TEST(QueueList, CountsWhatWaitsOfWhatItShows) {
    class Two final : public fake::NoQuestions {
        store::Result<std::vector<store::StoredMessage>> find(const store::QueueFilter&) override {
            auto older = message(1, 2);
            older.arrived = WallTime(std::chrono::hours(1));
            older.recipients[0].state = store::RecipientState::sent;
            auto newer = message(2, 1);
            newer.arrived = WallTime(std::chrono::hours(2));
            return std::vector{older, newer};
        }
    };
    Two queue;
    fake::NothingLive live;
    const auto shown =
        read_now(QueueList({}, Caller{0, true}, Paging::whole), queue, live).value.value().selected;
    EXPECT_EQ(shown.messages, 2U);
    EXPECT_EQ(shown.recipients, 2U);
    EXPECT_EQ(shown.octets, 20U);
    EXPECT_EQ(shown.oldest, WallTime(std::chrono::hours(1)));
}

TEST(QueueHops, GoesOnBehindTheLastOfEachPage) {
    Many queue(1200, 1);
    fake::NothingLive live;
    const auto all = read_now(QueueHops({10'000}, Caller{0, true}, Paging::whole), queue, live).value.value();
    ASSERT_EQ(all.size(), 1200U);
    EXPECT_EQ(all.front().recipients, 1200U);
    EXPECT_EQ(all.back().recipients, 1U);
    EXPECT_EQ(queue.asked, 3);
}

TEST(QueueHops, StopsAtItsLimit) {
    Many queue(1200, 1);
    fake::NothingLive live;
    EXPECT_EQ(read_now(QueueHops({700}, Caller{0, true}, Paging::whole), queue, live).value->size(), 700U);
    EXPECT_EQ(read_now(QueueHops({5000}, Caller{0, true}, Paging::one_page), queue, live).value->size(),
              500U);
}

}  // namespace
}  // namespace sternpost::admin
