#include "store/fair_order.h"

#include <algorithm>

#include "dns/record.h"

namespace sternpost::store {
namespace {

constexpr auto apart = std::chrono::seconds(1);          // ours: of one sender's messages to one next hop
constexpr auto notices_apart = std::chrono::seconds(8);  // ours: notices and reports stand back
constexpr std::size_t most_lines = 10'000;               // ours: senders and next hops that are remembered

}  // namespace

std::string sender_of(const Origin& origin, MessageClass message_class) {
    if (message_class != MessageClass::mail) return "";
    if (!origin.address.empty()) {
        // Whoever has an IPv6 address has all of its /64.
        const auto address = dns::Address::parse(origin.address);
        return address && address->is_v6() ? dns::Network::around(*address, 64).text() : origin.address;
    }
    return origin.uid ? "uid " + std::to_string(*origin.uid) : "local";
}

WallTime FairRanks::rank(std::int64_t hop, const std::string& sender, WallTime arrived) {
    if (last_.size() >= most_lines) {
        std::erase_if(last_, [&](const auto& line) { return line.second <= arrived; });
        if (last_.size() >= most_lines) last_.clear();  // unfair for a moment, which costs no one his mail
    }
    const auto step = sender.empty() ? notices_apart : apart;
    const auto [line, fresh] = last_.try_emplace({hop, sender}, arrived);
    if (!fresh) line->second = std::max(arrived, line->second + step);
    return line->second;
}

}  // namespace sternpost::store
