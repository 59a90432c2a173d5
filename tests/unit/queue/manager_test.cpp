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
