#include "delivery/tickets.h"

#include <algorithm>

namespace sternpost::delivery {
namespace {

constexpr std::size_t max_tickets = 500;         // ours: each holds a chain, some kilobytes
constexpr std::size_t max_of_key = 4;            // ours: connections to one host at once seldom are more
constexpr auto max_age = std::chrono::hours(1);  // ours: RFC 8446 §4.6.1 allows a week

}  // namespace

void Tickets::put(const std::string& key, tls::Ticket ticket, WallTime now) {
    const auto of_key = [&](const Kept& k) { return k.key == key; };
    const auto same = std::count_if(order_.begin(), order_.end(), of_key);
    if (static_cast<std::size_t>(same) >= max_of_key)
        order_.erase(std::find_if(order_.begin(), order_.end(), of_key));
    if (order_.size() >= max_tickets) order_.pop_front();
    const WallTime until = std::min(ticket.expires(), now + max_age);
    order_.push_back({key, std::move(ticket), until});
}

std::optional<tls::Ticket> Tickets::take(const std::string& key, WallTime now) {
    std::erase_if(order_, [&](const Kept& k) { return k.until <= now; });
    const auto newest =
        std::find_if(order_.rbegin(), order_.rend(), [&](const Kept& k) { return k.key == key; });
    if (newest == order_.rend()) return std::nullopt;
    tls::Ticket out = std::move(newest->ticket);
    order_.erase(std::next(newest).base());
    return out;
}

}  // namespace sternpost::delivery
