// Message octets on their way in and out: small ones in memory under a common limit, large ones in files
// under bodies/.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "store/journal/disk.h"
#include "store/store.h"
#include "util/random.h"

namespace sternpost::store {

/// How many octets of bodies may wait in memory. Any thread.
class MemoryBudget {
  public:
    explicit MemoryBudget(std::size_t limit) : limit_(limit) {}
    bool take(std::size_t octets);
    void give(std::size_t octets) { used_ -= octets; }
    std::size_t used() const { return used_; }

  private:
    std::size_t limit_;
    std::atomic<std::size_t> used_ = 0;
};

/// Makes and reads bodies. Any thread; the parts outlive every sink and body made here.
class Bodies {
  public:
    Bodies(Disk& disk, Random& random, std::size_t memory)
        : disk_(disk), random_(random), budget_(std::make_shared<MemoryBudget>(memory)) {}

    /// As Store::new_body(). Up to 64 KiB stay in memory while there is room for all, else they go to a file.
    std::unique_ptr<BodySink> make(std::uint64_t limit);

    /// Brings a large body to stable storage, with its directory entry: before its accept record. One that is
    /// large and still in memory gets a file. Errors: full; closed after a failed sync (`why` says which; the
    /// process must end).
    Result<void> make_durable(Body& body);

    /// The body is accepted or refused: it no longer counts against the memory for those on their way in.
    static void settle(const Body& body);
    /// Removes the file of a body that no message has, if it has one.
    void discard(const Body& body);

    /// How many sinks are open: sessions that are inside DATA, whose mail may join the next batch.
    std::size_t open_sinks() const { return open_sinks_; }
    std::size_t memory_used() const { return budget_->used(); }

  private:
    class Sink;
    Disk& disk_;
    Random& random_;
    std::shared_ptr<MemoryBudget> budget_;
    std::atomic<std::size_t> open_sinks_ = 0;
};

/// As Store::read_body(). A small body is checked against its CRC with each read, a large one when it is read
/// from 0. Any thread.
Result<std::string> read_body(Disk& disk, const Body& body, std::uint64_t offset, std::size_t most);

/// bodies/NAME
std::string body_path(std::string_view file);

}  // namespace sternpost::store
