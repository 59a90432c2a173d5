// The simulator as a program: runs seeds, in several processes if wanted, and says which failed and how to
// see it again.
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include "simulation.h"

namespace sternpost::simulation {
namespace {

constexpr const char* usage =
    "simulation [--seed N | --seeds FROM-TO] [--jobs N] [--plant NAME] [--trace]\n"
    "  --seed N         one world; prints what it held and its hash\n"
    "  --seeds FROM-TO  so many worlds, both ends included (1-500)\n"
    "  --jobs N         in so many processes (1)\n"
    "  --plant NAME     with a planted bug; --list-plants names them\n"
    "  --check-plants   each planted bug must be noticed in some of the seeds, as what it is\n"
    "  --twice          each world twice: both must give the same hash\n"
    "  --trace          every step, on standard output\n";

struct Request {
    std::uint64_t from = 1;
    std::uint64_t to = 500;
    unsigned jobs = 1;
    const PlantEntry* plant = nullptr;
    bool trace = false;
    bool verbose = false;
    bool twice = false;
};

void print(const Outcome& outcome, const PlantEntry* plant) {
    const auto& c = outcome.counts;
    fmt::print(
        "seed {} hash {:016x} steps {} letters {} acknowledged {} notices {} taken {} again {} sessions {} "
        "reports {} ends {}\n",
        outcome.seed, outcome.hash, outcome.steps, c.letters, c.acknowledged, c.notices, c.taken, c.repeated,
        c.sessions, c.reports, outcome.crashes);
    if (outcome.violation)
        fmt::print(
            "seed {} VIOLATES {} at {}: {}\n  replay: build/test/tests/simulation --seed {}{} --trace\n",
            outcome.seed, outcome.violation->invariant, rfc3339(outcome.violation->at),
            outcome.violation->text, outcome.seed, plant == nullptr ? "" : " --plant " + plant->name);
    std::fflush(stdout);
}

// Numbers that several processes take, each of them once: whoever is done with one takes the next.
class Counter {
  public:
    Counter()
        : next_(static_cast<std::atomic<std::uint64_t>*>(
              ::mmap(nullptr, sizeof(*next_), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
        if (next_ == MAP_FAILED) throw std::bad_alloc();
        new (next_) std::atomic<std::uint64_t>(0);
    }
    Counter(const Counter&) = delete;
    Counter& operator=(const Counter&) = delete;
    ~Counter() { ::munmap(next_, sizeof(*next_)); }
    std::uint64_t take() { return next_->fetch_add(1); }

  private:
    std::atomic<std::uint64_t>* next_;
};

// How many of the seeds that this process took failed.
unsigned run_some(const Request& request, Counter& counter) {
    unsigned failed = 0;
    for (std::uint64_t seed = request.from + counter.take(); seed <= request.to;
         seed = request.from + counter.take()) {
        Outcome outcome = run(seed, request.plant, request.trace);
        if (request.twice && !outcome.violation)
            if (const Outcome second = run(seed, request.plant, false); second.hash != outcome.hash)
                outcome.violation = {"same-again", "the second run gives another hash", {}};
        if (outcome.violation) ++failed;
        if (outcome.violation || request.verbose) print(outcome, request.plant);
    }
    return failed;
}

// Runs `work` in so many processes; how many said no, or died.
template <class Work>
unsigned in_processes(unsigned jobs, Work work) {
    if (jobs <= 1) return work() ? 0 : 1;
    for (unsigned job = 0; job < jobs; ++job)
        if (::fork() == 0) ::_exit(work() ? 0 : 1);
    unsigned failed = 0;
    for (unsigned job = 0; job < jobs; ++job) {
        int status = 0;
        ::wait(&status);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) ++failed;
    }
    return failed;
}

int run_all(const Request& request) {
    const auto began = std::chrono::steady_clock::now();
    Counter counter;
    const unsigned failed = in_processes(request.jobs, [&] { return run_some(request, counter) == 0; });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    fmt::print("{} seeds, {}, {:.1f} s\n", request.to - request.from + 1,
               failed == 0 ? "all invariants hold" : "SOME FAILED", took.count());
    return failed == 0 ? 0 : 1;
}

// What the seed notices of the bug; nullopt: nothing.
std::optional<bool> notices(const PlantEntry& plant, std::uint64_t seed) {
    const Outcome outcome = run(seed, &plant, false);
    if (!outcome.violation) return std::nullopt;
    const auto& by = plant.caught_by;
    const bool expected = std::find(by.begin(), by.end(), outcome.violation->invariant) != by.end();
    fmt::print("{:24} {} by {} in seed {}: {}\n", plant.name, expected ? "caught" : "CAUGHT WRONGLY",
               outcome.violation->invariant, seed, outcome.violation->text.substr(0, 120));
    std::fflush(stdout);
    return expected;
}

// Whether the bug is noticed in one of the seeds, by an invariant that it breaks.
bool is_caught(const PlantEntry& plant, const Request& request) {
    if (plant.seen_in != 0)
        if (const auto seen = notices(plant, plant.seen_in)) return *seen;
    for (std::uint64_t seed = request.from; seed <= request.to; ++seed)
        if (const auto seen = notices(plant, seed)) return *seen;
    fmt::print("{:24} NOT CAUGHT in {} seeds\n", plant.name, request.to - request.from + 1);
    std::fflush(stdout);
    return false;
}

int check_plants(const Request& request) {
    Counter counter;
    const unsigned failed = in_processes(request.jobs, [&] {
        bool ok = true;
        for (std::size_t n = counter.take(); n < plants().size(); n = counter.take())
            ok = is_caught(plants()[n], request) && ok;
        return ok;
    });
    return failed == 0 ? 0 : 1;
}

int main_of(int argc, char** argv) {
    Request request;
    bool check = false;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        const auto value = [&]() -> std::string {
            if (i + 1 < argc) return argv[++i];
            fmt::print(stderr, "{} wants a value\n", word);
            std::exit(64);
        };
        if (word == "--seed") {
            request.from = request.to = std::stoull(value());
            request.verbose = true;
        } else if (word == "--seeds") {
            const std::string range = value();
            request.from = std::stoull(range);
            request.to = std::stoull(range.substr(range.find('-') + 1));
        } else if (word == "--jobs") {
            request.jobs = static_cast<unsigned>(std::stoul(value()));
        } else if (word == "--trace") {
            request.trace = true;
        } else if (word == "--twice") {
            request.twice = true;
        } else if (word == "--check-plants") {
            check = true;
        } else if (word == "--verbose") {
            request.verbose = true;
        } else if (word == "--plant") {
            const std::string name = value();
            for (const auto& plant : plants())
                if (plant.name == name) request.plant = &plant;
            if (request.plant == nullptr) {
                fmt::print(stderr, "no plant is called {}; see --list-plants\n", name);
                return 64;
            }
        } else if (word == "--list-plants") {
            for (const auto& plant : plants()) fmt::print("{:24} {}\n", plant.name, plant.text);
            return 0;
        } else {
            fmt::print(word == "--help" ? stdout : stderr, "{}", usage);
            return word == "--help" ? 0 : 64;
        }
    }
    return check ? check_plants(request) : run_all(request);
}

}  // namespace
}  // namespace sternpost::simulation

int main(int argc, char** argv) {
    return sternpost::simulation::main_of(argc, argv);
}
