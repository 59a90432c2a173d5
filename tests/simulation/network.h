// The way from the daemon to the world: a resolver, policy hosts and MX hosts, scripted by the seed. All of
// it waits on the stepped clock alone, and falls silent when the process that uses it is gone.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "chance.h"
#include "delivery/dialer.h"
#include "dns/resolver.h"
#include "fake/step_world.h"
#include "oracle.h"
#include "trace.h"
#include "util/https.h"
#include "util/tasks.h"
#include "world.h"

namespace sternpost::simulation {

namespace asio = boost::asio;

/// What resolver, policy hosts and dialer share. One for each process of the daemon.
class Network {
  public:
    Network(World& a_world, Oracle& an_oracle, Trace& a_trace, fake::StepWorld& a_time, Chance& a_chance,
            bool by_octets)
        : world(a_world),
          oracle(an_oracle),
          trace(a_trace),
          time(a_time),
          chance(a_chance),
          octets(by_octets) {}
    Network(const Network&) = delete;
    Network& operator=(const Network&) = delete;

    World& world;
    Oracle& oracle;
    Trace& trace;
    fake::StepWorld& time;
    Chance& chance;
    const bool octets;  // sessions run the real client core over octets; else a script's outcomes are told

    /// The process is gone: whoever waits goes on at once, and nothing happens any more.
    void fall_silent();
    bool silent() const { return silent_; }
    /// Lets time pass; less of it when the network falls silent.
    asio::awaitable<void> pause(std::chrono::microseconds span);

  private:
    std::list<Wakeup*> waiting_;
    bool silent_ = false;
};

class SimResolver final : public dns::Resolver {
  public:
    /// Not `noted`: what it says is for someone who asks, and the daemon's delivery does not hear it.
    explicit SimResolver(Network& network, bool noted = true) : net_(network), noted_(noted) {}
    asio::awaitable<dns::Result<dns::Answer<dns::Mx>>> mx(dns::Domain name) override;
    asio::awaitable<dns::Result<dns::Answer<dns::Address>>> a(dns::Domain name) override;
    asio::awaitable<dns::Result<dns::Answer<dns::Address>>> aaaa(dns::Domain name) override;
    asio::awaitable<dns::Result<dns::Answer<std::string>>> txt(dns::Domain name) override;
    asio::awaitable<dns::Result<dns::Answer<dns::Tlsa>>> tlsa(dns::Domain name) override;
    asio::awaitable<dns::Result<dns::Answer<dns::Cname>>> cname(dns::Domain name) override;
    bool trusted() override { return true; }
    std::string servers_text() override { return "the simulation"; }
    std::optional<dns::Answer<dns::Mx>> cached_mx(const dns::Domain&) const override { return std::nullopt; }
    void forget_negative() override {}

  private:
    asio::awaitable<std::optional<Error<dns::Errc>>> ask(std::string question, bool down);
    asio::awaitable<dns::Result<dns::Answer<dns::Address>>> addresses(dns::Domain name, bool v6);
    asio::awaitable<dns::Result<dns::Answer<std::string>>> rua_of(dns::Domain name);
    bool noted() const { return noted_ && !net_.silent(); }
    Network& net_;
    const bool noted_;
};

class SimHttps final : public util::Https {
  public:
    using Answer = Expected<util::HttpsAnswer, util::HttpsErrc>;
    SimHttps(Network& network, TaskGroup& tasks, bool noted = true)
        : net_(network), tasks_(tasks), noted_(noted) {}
    void run(util::HttpsRequest request, Completion<Answer> reply) override;
    void reload() override {}

  private:
    asio::awaitable<void> serve(std::string host, std::shared_ptr<Completion<Answer>> reply);
    asio::awaitable<void> collect(std::string host, std::string body,
                                  std::shared_ptr<Completion<Answer>> reply);
    Answer answer(const std::string& domain);
    Network& net_;
    TaskGroup& tasks_;
    const bool noted_;
};

class SimDialer final : public delivery::Dialer {
  public:
    /// `gate`: asked for every connection, as the daemon's dialer asks it.
    SimDialer(Network& network, store::Store& store, dns::Gate gate)
        : net_(network), store_(store), gate_(std::move(gate)) {}
    asio::awaitable<tl::expected<std::unique_ptr<delivery::Channel>, smtp::Failure>> open(
        delivery::DialRequest request) override;

  private:
    struct Ticket {
        std::string key;
        const Host* host;
        Certificate certificate;
    };
    Network& net_;
    store::Store& store_;
    dns::Gate gate_;
    std::vector<Ticket> tickets_;
};

}  // namespace sternpost::simulation
