// Usage: bench-fill-day STATE_DIR DOMAINS SESSIONS
// Fills a store with the TLS outcomes of one day, the day before this clock's: SESSIONS spread over DOMAINS,
// as deliveries record them. Every tenth session has failed, in one of three ways; each domain has a policy
// and three MX hosts. Prints how long it took.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <future>
#include <iostream>
#include <vector>

#include "store/engine/engine.h"
#include "util/log.h"
#include "util/random.h"

namespace {

using namespace sternpost;

class NoLog final : public Log {
  public:
    void write(Level, std::string_view) override {}
    bool wants(Level) const override { return false; }
};

store::TlsOutcome outcome(std::uint64_t domain, std::uint64_t session, WallTime at) {
    store::TlsOutcome out;
    out.at = at;
    out.domain = fmt::format("d{}.bench.test", domain);
    out.policy_type = domain % 4 == 0 ? store::PolicyType::no_policy_found : store::PolicyType::sts;
    out.policy_domain = out.domain;
    if (out.policy_type == store::PolicyType::sts) {
        out.mode = domain % 3 == 0 ? "testing" : "enforce";
        out.policy_text = fmt::format("version: STSv1\r\nmode: {}\r\nmx: *.{}\r\nmax_age: 604800\r\n",
                                      out.mode, out.domain);
    }
    out.mx_host = fmt::format("mx{}.{}", session % 3, out.domain);
    out.helo = out.mx_host;
    out.local_address = "192.0.2.1";
    out.remote_address = fmt::format("198.51.{}.{}", domain % 250, session % 3);
    out.tls = "TLSv1.3";
    if (session % 10 != 0) return out;
    out.count = store::OutcomeCount::failure;
    const char* const failures[] = {"certificate-expired", "starttls-not-supported", "validation-failure"};
    out.result_type = failures[session / 10 % 3];
    out.reason_code = "bench";
    return out;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::cerr << "usage: bench-fill-day STATE_DIR DOMAINS SESSIONS\n";
        return 64;
    }
    const std::uint64_t domains = std::strtoull(argv[2], nullptr, 10);
    const std::uint64_t sessions = std::strtoull(argv[3], nullptr, 10);
    NoLog log;
    const SystemClock machine_clock;
    store::TrustedClock clock(machine_clock);
    SystemRandom random;
    store::engine::Options options;
    auto store = store::engine::SqliteStore::open(argv[1], options, log, clock, random, nullptr);
    if (!store) {
        std::cerr << store.error().text << '\n';
        return 1;
    }
    const WallTime noon = std::chrono::floor<std::chrono::days>(clock.wall()) - std::chrono::hours(12);
    const SteadyTime began = clock.steady();
    constexpr std::uint64_t at_once = 2000;
    for (std::uint64_t n = 0; n < sessions; n += at_once) {
        std::vector<store::DeliveryResult> results;
        for (std::uint64_t i = n; i < std::min(n + at_once, sessions); ++i) {
            store::DeliveryResult result;
            result.message = store::MessageId{1};
            result.at = noon;
            result.detail.outcomes.push_back(outcome(i % domains, i / domains, noon));
            results.push_back(std::move(result));
        }
        std::promise<bool> done;
        (*store)->record(std::move(results), {},
                         [&done](const store::Result<void>& kept) { done.set_value(kept.has_value()); });
        if (!done.get_future().get()) {
            std::cerr << "the store refuses\n";
            return 1;
        }
    }
    (*store)->stop();
    fmt::print("{} sessions of {} domains in {:.1f} s\n", sessions, domains,
               std::chrono::duration<double>(clock.steady() - began).count());
    return 0;
}
