#include "network.h"

#include <algorithm>

namespace sternpost::simulation {
namespace {

constexpr std::string_view reports_prefix = "_smtp._tls.";
constexpr std::string_view collector_prefix = "collector.";
const dns::Address inside_address = dns::Address::v4({192, 168, 7, 7});

}  // namespace

void Network::fall_silent() {
    silent_ = true;
    for (Wakeup* alarm : waiting_) alarm->wake();
}

asio::awaitable<void> Network::pause(std::chrono::microseconds span) {
    if (silent_) co_return;
    const auto alarm = time.wakeup();
    struct Waiting {
        std::list<Wakeup*>& all;
        std::list<Wakeup*>::iterator self;
        ~Waiting() { all.erase(self); }
    };
    const Waiting waiting{waiting_, waiting_.insert(waiting_.end(), alarm.get())};
    co_await alarm->wait(time.clock().steady() + span);
}

// ---- DNS

// Nothing: the answer comes.
asio::awaitable<std::optional<Error<dns::Errc>>> SimResolver::ask(std::string question, bool down) {
    const bool vanishes = down && net_.chance.percent(50);
    const auto took = vanishes
                          ? std::chrono::microseconds(std::chrono::seconds(5))
                          : net_.chance.time(std::chrono::milliseconds(0), std::chrono::milliseconds(80));
    if (noted_) net_.oracle.looked_up(question);
    co_await net_.pause(took);
    std::optional<Error<dns::Errc>> out;
    if (net_.silent() || vanishes)
        out = Error<dns::Errc>{dns::Errc::timed_out, "no server answered in time"};
    else if (down || net_.chance.one_in(200))
        out = Error<dns::Errc>{dns::Errc::temporary, "SERVFAIL"};
    net_.trace.step("dns {}{}", question, out ? ": " + out->text : "");
    co_return out;
}

asio::awaitable<dns::Result<dns::Answer<dns::Mx>>> SimResolver::mx(dns::Domain name) {
    const Domain* found = net_.world.domain(name.text());
    const bool known = found != nullptr;
    // A forged answer in a signed zone does not validate.
    bool down = known && found->dns_down;
    const bool forged = known && net_.world.attack(name.text()).forges_mx;
    if (forged && found->signed_zone) down = true;
    std::string question = "MX " + name.text() + (forged ? " (forged)" : "");
    auto failed = co_await ask(std::move(question), down);
    if (failed) {
        if (noted()) net_.oracle.told_mx(name.text(), {true, false});
        co_return fail(failed->code, failed->text);
    }
    dns::Answer<dns::Mx> out;
    out.canonical = name.text();
    if (!known) {
        out.existence = dns::Existence::no_name;
        co_return out;
    }
    out.existence = dns::Existence::found;
    out.authentic = found->signed_zone && !forged;
    if (forged) {
        out.records.push_back({10, net_.world.evil().name});
    } else {
        for (const auto& [preference, host] : found->mx) out.records.push_back({preference, host});
    }
    if (noted_) net_.oracle.told_mx(name.text(), {false, out.authentic});
    co_return out;
}

asio::awaitable<dns::Result<dns::Answer<dns::Address>>> SimResolver::addresses(dns::Domain name, bool v6) {
    const std::string& text = name.text();
    const bool policy_host = text.starts_with("mta-sts.");
    if (text.starts_with(collector_prefix)) {
        dns::Answer<dns::Address> collector;
        collector.existence = v6 ? dns::Existence::no_data : dns::Existence::found;
        const Domain* of = net_.world.domain(text.substr(collector_prefix.size()));
        const bool inside = of != nullptr && of->inside;
        if (!v6) collector.records.push_back(inside ? inside_address : dns::Address::v4({12, 0, 0, 2}));
        co_return collector;
    }
    const Domain* domain = net_.world.domain(policy_host ? text.substr(8) : text);
    Host* host = net_.world.host(text);
    if (policy_host && noted()) net_.oracle.asked_for_policy(text.substr(8));
    bool down = policy_host && domain != nullptr && domain->dns_down;
    const bool forged = host != nullptr && !host->evil && net_.world.attack_on_host(text).forges_address;
    if (forged && host->signed_zone) down = true;
    std::string question = (v6 ? "AAAA " : "A ") + text + (forged ? " (forged)" : "");
    auto failed = co_await ask(std::move(question), down);
    if (failed) co_return fail(failed->code, failed->text);
    dns::Answer<dns::Address> out;
    out.canonical = text;
    if (policy_host && domain != nullptr) {
        out.existence = v6 ? dns::Existence::no_data : dns::Existence::found;
        if (!v6) out.records.push_back(domain->inside ? inside_address : dns::Address::v4({12, 0, 0, 1}));
        co_return out;
    }
    if (host == nullptr) {
        out.existence = dns::Existence::no_name;
        co_return out;
    }
    out.authentic = host->signed_zone && !forged;
    const auto& all = forged ? net_.world.evil().addresses : host->addresses;
    for (const auto& address : all)
        if (address.is_v6() == v6) out.records.push_back(address);
    if (!out.records.empty()) {
        out.existence = dns::Existence::found;
        if (noted_) net_.oracle.told_addresses(text, out.authentic);
    }
    co_return out;
}

asio::awaitable<dns::Result<dns::Answer<dns::Address>>> SimResolver::a(dns::Domain name) {
    return addresses(std::move(name), false);
}
asio::awaitable<dns::Result<dns::Answer<dns::Address>>> SimResolver::aaaa(dns::Domain name) {
    return addresses(std::move(name), true);
}

// RFC 8460 §3: where the domain wants its reports.
asio::awaitable<dns::Result<dns::Answer<std::string>>> SimResolver::rua_of(dns::Domain name) {
    const std::string domain = name.text().substr(reports_prefix.size());
    const Domain* found = net_.world.domain(domain);
    const bool known = found != nullptr;
    std::string question = "TXT " + name.text();
    auto failed = co_await ask(std::move(question), known && found->dns_down);
    if (failed) co_return fail(failed->code, failed->text);
    dns::Answer<std::string> out;
    out.canonical = name.text();
    const std::string rua = known ? World::rua(domain) : "";
    if (rua.empty()) co_return out;
    out.existence = dns::Existence::found;
    out.records.push_back("v=TLSRPTv1; rua=" + rua);
    co_return out;
}

asio::awaitable<dns::Result<dns::Answer<std::string>>> SimResolver::txt(dns::Domain name) {
    if (name.text().starts_with(reports_prefix)) co_return co_await rua_of(std::move(name));
    const std::string domain = name.text().substr(name.text().find('.') + 1);  // _mta-sts.DOMAIN
    const Domain* found = net_.world.domain(domain);
    const bool known = found != nullptr;
    bool down = known && found->dns_down;
    const Attack attack = known ? net_.world.attack(domain) : Attack();
    if ((attack.hides_policy || attack.forges_policy) && found->signed_zone) down = true;
    std::string question = "TXT " + name.text();
    auto failed = co_await ask(std::move(question), down);
    if (failed) {
        if (noted()) net_.oracle.told_policy_id(domain, "");
        co_return fail(failed->code, failed->text);
    }
    std::string id = known && !attack.hides_policy ? found->txt_id : "";
    if (attack.forges_policy) id = "evil";
    dns::Answer<std::string> out;
    out.canonical = name.text();
    if (!id.empty()) {
        out.existence = dns::Existence::found;
        out.authentic = found->signed_zone;
        out.records.push_back("v=STSv1; id=" + id + ";");
    }
    if (noted_) net_.oracle.told_policy_id(domain, id);
    co_return out;
}

asio::awaitable<dns::Result<dns::Answer<dns::Tlsa>>> SimResolver::tlsa(dns::Domain name) {
    const std::string host_name = name.text().substr(std::string_view("_25._tcp.").size());
    Host* host = net_.world.host(host_name);
    const bool known = host != nullptr;
    const bool down = known && !host->evil && net_.chance.one_in(40);
    std::string question = "TLSA " + host_name;
    auto failed = co_await ask(std::move(question), down);
    if (failed) {
        if (noted()) net_.oracle.told_tlsa(host_name, {true, {}});
        co_return fail(failed->code, failed->text);
    }
    dns::Answer<dns::Tlsa> out;
    out.canonical = name.text();
    Oracle::TlsaTold told;
    if (known && host->signed_zone && host->has_tlsa) {
        out.existence = dns::Existence::found;
        out.authentic = true;
        out.records.push_back(tlsa_of(host->certificate.key));
        told.unusable = !host->tlsa_usable;
        if (host->tlsa_usable)
            told.digests.insert(out.records.front().data);
        else
            out.records.front().usage = 1;
    }
    if (noted_) net_.oracle.told_tlsa(host_name, std::move(told));
    co_return out;
}

asio::awaitable<dns::Result<dns::Answer<dns::Cname>>> SimResolver::cname(dns::Domain name) {
    dns::Answer<dns::Cname> out;
    out.canonical = name.text();
    co_return out;
}

// ---- policy hosts

void SimHttps::run(util::HttpsRequest request, Completion<Answer> reply) {
    for (const auto& address : request.addresses)
        net_.oracle.dialled(dns::Address::parse(address).value(), request.host);
    auto held = std::make_shared<Completion<Answer>>(std::move(reply));
    if (request.host.starts_with(collector_prefix)) {
        tasks_.spawn("collector", collect(request.host, request.post_body.value_or(""), std::move(held)));
        return;
    }
    tasks_.spawn("policy host", serve(std::move(request.host), std::move(held)));
}

// Takes reports, most of the time; now and then it takes one and no one hears of it.
asio::awaitable<void> SimHttps::collect(std::string host, std::string body,
                                        std::shared_ptr<Completion<Answer>> reply) {
    co_await net_.pause(net_.chance.time(std::chrono::milliseconds(20), std::chrono::seconds(2)));
    Answer out = fail(util::HttpsErrc::stopped, "given up");
    if (!net_.silent()) {
        const bool takes = !net_.chance.percent(20);
        if (takes) net_.oracle.report_came(body);
        util::HttpsAnswer answer;
        answer.status = takes ? 200 : 503;
        out = std::move(answer);
        if (net_.chance.percent(5)) out = fail(util::HttpsErrc::connect, "the connection was lost");
    }
    net_.trace.step("https {}: {}", host, out ? std::to_string(out->status) : out.error().text);
    (*reply)(std::move(out));
}

asio::awaitable<void> SimHttps::serve(std::string host, std::shared_ptr<Completion<Answer>> reply) {
    const std::string domain = host.substr(host.find('.') + 1);
    const Domain* found = net_.world.domain(domain);
    const bool hangs = found != nullptr && found->policy_host == PolicyHost::hangs;
    const auto took = hangs ? std::chrono::microseconds(std::chrono::seconds(60))
                            : net_.chance.time(std::chrono::milliseconds(20), std::chrono::seconds(2));
    co_await net_.pause(took);
    Answer out = fail(util::HttpsErrc::stopped, "given up");
    if (!net_.silent()) out = answer(domain);
    net_.trace.step("https {}: {}", host, out ? std::to_string(out->status) : out.error().text);
    (*reply)(std::move(out));
}

SimHttps::Answer SimHttps::answer(const std::string& domain) {
    const Domain* found = net_.world.domain(domain);
    if (found == nullptr) return fail(util::HttpsErrc::connect, "refused");
    const Attack& attack = net_.world.attack(domain);
    if (attack.hides_policy) return fail(util::HttpsErrc::connect, "blocked");
    if (attack.forges_policy) return fail(util::HttpsErrc::certificate, "not the policy host's certificate");
    util::HttpsAnswer out;
    out.status = 200;
    out.content_type = "text/plain";
    out.fingerprint = "f" + domain;
    const auto& policy = found->policy;
    switch (found->policy_host) {
        case PolicyHost::refuses:
            return fail(util::HttpsErrc::connect, "refused");
        case PolicyHost::hangs:
            return fail(util::HttpsErrc::timed_out, "timed out");
        case PolicyHost::bad_certificate:
            return fail(util::HttpsErrc::certificate, "expired");
        case PolicyHost::not_found:
            out.status = 404;
            return out;
        case PolicyHost::garbage:
            out.body = "<html>no policy here</html>";
            return out;
        case PolicyHost::serves:
            break;
    }
    if (!policy) {
        out.status = 404;
        return out;
    }
    out.body = policy->text();
    if (noted_) net_.oracle.served(domain, *policy);
    return out;
}

}  // namespace sternpost::simulation
