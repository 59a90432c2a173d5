#include "util/blocking_task_queue.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

namespace sternpost {
namespace {

using namespace std::chrono_literals;

// What take() gives to an owner on another thread, who would wait for an hour.
class Owner {
  public:
    Owner(BlockingTaskQueue& queue, bool soon)
        : taken_(std::async(std::launch::async, [&queue, soon] {
              return queue.take(std::chrono::steady_clock::now() + 1h, soon).size();
          })) {}
    bool sleeps() const { return taken_.wait_for(50ms) == std::future_status::timeout; }
    std::size_t taken() { return taken_.get(); }

  private:
    std::future<std::size_t> taken_;
};

TEST(BlockingTaskQueue, WakesItsOwnerForALazyTaskToo) {
    BlockingTaskQueue queue;
    Owner owner(queue, false);
    queue.post_lazily([] {});
    EXPECT_EQ(owner.taken(), 1U);
}

TEST(BlockingTaskQueue, LeavesAnOwnerWhoWakesSoonAsleepForALazyTask) {
    BlockingTaskQueue queue;
    Owner owner(queue, true);
    queue.post_lazily([] {});
    EXPECT_TRUE(owner.sleeps());
    queue.post([] {});
    EXPECT_EQ(owner.taken(), 2U);
}

TEST(BlockingTaskQueue, GivesALazyTaskWhenTheTimeIsOver) {
    BlockingTaskQueue queue;
    queue.post_lazily([] {});
    EXPECT_EQ(queue.take(std::chrono::steady_clock::now() + 1ms, true).size(), 1U);
    EXPECT_EQ(queue.take(std::chrono::steady_clock::now() + 1ms, false).size(), 0U);
}

TEST(BlockingTaskQueue, LosesNothingBetweenManyThreads) {
    BlockingTaskQueue queue;
    constexpr int each = 20'000;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
        threads.emplace_back([&queue, t] {
            for (int i = 0; i < each; ++i) {
                if (i % 3 == t)
                    queue.post([] {});
                else
                    queue.post_lazily([] {});
            }
        });
    std::size_t taken = 0;
    for (bool soon = false; taken < 3 * each; soon = !soon)
        taken += queue.take(std::chrono::steady_clock::now() + 1ms, soon).size();
    EXPECT_EQ(taken, 3U * each);
    for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace sternpost
