// The daemon's side of `sternpost dkim`: keeps the keys in use up to date with their folder, and compares
// them with what the DNS holds.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "admin/answer.h"
#include "admin/dkim.h"
#include "admin/policies.h"
#include "delivery/signing.h"
#include "dkim/keys.h"
#include "dns/resolver.h"
#include "util/timer.h"

namespace sternpost::admin {

namespace asio = boost::asio;

/// Lives on the control thread. What it is given outlives it.
class DkimKeys {
  public:
    DkimKeys(dkim::KeyFolder folder, delivery::Signing& signing, dns::Resolver& resolver, TaskQueue& pool,
             const Clock& clock, Timer& timer);

    /// Whose TLS reports are to be signed, and whether anything is: from then on the DNS is asked for that
    /// domain's keys, hourly, and each minute while something is wrong.
    /// `changed` is called when report_trouble() says something else.
    void report_for(dns::Domain submitter, bool signs, std::function<void()> changed);
    /// Why no report could be signed so that it verifies (RFC 8460 §3; D-16); empty: it can.
    const std::string& report_trouble() const { return report_trouble_; }

    /// At the start: reads the folder here and now.
    void load();
    /// Looks at the folder every few seconds, and reads it on the pool when something has changed. Until
    /// stop().
    asio::awaitable<void> watch();
    void stop();

    /// Each key's record as the world sees it now. An empty domain: of all keys.
    asio::awaitable<Answer<PublishedKeys>> check(DomainRequest request);
    /// The folder has changed.
    asio::awaitable<Answer<Nothing>> reload();

  private:
    struct Look {  // what the pool saw
        std::string fingerprint;
        std::shared_ptr<const dkim::KeySet> keys;  // null: as before
    };
    asio::awaitable<void> look();
    asio::awaitable<Answer<PublishedKeys>> compare(std::string domain);
    asio::awaitable<PublishedKey> published(const dkim::StoredKey& key);
    asio::awaitable<void> look_at_reports();
    asio::awaitable<std::string> trouble_with_reports();

    dkim::KeyFolder folder_;
    delivery::Signing& signing_;
    dns::Resolver& resolver_;
    TaskQueue& pool_;
    const Clock& clock_;
    std::string fingerprint_;
    std::unique_ptr<Wakeup> next_look_;
    bool stopping_ = false;

    std::optional<dns::Domain> submitter_;
    bool signs_ = true;
    std::string report_trouble_;
    std::function<void()> report_changed_;
    SteadyTime reports_at_{};  // when the DNS is asked again
};

}  // namespace sternpost::admin
