#include "dns/cache.h"

#include <utility>

namespace sternpost::dns {

std::size_t octets_of(const Mx& record) {
    return sizeof record + record.exchange.capacity();
}
std::size_t octets_of(const Address& record) {
    return sizeof record;
}
std::size_t octets_of(const std::string& record) {
    return sizeof record + record.capacity();
}
std::size_t octets_of(const Tlsa& record) {
    return sizeof record + record.data.capacity();
}
std::size_t octets_of(const Cname& record) {
    return sizeof record + record.target.capacity();
}

CacheBudget::Place CacheBudget::add(std::size_t octets, std::function<void()> drop) {
    while (!shares_.empty() && octets_ + octets > limit_) {
        const auto oldest = std::move(shares_.back().drop);  // take_back() ends the share that holds it
        oldest();
    }
    octets_ += octets;
    shares_.push_front(Share{octets, std::move(drop)});
    return shares_.begin();
}

void CacheBudget::used(Place place) {
    shares_.splice(shares_.begin(), shares_, place);
}

void CacheBudget::take_back(Place place) {
    octets_ -= place->octets;
    shares_.erase(place);
}

}  // namespace sternpost::dns
