// What all lanes share about the other side: how many connections one site has, and which addresses did not
// answer lately. Five thousand domains can live on one provider's hosts. Pure.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "dns/record.h"
#include "util/clock.h"

namespace sternpost::delivery {

class Sites {
  public:
    /// `dead_for`: how long an address that took no connection is left alone.
    /// `on_room`: see wait(); whether the hop still wants a connection. May be left out.
    explicit Sites(std::chrono::seconds dead_for,
                   std::function<bool(const std::string& hop)> on_room = nullptr)
        : dead_for_(dead_for), on_room_(std::move(on_room)) {}

    /// The name of a set of hosts, whatever their order.
    static std::string name_of(std::vector<std::string> hosts);

    /// One connection more; false when the site has `most` already. After true comes leave().
    bool enter(const std::string& site, unsigned most);
    void leave(const std::string& site);
    /// One more though the site may have all that it may: for who takes over a connection that is open and
    /// carries nothing, and gives its place back by taken_over().
    void enter_beyond(const std::string& site) { ++open_[site]; }
    void taken_over(const std::string& site);
    /// The hop's mail waits for a connection of the site. `on_room` hears of it when there may be one.
    void wait(const std::string& site, const std::string& hop);
    /// There may be one: a connection carries nothing now.
    void room(const std::string& site);

    /// It is dead for `dead_for`, unless it took a connection no longer ago than that: hosts with enough of
    /// us refuse a further connection and go on with those that they have.
    void took_no_connection(const dns::Address& address, SteadyTime now, std::string why);
    void took_connection(const dns::Address& address, SteadyTime now);
    /// Why the address is left alone; null: it is not.
    const std::string* dead(const dns::Address& address, SteadyTime now);
    /// A retry by hand passes every backoff.
    void forget_dead() { dead_until_.clear(); }

  private:
    std::chrono::seconds dead_for_;
    std::function<bool(const std::string& hop)> on_room_;
    std::map<std::string, unsigned> open_;
    std::map<std::string, std::deque<std::string>> waiting_;  // hops, by site, each once
    struct Dead {
        SteadyTime until;
        std::string why;
    };
    std::map<dns::Address, Dead> dead_until_;
    std::map<dns::Address, SteadyTime> alive_until_;  // no refusal counts before
};

/// One connection of a site, for as long as this lives.
class SiteVisit {
  public:
    /// After enter(), or for a place that someone else hands over.
    SiteVisit(Sites& sites, std::string site) : sites_(&sites), site_(std::move(site)) {}
    SiteVisit(const SiteVisit&) = delete;
    SiteVisit& operator=(const SiteVisit&) = delete;
    ~SiteVisit() {
        if (sites_ != nullptr) sites_->leave(site_);
    }
    /// The connection lives on without this.
    void hand_over() { sites_ = nullptr; }

  private:
    Sites* sites_;
    std::string site_;
};

}  // namespace sternpost::delivery
