// A Random that a seed decides.
#pragma once

#include <cstring>
#include <random>

#include "util/random.h"

namespace sternpost::fake {

class SeededRandom final : public Random {
  public:
    explicit SeededRandom(std::uint64_t seed = 1) : engine_(seed) {}
    void fill(std::span<std::byte> octets) override {
        for (auto& octet : octets) octet = static_cast<std::byte>(engine_() & 255U);
    }

  private:
    std::mt19937_64 engine_;
};

}  // namespace sternpost::fake
