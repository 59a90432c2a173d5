// What the store's tests share: messages made in one line, a log that keeps quiet, a seeded Random.
#pragma once

#include <future>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "store/errc.h"
#include "store/message.h"
#include "store/results.h"
#include "store/store.h"
#include "util/log.h"
#include "util/random.h"

namespace sternpost::store::testing {

class NullLog final : public Log {
  public:
    void write(Level, std::string_view) override {}
    bool wants(Level) const override { return false; }
};

class SeededRandom final : public Random {
  public:
    explicit SeededRandom(std::uint64_t seed) : engine_(seed) {}
    void fill(std::span<std::byte> octets) override {
        for (auto& octet : octets) octet = static_cast<std::byte>(engine_() & 0xFFU);
    }

  private:
    std::mt19937_64 engine_;
};

// Stands at the time at which message_to()'s mail arrives, unless it is set.
class FixedClock final : public Clock {
  public:
    WallTime wall() const override { return now; }
    SteadyTime steady() const override { return SteadyTime(passed); }
    void pass(std::chrono::microseconds time) {
        now += time;
        passed += time;
    }
    WallTime now{std::chrono::seconds(1'700'000'000)};
    std::chrono::microseconds passed{0};
};

inline NewMessage message_to(std::uint64_t id, const std::vector<std::string>& recipients,
                             std::string octets) {
    NewMessage message;
    message.id = MessageId{id};
    message.arrived = FixedClock().now;
    message.envelope.reverse_path = mail::ReversePath::parse("alice@example.org").value();
    message.origin = {"192.0.2.1", "client.example.org", "ESMTP", std::nullopt};
    for (const auto& text : recipients) {
        const auto path = mail::ForwardPath::parse(text).value();
        message.recipients.emplace_back(mail::Recipient(path), path.mailbox().host());
    }
    message.body = Body::of(std::move(octets));
    return message;
}

/// A session with `mx_host` that went well under no policy.
inline TlsOutcome outcome_with(const std::string& mx_host, WallTime at,
                               const std::string& domain = "example.com") {
    TlsOutcome outcome;
    outcome.at = at;
    outcome.domain = outcome.policy_domain = domain;
    outcome.mx_host = mx_host;
    outcome.helo = mx_host;
    outcome.local_address = "192.0.2.1";
    outcome.remote_address = "192.0.2.7";
    outcome.tls = "TLSv1.3";
    return outcome;
}

inline std::vector<DeliveryResult> results_for(const NewMessage& message, RecipientState state) {
    std::vector<DeliveryResult> out(message.recipients.size());
    for (std::uint32_t n = 0; n < out.size(); ++n) {
        out[n].message = message.id;
        out[n].recipient = n;
        out[n].state = state;
        out[n].status = "2.0.0";
    }
    return out;
}

inline std::vector<DeliveryResult> sent(const NewMessage& message) {
    return results_for(message, RecipientState::sent);
}

/// What the question says; waits for a store that has threads of its own.
template <class Asked>
auto asked(Store& store, Asked question) -> std::invoke_result_t<Asked&, Questions&> {
    using Answer = std::invoke_result_t<Asked&, Questions&>;
    std::promise<Answer> promise;
    store.ask(
        Question([&](Result<Questions*> questions) {
            promise.set_value(questions ? question(**questions) : Answer(fail(std::move(questions).error())));
        }),
        false);
    return promise.get_future().get();
}

}  // namespace sternpost::store::testing
