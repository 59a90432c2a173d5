#include "sts/refresher.h"

namespace sternpost::sts {
namespace {

// How often it is looked again what is due: often enough next to an hour, the shortest time between two
// refreshes.
constexpr auto look_again = std::chrono::seconds(30);

}  // namespace

Refresher::Refresher(asio::io_context& context, Lookups& lookups, const Clock& clock, Timer& timer, Log& log)
    : lookups_(lookups),
      clock_(clock),
      wakeup_(timer.wakeup()),
      fetches_(context, log),
      time_(context, log) {}

void Refresher::start() {
    time_.spawn("policy refresh", watch());
}

asio::awaitable<void> Refresher::stop() {
    stopping_ = true;
    wakeup_->wake();
    fetches_.cancel();
    co_await fetches_.join();
    time_.cancel();
    co_await time_.join();
}

asio::awaitable<void> Refresher::refresh(dns::PolicyDomain domain) {
    co_await lookups_.refresh_unasked(std::move(domain));
    wakeup_->wake();
}

asio::awaitable<void> Refresher::watch() {
    SteadyTime look_at = clock_.steady();
    while (!stopping_) {
        if (due_.empty() && fetches_.size() == 0 && clock_.steady() >= look_at) {
            const auto due = lookups_.due();
            due_.assign(due.begin(), due.end());
            look_at = clock_.steady() + look_again;
        }
        while (!due_.empty() && fetches_.size() < lookups_.refresh_options().at_once) {
            dns::PolicyDomain domain = std::move(due_.front());
            due_.pop_front();
            const std::string name = "refresh " + domain.text();
            fetches_.spawn(name, refresh(std::move(domain)));
        }
        // A fetch that is over leaves the group after it has rung: it is seen at the latest a moment later.
        const bool waiting = !due_.empty() || fetches_.size() > 0;
        SteadyTime wake = look_at;
        if (waiting) wake = clock_.steady() + std::chrono::milliseconds(100);
        co_await wakeup_->wait(wake);
    }
}

}  // namespace sternpost::sts
