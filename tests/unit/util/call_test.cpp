#include "util/call.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "fake/io_loop.h"
#include "util/run_on.h"
#include "util/timer.h"

namespace sternpost {
namespace {

asio::awaitable<int> sum_of_answers(TaskQueue& other, int count) {
    int sum = 0;
    for (int i = 1; i <= count; ++i) {
        auto ask = [&other, i](Completion<int> reply) {
            other.post([i, answer = std::move(reply)]() mutable { answer(i); });
        };
        sum += co_await call<int>(std::move(ask));
    }
    co_return sum;
}

// Answers arrive before, while and after the coroutine goes to sleep: a thread that answers at once makes all
// of these come up.
TEST(Call, GetsEachAnswerOfAnotherThreadOnce) {
    fake::IoLoop here;
    fake::IoLoop there;
    AsioTaskQueue task_queue(there.context());
    EXPECT_EQ(here.run(sum_of_answers(task_queue, 20'000)), 20'000 * 20'001 / 2);
}

asio::awaitable<std::thread::id> thread_after_call(TaskQueue& other) {
    auto ask = [&other](Completion<int> reply) {
        other.post([answer = std::move(reply)]() mutable { answer(1); });
    };
    co_await call<int>(std::move(ask));
    co_return std::this_thread::get_id();
}

TEST(Call, ResumesOnTheThreadOfTheCoroutine) {
    fake::IoLoop here;
    fake::IoLoop there;
    AsioTaskQueue task_queue(there.context());
    EXPECT_EQ(here.run(thread_after_call(task_queue)), here.call([] { return std::this_thread::get_id(); }));
}

asio::awaitable<bool> answered_in_place(bool& turned) {
    asio::post(co_await asio::this_coro::executor, [&turned] { turned = true; });
    auto ask = [](Completion<int> reply) { reply(1); };
    co_await call<int>(std::move(ask));
    co_return turned;
}

TEST(Call, CostsNoTurnOfTheLoopWhenTheAnswerIsThere) {
    fake::IoLoop here;
    bool turned = false;
    EXPECT_FALSE(here.run(answered_in_place(turned)));
    here.call([] { return 0; });
}

TEST(TaskQueue, RunsTasksOfOneThreadInTheirOrder) {
    fake::IoLoop loop;
    AsioTaskQueue task_queue(loop.context());
    std::vector<int> seen;
    for (int i = 0; i < 1000; ++i) task_queue.post([&seen, i] { seen.push_back(i); });
    std::promise<void> done;
    task_queue.post([&done] { done.set_value(); });
    done.get_future().get();
    std::vector<int> wanted(1000);
    std::iota(wanted.begin(), wanted.end(), 0);
    EXPECT_EQ(seen, wanted);
}

TEST(TaskQueue, TakesWhatIsPostedByItsOwnTasks) {
    fake::IoLoop loop;
    AsioTaskQueue task_queue(loop.context());
    std::promise<void> done;
    task_queue.post([&] { task_queue.post([&done] { done.set_value(); }); });
    EXPECT_EQ(done.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
}

asio::awaitable<std::thread::id> current_thread() {
    co_return std::this_thread::get_id();
}

TEST(RunOn, RunsOnTheThreadThatIsNamed) {
    fake::IoLoop here;
    fake::IoLoop there;
    const auto run = [&](asio::io_context& context) { return here.run(run_on(context, current_thread())); };
    EXPECT_EQ(run(there.context()), there.call([] { return std::this_thread::get_id(); }));
    EXPECT_EQ(run(here.context()), here.call([] { return std::this_thread::get_id(); }));
}

asio::awaitable<bool> run_here(bool& turned, asio::io_context& context) {
    asio::post(context, [&turned] { turned = true; });
    co_await run_on(context, current_thread());
    co_return turned;
}

TEST(RunOn, IsPartOfTheCallerOnTheSameThread) {
    fake::IoLoop here;
    bool turned = false;
    EXPECT_FALSE(here.run(run_here(turned, here.context())));
    here.call([] { return 0; });
}

}  // namespace
}  // namespace sternpost
