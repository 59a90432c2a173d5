#include "queue/manager.h"

#include <gtest/gtest.h>

#include "fake/intake_store.h"
#include "fake/log_lines.h"
#include "fake/seeded_random.h"
#include "fake/step_world.h"

namespace sternpost::queue {
namespace {

using namespace std::chrono_literals;

// Mail that has waited for long, in the order of its ids.
class OldMail final : public fake::IntakeStore {
  public:
    std::vector<store::StoredMessage> messages;
    std::vector<std::size_t> limits;  // of the questions for those that no one was warned of

    store::Result<std::vector<store::StoredMessage>> find(const store::QueueFilter& filter) override {
        if (filter.unwarned && filter.ids.empty()) limits.push_back(filter.limit);
        std::vector<store::StoredMessage> out;
        for (const auto& one : messages)
            if (one.id > filter.after && one.id <= filter.until && out.size() < filter.limit &&
                filter.ids.empty())
                out.push_back(one);
        return out;
    }
    void act(std::vector<store::Act>, Completion<store::Result<void>> reply) override {
        reply(store::Result<void>());
    }
};

asio::awaitable<std::optional<store::NewMessage>> no_warning() {
    co_return std::nullopt;
}

// Takes what there is, and is over after `time`.
asio::awaitable<void> hold(fake::StepWorld& world, Lane& lane, std::chrono::seconds time) {
    const auto work = lane.take();
    co_await world.until(world.clock().steady() + time);
    if (work) lane.put_back(*work);
}

// Takes what there is, and after ten seconds looks for more. Whether there was.
asio::awaitable<void> take_twice(fake::StepWorld& world, Lane& lane, std::map<std::string, bool>& more) {
    const auto first = lane.take();
    co_await world.until(world.clock().steady() + 10s);
    const auto second = lane.take();
    more.emplace(lane.hop(), second.has_value());
    if (second) lane.put_back(*second);
    if (first) lane.put_back(*first);
}

TEST(DelayWarnings, AreWrittenAHundredAtATime) {
    fake::StepWorld world;
    const store::TrustedClock clock(world.clock());
    OldMail store;
    store::IdSource ids(world.clock(), 1, {});
    for (int n = 0; n < 250; ++n) {
        store.messages.push_back(mail_for("d.test"));
        store.messages.back().id = ids.next();
        store.messages.back().arrived = world.clock().wall();
        store.messages.back().envelope.reverse_path = mail::ReversePath::parse("ann@sender.test").value();
    }
    std::size_t warned = 0;
    Hooks hooks;
    hooks.deliver = [](Lane&) -> asio::awaitable<void> { co_return; };
    hooks.notices = [](MessagePtr, std::vector<store::DeliveryResult>)
        -> asio::awaitable<store::Result<std::vector<store::NewMessage>>> {
        co_return std::vector<store::NewMessage>();
    };
    hooks.delay_warning = [&warned](const Delayed&) {
        ++warned;
        return no_warning();
    };
    fake::SeededRandom random;
    fake::LogLines log;
    world.clock().pass(5h);
    Manager manager({world.context(), clock, world, random, log}, Options(), std::move(hooks), store, clock);
    ASSERT_TRUE(world.run(manager.load()));
    manager.start();
    world.pass(10min);
    EXPECT_EQ(warned, 250U);
    ASSERT_GE(store.limits.size(), 3U);
    for (const std::size_t limit : store.limits) EXPECT_EQ(limit, 100U);
    world.finish(manager.stop(90s));
}

// Of three connections one sender has two, and has more mail for each.
TEST(FullConnections, GiveTheirPlaceToOthersThatWait) {
    for (const bool others_wait : {false, true}) {
        SCOPED_TRACE(others_wait);
        fake::StepWorld world;
        const store::TrustedClock clock(world.clock());
        OldMail store;
        fake::SeededRandom random;
        fake::LogLines log;
        std::map<std::string, bool> more;  // by next hop: whether its first connection found more mail
        Hooks hooks;
        hooks.deliver = [&](Lane& lane) { return take_twice(world, lane, more); };
        Options options;
        options.max_deliveries = 3;
        Manager manager({world.context(), clock, world, random, log}, options, std::move(hooks), store,
                        clock);
        ASSERT_TRUE(world.run(manager.load()));
        manager.start();
        std::uint64_t id = 0;
        const auto arrives = [&](const char* address, const char* hop) {
            store::StoredMessage message = mail_for(hop);
            message.id = {++id};
            message.arrived = world.clock().wall();
            message.origin.address = address;
            manager.accepted({message});
            world.settle();
        };
        for (const char* hop : {"bulk1.test", "bulk1.test", "bulk2.test", "bulk2.test"})
            arrives("192.0.2.1", hop);
        arrives("192.0.2.2", "ann.test");
        if (others_wait) arrives("192.0.2.3", "bob.test");
        world.pass(10s);
        EXPECT_EQ(more.at("bulk1.test"), !others_wait);
        EXPECT_EQ(more.contains("bob.test"), false) << "it waits for a place";
        world.pass(10s);
        EXPECT_EQ(more.contains("bob.test"), others_wait);
        world.finish(manager.stop(90s));
    }
}

// A session past the final dot, which a stop does not abort.
TEST(Stop, WaitsNinetySecondsForSessions) {
    EXPECT_EQ(stop_patience, 90s);
    for (const auto session : {80s, 1000s}) {
        fake::StepWorld world;
        const store::TrustedClock clock(world.clock());
        OldMail store;
        fake::SeededRandom random;
        fake::LogLines log;
        Hooks hooks;
        hooks.deliver = [&](Lane& lane) { return hold(world, lane, session); };
        Manager manager({world.context(), clock, world, random, log}, Options(), std::move(hooks), store,
                        clock);
        ASSERT_TRUE(world.run(manager.load()));
        manager.start();
        store::StoredMessage message = mail_for("d.test");
        message.id = {1};
        message.arrived = world.clock().wall();
        manager.accepted({message});
        world.settle();
        const SteadyTime began = world.clock().steady();
        world.finish(manager.stop(stop_patience));
        const auto took = world.clock().steady() - began;
        EXPECT_GE(took, std::min<std::chrono::seconds>(session, 90s));
        EXPECT_LT(took, std::min<std::chrono::seconds>(session, 90s) + 1s);
        EXPECT_EQ(log.count("stop sessions=1"), session > 90s ? 1U : 0U);
    }
}

}  // namespace
}  // namespace sternpost::queue
