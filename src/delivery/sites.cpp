#include "delivery/sites.h"

#include <algorithm>
#include <cassert>

namespace sternpost::delivery {
namespace {

constexpr std::size_t most_known = 10000;  // ours: addresses remembered; beyond it a memory starts again

}  // namespace

std::string Sites::name_of(std::vector<std::string> hosts) {
    std::sort(hosts.begin(), hosts.end());
    std::string out;
    for (const auto& host : hosts) out += (out.empty() ? "" : ",") + host;
    return out;
}

bool Sites::enter(const std::string& site, unsigned most) {
    unsigned& open = open_[site];
    if (open >= most) return false;
    ++open;
    return true;
}

void Sites::leave(const std::string& site) {
    taken_over(site);
    room(site);
}

void Sites::wait(const std::string& site, const std::string& hop) {
    auto& line = waiting_[site];
    if (std::find(line.begin(), line.end(), hop) == line.end()) line.push_back(hop);
}

// The first that still wants one: whoever finds no room after all waits again.
void Sites::room(const std::string& site) {
    for (auto known = waiting_.find(site); known != waiting_.end(); known = waiting_.find(site)) {
        const std::string hop = std::move(known->second.front());
        known->second.pop_front();
        if (known->second.empty()) waiting_.erase(known);
        if (on_room_ && on_room_(hop)) return;
    }
}

void Sites::taken_over(const std::string& site) {
    const auto known = open_.find(site);
    assert(known != open_.end() && known->second > 0);
    if (--known->second == 0) open_.erase(known);
}

void Sites::took_no_connection(const dns::Address& address, SteadyTime now, std::string why) {
    if (const auto known = alive_until_.find(address); known != alive_until_.end()) {
        if (now < known->second) return;
        alive_until_.erase(known);
    }
    if (dead_until_.size() >= most_known) dead_until_.clear();
    dead_until_[address] = {now + dead_for_, std::move(why)};
}

void Sites::took_connection(const dns::Address& address, SteadyTime now) {
    dead_until_.erase(address);
    if (alive_until_.size() >= most_known) alive_until_.clear();
    alive_until_[address] = now + dead_for_;
}

const std::string* Sites::dead(const dns::Address& address, SteadyTime now) {
    const auto known = dead_until_.find(address);
    if (known == dead_until_.end()) return nullptr;
    if (now < known->second.until) return &known->second.why;
    dead_until_.erase(known);
    return nullptr;
}

}  // namespace sternpost::delivery
