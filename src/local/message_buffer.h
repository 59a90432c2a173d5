// The message that sendmail holds while it does not yet know its end: in memory, then in a file without a
// name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "local/record.h"
#include "util/file.h"

namespace sternpost::local {

/// Octets of a message: what a runaway pipe may fill. Ours; the daemon's own limit is configuration, which
/// this program does not read.
constexpr std::uint64_t max_spooled = 104'857'600;

/// no_space for errno ENOSPC or EDQUOT, else io; `what` is what could not be done.
tl::unexpected<Error<Errc>> failed_call(std::string_view what, int error);

/// A file without a name leaves nothing behind, however the program ends.
class MessageBuffer {
  public:
    /// `folder`: where the file is made; `in_memory`: octets that are kept without one.
    explicit MessageBuffer(std::string folder, std::size_t in_memory = 1'048'576)
        : folder_(std::move(folder)), in_memory_(in_memory) {}

    /// Errors: too_big (it would be more than max_spooled), no_space, io.
    Result<void> append(std::string_view octets);
    std::uint64_t size() const { return size_; }
    /// Up to 64 KiB from `offset`; empty at the end.
    Result<std::string> read(std::uint64_t offset) const;

  private:
    std::string folder_;
    std::size_t in_memory_;
    std::string memory_;
    util::Fd file_;
    std::uint64_t size_ = 0;
};

}  // namespace sternpost::local
