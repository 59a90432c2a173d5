// One lane of the queue: what a connection's worth of work for one next hop asks the manager.
#include <algorithm>
#include <utility>

#include "queue/manager.h"

namespace sternpost::queue {
namespace {

// Mail has gone out and its sender did not ask to hear of it: no notice can come of that.
bool tells_nobody(const store::StoredMessage& message, const std::vector<store::DeliveryResult>& results) {
    return std::all_of(results.begin(), results.end(), [&](const store::DeliveryResult& result) {
        return result.state == store::RecipientState::sent &&
               !message.recipients[result.recipient].address.recipient.notify.success;
    });
}

}  // namespace

Lane::Lane(Manager& manager, Slot slot)
    : manager_(manager),
      slot_(std::move(slot)),
      began_(manager.now()),
      last_step_(began_.steady),
      work_(manager.timer_.wakeup()) {
    manager_.lane_list_.push_back(this);
    if (std::exchange(manager_.no_slot_to_watch_, false)) manager_.slots_->wake();
}

Lane::~Lane() {
    manager_.lane_list_.remove(this);
    if (connected_) manager_.core_->hops().lane_disconnected(hop());
    manager_.store_hop(hop());
    manager_.core_->hops().lane_ended(slot_);
    manager_.schedule_pass();
}

void Lane::moves() {
    last_step_ = manager_.clock_.steady();
    manager_.core_->hops().lane_moves(slot_);
    if (std::exchange(manager_.no_slot_to_watch_, false)) manager_.slots_->wake();
}

bool Lane::stopping() const {
    return manager_.stopping_;
}

std::optional<Work> Lane::take() {
    if (manager_.stopping_ || manager_.core_->hops().gives_way(slot_, manager_.now())) return std::nullopt;
    auto work = manager_.core_->take(hop(), manager_.now());
    if (work) moves();
    return work;
}

asio::awaitable<std::optional<Work>> Lane::wait(SteadyTime when) {
    for (;;) {
        if (auto work = take()) co_return work;
        if (manager_.stopping_ || manager_.clock_.steady() >= when) co_return std::nullopt;
        idle_ = true;
        co_await work_->wait(when);
        idle_ = false;
    }
}

void Lane::finished(const Work& work, std::vector<RecipientResult> recipient_results) {
    moves();
    auto results = manager_.core_->finished(work, std::move(recipient_results), manager_.now());
    if (tells_nobody(*work.message, results))
        manager_.record_sent(std::move(results));
    else
        manager_.recording_.spawn("settle " + work.message->id.text(),
                                  manager_.record_results(work.message, std::move(results), nullptr));
    manager_.schedule_pass();
}

void Lane::put_back(const Work& work) {
    manager_.core_->put_back(work);
}

void Lane::pause(std::chrono::milliseconds time) {
    manager_.core_->hops().pause(hop(), time, manager_.now());
}

void Lane::connected() {
    if (connected_) return;
    connected_ = true;
    moves();
    manager_.core_->hops().lane_connected(hop());
    manager_.store_hop(hop());
    manager_.schedule_pass();
}

void Lane::failed(const HopFailure& hop_failure) {
    if (manager_.stopping_) return;
    if (std::exchange(connected_, false)) manager_.core_->hops().lane_disconnected(hop());
    auto results = manager_.core_->hop_failures().failed(hop(), hop_failure, began_, manager_.now());
    manager_.store_hop(hop());
    manager_.record_all(std::move(results), "bounced", nullptr);
}

}  // namespace sternpost::queue
