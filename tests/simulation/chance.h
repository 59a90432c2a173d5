// What a seed decides. Each part of the world draws from a stream of its own, so that a change in one leaves
// the others as they were.
#pragma once

#include <chrono>
#include <cstring>
#include <string_view>
#include <vector>

#include "util/random.h"

namespace sternpost::simulation {

class Chance final : public Random {
  public:
    Chance(std::uint64_t seed, std::string_view stream) : state_(seed * 0x9e3779b97f4a7c15ULL + 1) {
        for (const char c : stream) state_ = (state_ ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    }

    void fill(std::span<std::byte> octets) override {
        for (std::size_t at = 0; at < octets.size(); at += sizeof(std::uint64_t)) {
            const std::uint64_t word = next();
            std::memcpy(octets.data() + at, &word, std::min(sizeof word, octets.size() - at));
        }
    }
    bool percent(unsigned share) { return below(100) < share; }
    bool one_in(std::uint64_t n) { return below(n) == 0; }
    /// Both ends included.
    std::uint64_t between(std::uint64_t least, std::uint64_t most) { return least + below(most - least + 1); }
    std::chrono::microseconds time(std::chrono::microseconds least, std::chrono::microseconds most) {
        return least +
               std::chrono::microseconds(below(static_cast<std::uint64_t>((most - least).count()) + 1));
    }
    template <class T>
    const T& pick(const std::vector<T>& items) {
        return items[below(items.size())];
    }

  private:
    std::uint64_t next() {  // splitmix64
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31U);
    }
    std::uint64_t state_;
};

}  // namespace sternpost::simulation
