// One seed's world from its first message until its queue has drained: who does what when, and what came of
// it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "oracle.h"
#include "plant.h"
#include "trace.h"

namespace sternpost::simulation {

struct Outcome {
    std::uint64_t seed = 0;
    std::uint64_t hash = 0;
    std::uint64_t steps = 0;
    Oracle::Counts counts;
    unsigned crashes = 0;
    std::optional<Violation> violation;
};

/// Runs the seed to its end or to the first violation. `shown`: every step goes to standard output. Sure to
/// give the same hash each time, in whatever process.
Outcome run(std::uint64_t seed, const PlantEntry* plant, bool shown);

}  // namespace sternpost::simulation
