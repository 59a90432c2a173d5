// The world as MTA-STS sees it: TXT records, policy hosts, and a store that keeps policies; all told what to
// say.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "dns/resolver.h"
#include "fake/intake_store.h"
#include "util/https.h"

namespace sternpost::fake {

namespace asio = boost::asio;

/// Answers from tables; what is in none is not there.
class TableResolver : public dns::Resolver {
  public:
    std::map<std::string, std::vector<std::string>> texts;
    std::map<std::string, std::vector<std::string>> addresses;
    std::set<std::string> broken;       // names that cannot be looked up
    std::set<std::string> broken_aaaa;  // nor their AAAA records alone
    std::vector<std::string> asked;

    asio::awaitable<dns::Result<dns::Answer<std::string>>> txt(dns::Domain name) override {
        asked.push_back("TXT " + name.text());
        if (broken.contains(name.text())) co_return fail(dns::Errc::temporary, "SERVFAIL");
        dns::Answer<std::string> out;
        if (const auto it = texts.find(name.text()); it != texts.end()) {
            out.existence = dns::Existence::found;
            out.records = it->second;
        }
        co_return out;
    }
    asio::awaitable<dns::Result<dns::Answer<dns::Address>>> a(dns::Domain name) override {
        return look_up(std::move(name), false);
    }
    asio::awaitable<dns::Result<dns::Answer<dns::Address>>> aaaa(dns::Domain name) override {
        return look_up(std::move(name), true);
    }
    asio::awaitable<dns::Result<dns::Answer<dns::Mx>>> mx(dns::Domain) override {
        co_return dns::Answer<dns::Mx>();
    }
    asio::awaitable<dns::Result<dns::Answer<dns::Tlsa>>> tlsa(dns::Domain) override {
        co_return dns::Answer<dns::Tlsa>();
    }
    asio::awaitable<dns::Result<dns::Answer<dns::Cname>>> cname(dns::Domain) override {
        co_return dns::Answer<dns::Cname>();
    }
    bool trusted() override { return false; }
    std::string servers_text() override { return "the table"; }
    std::optional<dns::Answer<dns::Mx>> cached_mx(const dns::Domain&) const override { return std::nullopt; }
    void forget_negative() override {}

  private:
    asio::awaitable<dns::Result<dns::Answer<dns::Address>>> look_up(dns::Domain name, bool v6) {
        if (broken.contains(name.text()) || (v6 && broken_aaaa.contains(name.text())))
            co_return fail(dns::Errc::temporary, "SERVFAIL");
        dns::Answer<dns::Address> out;
        const auto it = addresses.find(name.text());
        if (it == addresses.end()) co_return out;
        for (const auto& text : it->second) {
            const auto address = dns::Address::parse(text).value();
            if (address.is_v6() == v6) out.records.push_back(address);
        }
        if (!out.records.empty()) out.existence = dns::Existence::found;
        co_return out;
    }
};

class PolicyHosts final : public util::Https {
  public:
    using Outcome = Expected<util::HttpsAnswer, util::HttpsErrc>;
    std::map<std::string, Outcome> hosts;  // by name; what is not here refuses connections
    bool hold = false;                     // answers wait for release()
    std::vector<util::HttpsRequest> requests;
    std::size_t most_at_once = 0;

    /// `text` from `host`, as it should be served.
    void serve(const std::string& host, std::string text) {
        util::HttpsAnswer answer;
        answer.status = 200;
        answer.content_type = "text/plain";
        answer.body = std::move(text);
        answer.fingerprint = "f1";
        hosts.insert_or_assign(host, Outcome(std::move(answer)));
    }
    void refuse(const std::string& host, util::HttpsErrc code) {
        hosts.insert_or_assign(host, Outcome(fail(code, "as told")));
    }
    void status(const std::string& host, int status) {
        util::HttpsAnswer answer;
        answer.status = status;
        hosts.insert_or_assign(host, Outcome(std::move(answer)));
    }

    void run(util::HttpsRequest request, Completion<Outcome> reply) override {
        requests.push_back(request);
        if (!hold) return answer(request, std::move(reply));
        held_.emplace_back(std::move(request), std::move(reply));
        most_at_once = std::max(most_at_once, held_.size());
    }
    void release() {
        auto held = std::exchange(held_, {});
        for (auto& [request, reply] : held) answer(request, std::move(reply));
    }
    void reload() override {}
    void stop() override {
        for (auto& [name, outcome] : hosts) outcome = fail(util::HttpsErrc::stopped, "given up");
        release();
    }

  private:
    void answer(const util::HttpsRequest& request, Completion<Outcome> reply) {
        const auto it = hosts.find(request.host);
        reply(it == hosts.end() ? Outcome(fail(util::HttpsErrc::connect, "refused")) : it->second);
    }
    std::vector<std::pair<util::HttpsRequest, Completion<Outcome>>> held_;
};

/// Keeps policies, versions, discoveries and alarms in memory, like the real one.
class PolicyStore final : public IntakeStore {
  public:
    std::map<std::string, store::StoredPolicy> kept;
    std::map<std::string, std::vector<store::PolicyVersion>> seen;
    std::map<std::string, store::StoredDiscovery> known;
    std::vector<store::StoredAlarm> raised;
    bool readable = true;  // versions are
    int asked = 0;         // for versions
    bool writable = true;  // policies are
    bool hold = false;     // policies are kept at release()

    std::vector<store::StoredDiscovery> all_discoveries() const {
        std::vector<store::StoredDiscovery> out;
        for (const auto& [domain, discovery] : known) out.push_back(discovery);
        return out;
    }
    std::vector<std::string> alarm_kinds() const {
        std::vector<std::string> out;
        for (const auto& alarm : raised) out.push_back(alarm.kind);
        return out;
    }

    void keep(store::Kept value, Completion<store::Result<void>> reply) override {
        if (auto* discovery = std::get_if<store::StoredDiscovery>(&value))
            known[discovery->domain] = std::move(*discovery);
        if (auto* alarm = std::get_if<store::StoredAlarm>(&value)) raised.push_back(std::move(*alarm));
        if (auto* policy = std::get_if<store::StoredPolicy>(&value)) {
            if (!writable) return reply(fail(store::Errc::io, "as told"));
            if (hold) {
                held_ = {std::move(value), std::move(reply)};
                return;
            }
            seen[policy->domain].push_back(
                {policy->id, policy->text, policy->fingerprint, policy->fetched, policy->checked});
            kept[policy->domain] = std::move(*policy);
        }
        if (reply) reply(store::Result<void>());
    }
    void release() {
        hold = false;
        auto [value, reply] = std::move(held_);
        keep(std::move(value), std::move(reply));
    }
    store::Result<std::vector<store::PolicyVersion>> versions(const std::string& domain) override {
        ++asked;
        if (!readable) return fail(store::Errc::io, "as told");
        return seen[domain];
    }

  private:
    std::pair<store::Kept, Completion<store::Result<void>>> held_;
};

}  // namespace sternpost::fake
