#include "smtp/client_limits.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>

namespace sternpost::smtp {
namespace {

constexpr std::size_t max_idle_clients = 10'000;  // ours: beyond, those whose minute is over are forgotten

dns::Address key(const dns::Address& address) {
    if (!address.is_v6()) return address;
    const auto octets = address.octets();
    std::array<std::uint8_t, 16> prefix{};
    std::copy_n(octets.begin(), 8, prefix.begin());
    return dns::Address::v6(prefix);
}

}  // namespace

ClientLimits::ClientState& ClientLimits::client(const dns::Address& address, SteadyTime now) {
    if (clients_.size() > max_idle_clients + total_) forget_idle(now);
    const auto [at, is_new] = clients_.try_emplace(key(address));
    ClientState& state = at->second;
    if (is_new) {
        state.messages_left = rate_;
        state.counted = now;
    }
    return state;
}

void ClientLimits::forget_idle(SteadyTime now) {
    std::erase_if(clients_, [now](const auto& entry) {
        return entry.second.connections == 0 && now - entry.second.counted >= std::chrono::minutes(1);
    });
}

ClientLimits::Verdict ClientLimits::connect(const dns::Address& address, SteadyTime now) {
    if (total_ >= connections_) return Verdict::too_many;
    ClientState& state = client(address, now);
    if (state.connections >= per_client_) return Verdict::too_many_from_client;
    ++state.connections;
    ++total_;
    return Verdict::go;
}

void ClientLimits::disconnect(const dns::Address& address) {
    const auto at = clients_.find(key(address));
    assert(at != clients_.end() && at->second.connections > 0);
    --at->second.connections;
    --total_;
}

bool ClientLimits::message(const dns::Address& address, SteadyTime now) {
    if (rate_ == 0) return true;
    ClientState& state = client(address, now);
    const double minutes = std::chrono::duration<double, std::ratio<60>>(now - state.counted).count();
    state.messages_left = std::min(rate_, state.messages_left + minutes * rate_);
    state.counted = now;
    if (state.messages_left < 1) return false;
    state.messages_left -= 1;
    return true;
}

}  // namespace sternpost::smtp
