// Open connections that carry nothing at the moment: any domain's message may go over one, if what it proved
// satisfies that domain's own requirement. Holds them; who asks decides.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "delivery/dialer.h"
#include "delivery/requirement.h"

namespace sternpost::delivery {

/// Whether a connection that was opened with `made` may serve the requirement, if what it proved does: where
/// TLS is demanded, only one that was made under a demand (strict TLS, tls/context); where it is wanted, none
/// that no one asked for TLS.
bool may_share(const Requirement& requirement, smtp::TlsUse made);

/// What an open session shows.
Observation seen_of(const smtp::Opened& opened);

struct IdleConnection {
    DialRequest request;  // whom it leads to
    std::string site;     // of which it is one of the connections
    std::string place;    // likewise, of its address
    std::unique_ptr<Channel> channel;
    unsigned carried = 0;  // transactions so far
    SteadyTime until;      // closed then
};

/// Lives on the control thread.
class Connections {
  public:
    void put(IdleConnection connection) { idle_.push_back(std::move(connection)); }
    /// One to `host` and `port`, at one of `addresses`, that `fits`.
    std::optional<IdleConnection> take(const std::optional<dns::MxHost>& host,
                                       const std::vector<dns::Address>& addresses, std::uint16_t port,
                                       const std::function<bool(const IdleConnection&)>& fits);
    /// Whether the site has any.
    bool has(const std::string& site) const;
    /// The oldest of a site: another needs its place.
    std::optional<IdleConnection> evict(const std::string& site);
    /// The oldest at a place: a connection for others needs it.
    std::optional<IdleConnection> evict_at(const std::string& place);
    /// One whose time is over.
    std::optional<IdleConnection> expired(SteadyTime now);
    std::optional<SteadyTime> next_expiry() const;
    std::size_t size() const { return idle_.size(); }

  private:
    std::optional<IdleConnection> remove(std::list<IdleConnection>::iterator which);
    std::list<IdleConnection> idle_;  // oldest first
};

}  // namespace sternpost::delivery
