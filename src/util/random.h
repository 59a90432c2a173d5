// Chance, as an argument, so that the simulator can seed it. In production it is never guessable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace sternpost {

class Random {
  public:
    virtual ~Random() = default;
    virtual void fill(std::span<std::byte> octets) = 0;

    std::uint64_t bits();
    /// 0 … bound-1, every value equally likely. bound is not 0.
    std::uint64_t below(std::uint64_t bound);
    /// 0.0 ≤ x < 1.0.
    double unit();
    template <class Container>
    void shuffle(Container& items) {
        for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
    }
};

/// getrandom(2); any thread.
class SystemRandom final : public Random {
  public:
    void fill(std::span<std::byte> octets) override;
};

}  // namespace sternpost
