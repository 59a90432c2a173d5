#include "util/random.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace sternpost {

std::uint64_t Random::bits() {
    std::uint64_t value = 0;
    fill(std::as_writable_bytes(std::span(&value, 1)));
    return value;
}

std::uint64_t Random::below(std::uint64_t bound) {
    const std::uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    std::uint64_t value = bits();
    while (value >= limit) value = bits();
    return value % bound;
}

double Random::unit() {
    return static_cast<double>(bits() >> 11U) * 0x1.0p-53;
}

void SystemRandom::fill(std::span<std::byte> octets) {
    while (!octets.empty()) {
        const ssize_t got = getrandom(octets.data(), octets.size(), 0);
        if (got > 0) {
            octets = octets.subspan(static_cast<std::size_t>(got));
        } else if (errno != EINTR) {
            std::abort();  // without chance nothing here is safe: ids, ports and jitter would be guessable
        }
    }
}

}  // namespace sternpost
