// What memory the process has for itself.
#pragma once

#include <cstdint>

namespace sternpost::util {

/// Octets that are resident and no file's (about RssAnon of proc(5)); 0 where the kernel does not say. Any
/// thread.
std::uint64_t own_memory();
/// Gives back to the system what the heap keeps and no one uses. Takes milliseconds, in which no one else
/// gets memory. Any thread.
void give_memory_back();

/// Whether there is too much of it: from `most` on, until it is below nine tenths of that. Pure.
class MemoryLimit {
  public:
    /// 0: there is no limit.
    explicit MemoryLimit(std::uint64_t most) : most_(most) {}
    /// With so many octets now.
    bool exceeded(std::uint64_t octets) {
        exceeded_ = most_ > 0 && octets >= (exceeded_ ? most_ - most_ / 10 : most_);
        return exceeded_;
    }

  private:
    std::uint64_t most_;
    bool exceeded_ = false;
};

}  // namespace sternpost::util
