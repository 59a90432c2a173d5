// The resolver's real form: a stub on Asio that asks recursive resolvers over UDP and TCP; ldns reads and
// writes the wire.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <optional>

#include "dns/cache.h"
#include "dns/message.h"
#include "dns/resolv_conf.h"
#include "dns/resolver.h"
#include "util/clock.h"
#include "util/random.h"

namespace sternpost::dns {

struct ResolverOptions {
    std::vector<Server> servers;  // empty: those of resolv.conf
    std::filesystem::path resolv_conf = "/etc/resolv.conf";
    std::chrono::milliseconds timeout{5000};     // for one server's answer, by UDP or TCP
    unsigned attempts = 2;                       // rounds over all servers
    std::chrono::seconds max_ttl{86400};         // nothing is believed longer than this
    std::chrono::seconds max_negative_ttl{300};  // nor that something is not there
    std::optional<bool> trusted;                 // whether AD counts; unset: on_trusted_path()
    std::size_t cache_octets = 64UL << 20U;      // of all answers that are kept; ours
};

class LdnsResolver final : public Resolver {
  public:
    LdnsResolver(asio::any_io_executor executor, ResolverOptions options, const Clock& clock, Random& random);

    asio::awaitable<Result<Answer<Mx>>> mx(Domain name) override;
    asio::awaitable<Result<Answer<Address>>> a(Domain name) override;
    asio::awaitable<Result<Answer<Address>>> aaaa(Domain name) override;
    asio::awaitable<Result<Answer<std::string>>> txt(Domain name) override;
    asio::awaitable<Result<Answer<Tlsa>>> tlsa(Domain name) override;
    asio::awaitable<Result<Answer<Cname>>> cname(Domain name) override;
    /// The names that an address has, by its PTR records. Not cached.
    asio::awaitable<Result<Answer<Cname>>> ptr(Address address);
    bool trusted() override;
    std::string servers_text() override;
    std::optional<Answer<Mx>> cached_mx(const Domain& name) const override;
    void forget_negative() override;

  private:
    template <class Record>
    struct Flight {  // one question under way; who asks the same waits for it
        explicit Flight(asio::any_io_executor executor) : landed(std::move(executor), SteadyTime::max()) {}
        asio::steady_timer landed;  // cancelled when there is a result
        std::optional<Result<Answer<Record>>> result;
    };
    template <class Record>
    struct Cache {
        explicit Cache(CacheBudget& budget) : answers(budget) {}
        AnswerCache<Record> answers;
        std::map<Domain, std::shared_ptr<Flight<Record>>> flights;
    };

    template <class Record>
    asio::awaitable<Result<Answer<Record>>> find(Cache<Record>& cache, Domain name, int type);
    template <class Record>
    asio::awaitable<Result<Answer<Record>>> resolve(Domain name, int type);
    asio::awaitable<Result<std::vector<std::uint8_t>>> ask(const Domain& name, int type);
    struct Heard {  // an answer to our question, with what its one reading showed
        Heard(std::vector<std::uint8_t> w, Header h) : wire(std::move(w)), header(std::move(h)) {}
        std::vector<std::uint8_t> wire;
        Header header;
    };
    asio::awaitable<Result<Heard>> ask_udp(const Server& server, const std::vector<std::uint8_t>& query);
    asio::awaitable<Result<Heard>> ask_tcp(const Server& server, const std::vector<std::uint8_t>& query);

    asio::any_io_executor executor_;
    ResolverOptions options_;
    const Clock& clock_;
    Random& random_;
    Servers servers_;
    CacheBudget budget_;  // of all that follow
    Cache<Mx> mx_{budget_};
    Cache<Address> a_{budget_};
    Cache<Address> aaaa_{budget_};
    Cache<std::string> txt_{budget_};
    Cache<Tlsa> tlsa_{budget_};
    Cache<Cname> cname_{budget_};
};

}  // namespace sternpost::dns
