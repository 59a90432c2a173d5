#include "world.h"

#include <algorithm>

namespace sternpost::simulation {

dns::Tlsa tlsa_of(std::uint64_t key) {
    dns::Tlsa out{3, 1, 1, {}};
    for (std::size_t i = 0; i < 32; ++i)
        out.data.push_back(static_cast<std::uint8_t>((key * 131 + i * 17) & 0xffU));
    return out;
}

std::string Policy::text() const {
    std::string out = "version: STSv1\r\nmode: " + mode + "\r\n";
    for (const std::string& pattern : mx) out += "mx: " + pattern + "\r\n";
    return out + "max_age: " + std::to_string(max_age.count()) + "\r\n";
}

bool Policy::lists(const std::string& host) const {
    return std::any_of(mx.begin(), mx.end(), [&](const std::string& pattern) {
        if (!pattern.starts_with("*.")) return pattern == host;
        const auto dot = host.find('.');
        return dot != std::string::npos && host.substr(dot) == pattern.substr(1);
    });
}

const dns::Address& own_address() {
    static const dns::Address address = dns::Address::v4({11, 255, 0, 1});
    return address;
}

World::World(Chance& chance, WallTime now, bool hostile) {
    // A provider whose hosts many domains share, and hosts of one domain alone.
    std::vector<std::string> shared;
    for (std::uint64_t n = 1, count = chance.between(1, 3); n <= count; ++n) {
        shared.push_back("mx" + std::to_string(n) + ".provider.example");
        add_host(chance, shared.back(), now);
    }
    for (std::uint64_t n = 1, count = chance.between(2, 6); n <= count; ++n) {
        Domain domain;
        domain.name = "d" + std::to_string(n) + ".example";
        domain.signed_zone = chance.percent(40);
        if (chance.percent(50)) {
            for (const std::string& name : shared) domain.mx.emplace_back(chance.between(1, 2) * 10, name);
        } else {
            for (std::uint64_t h = 1, hosts = chance.between(1, 2); h <= hosts; ++h) {
                const std::string name = "mx" + std::to_string(h) + "." + domain.name;
                add_host(chance, name, now);
                domain.mx.emplace_back(h * 10, name);
            }
        }
        if (chance.percent(60)) publish(chance, domain);
        mail_domains_.push_back(domain.name);
        domains_.emplace(domain.name, std::move(domain));
    }
    // Where notices go.
    Domain senders;
    senders.name = sender_domain_;
    add_host(chance, "mx." + sender_domain_, now);
    senders.mx.emplace_back(10, "mx." + sender_domain_);
    if (chance.percent(30)) publish(chance, senders);
    domains_.emplace(senders.name, std::move(senders));

    evil_ = std::make_unique<Host>();
    evil_->name = "mail.evil.example";
    evil_->evil = true;
    evil_->addresses.push_back(dns::Address::v4({13, 6, 6, 6}));
    evil_->certificate = {{evil_->name}, true, now + std::chrono::hours(24 * 3650), 666};
    evil_->starttls = true;
    evil_->requiretls = true;
    by_address_[evil_->addresses.front()] = evil_.get();
    if (hostile) add_hostile(chance);
}

Host& World::add_hostile_host(const std::string& domain, const std::string& name) {
    auto host = std::make_unique<Host>();
    host->name = name;
    host->starttls = false;
    Domain& of = hostile_[domain];
    if (of.name.empty()) hostile_domains_.push_back(domain);
    of.name = domain;
    of.mx.emplace_back(10, name);
    return *(hostile_hosts_[name] = std::move(host));
}

// No one but them knows their hosts: they are no part of what changes by itself.
void World::add_hostile(Chance& chance) {
    std::uint8_t address = 0;
    const auto next = [&] { return dns::Address::v4({11, 1, ++address, 1}); };
    const dns::Address shared = next();
    for (std::uint64_t n = 1, count = chance.between(20, 30); n <= count; ++n) {
        const std::string domain = "slow" + std::to_string(n) + ".example";  // each with an owner of its own
        Host& host = add_hostile_host(domain, "mx." + domain);
        host.slow = true;
        host.addresses.push_back(n % 2 == 0 ? shared : next());
        by_address_[host.addresses.front()] = &host;
    }
    const std::string many(many_names);
    for (std::uint8_t n = 1; n <= 60; ++n) {
        Host& host = add_hostile_host(many, "mx" + std::to_string(n) + "." + many);
        host.faults.refuses_connection = 100;
        for (std::uint8_t a = 1; a <= 3; ++a) host.addresses.push_back(dns::Address::v4({11, 2, n, a}));
        for (const auto& one : host.addresses) by_address_[one] = &host;
    }
    Host& twin = add_hostile_host("loop.hostile.example", "mx.loop.hostile.example");
    twin.calls_itself = own_name;
    twin.addresses.push_back(next());
    by_address_[twin.addresses.front()] = &twin;
    // By DNS alone: no one of theirs is there.
    Host& inside = add_hostile_host("inside.hostile.example", "mx.inside.hostile.example");
    hostile_.at("inside.hostile.example").inside = true;
    hostile_.at("inside.hostile.example").txt_id = next_id();
    for (const char* text :
         {"127.0.0.1", "10.0.0.25", "169.254.169.254", "192.168.1.1", "::1", "fd00::25", "::ffff:10.0.0.25"})
        inside.addresses.push_back(dns::Address::parse(text).value());
    add_hostile_host("self.hostile.example", "mx.self.hostile.example").addresses.push_back(own_address());
}

const Domain* World::domain(const std::string& name) const {
    for (const auto* all : {&domains_, &hostile_})
        if (const auto found = all->find(name); found != all->end()) return &found->second;
    return nullptr;
}

void World::add_host(Chance& chance, const std::string& name, WallTime now) {
    auto host = std::make_unique<Host>();
    host->name = name;
    for (std::uint64_t n = 0, count = chance.between(1, 2); n < count; ++n)
        host->addresses.push_back(dns::Address::v4({11, 0, ++addresses_, 1}));
    if (chance.percent(30)) {
        std::array<std::uint8_t, 16> octets{0x26, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ++addresses_, 1};
        host->addresses.push_back(dns::Address::v6(octets));
    }
    host->signed_zone = chance.percent(50);
    host->has_tlsa = host->signed_zone && chance.percent(60);
    host->tlsa_usable = chance.percent(75);
    host->foreign = chance.percent(30);
    host->certificate = {{name}, true, now + std::chrono::hours(24 * 365), ++keys_};
    switch (chance.below(8)) {
        case 0:
            host->certificate.names = {"other." + name};
            break;
        case 1:
            host->certificate.trusted = false;
            break;
        case 2:
            host->starttls = false;
            break;
        default:
            break;
    }
    host->requiretls = chance.percent(40);
    host->eight_bit = chance.percent(80);
    host->pipelining = chance.percent(80);
    host->faults.greylists = chance.percent(25);
    host->faults.loses_dot = chance.percent(30) ? 4 : 0;
    host->faults.temporary = static_cast<unsigned>(chance.below(4));
    host->faults.goes_away = static_cast<unsigned>(chance.below(3));
    for (const auto& address : host->addresses) by_address_[address] = host.get();
    hosts_.emplace(name, std::move(host));
}

// A policy that the domain's hosts satisfy, or sometimes one that they do not.
void World::publish(Chance& chance, Domain& domain) {
    Policy policy;
    policy.id = next_id();
    policy.mode = chance.percent(60) ? "enforce" : chance.percent(70) ? "testing" : "none";
    for (const auto& [preference, host] : domain.mx) {
        if (chance.percent(10)) continue;  // forgotten
        const auto dot = host.find('.');
        policy.mx.push_back(chance.percent(30) ? "*" + host.substr(dot) : host);
    }
    if (policy.mx.empty()) policy.mx.push_back(domain.mx.front().second);
    policy.max_age =
        std::chrono::seconds(chance.percent(20) ? chance.between(1800, 7200) : chance.between(86400, 864000));
    domain.txt_id = policy.id;
    domain.policy = std::move(policy);
}

Host* World::host(const std::string& name) {
    if (name == evil_->name) return evil_.get();
    for (auto* all : {&hosts_, &hostile_hosts_})
        if (const auto found = all->find(name); found != all->end()) return found->second.get();
    return nullptr;
}

Host* World::at(const dns::Address& address) {
    const auto found = by_address_.find(address);
    return found == by_address_.end() ? nullptr : found->second;
}

Attack World::attack_on_host(const std::string& host) {
    Attack out;
    for (const auto& [name, attack] : attacks_) {
        const Domain* of = domain(name);
        const bool has =
            std::any_of(of->mx.begin(), of->mx.end(), [&](const auto& mx) { return mx.second == host; });
        if (!has) continue;
        out.strips_starttls = out.strips_starttls || attack.strips_starttls;
        out.forges_address = out.forges_address || attack.forges_address;
    }
    return out;
}

std::string World::what_is_wrong(const std::string& name) {
    const Domain* of = domain(name);
    if (of == nullptr || of->dns_down || of->inside || attacks_[name].any()) return "";
    if (const std::string to = rua(name); !to.empty() && to.find(':') == std::string::npos)
        return "its record at _smtp._tls names no place that a report can go to";
    if (of->txt_id.empty()) return "";
    if (of->policy_host != PolicyHost::serves || !of->policy) return "its policy host serves no policy";
    for (const auto& [preference, host] : of->mx)
        if (of->policy->mode != "none" && !of->policy->lists(host)) return "its policy leaves out " + host;
    return "";
}

std::string World::change(Chance& chance, WallTime now) {
    auto domain_at = std::next(domains_.begin(), static_cast<std::ptrdiff_t>(chance.below(domains_.size())));
    Domain& domain = domain_at->second;
    Host& host = *std::next(hosts_.begin(), static_cast<std::ptrdiff_t>(chance.below(hosts_.size())))->second;
    switch (chance.below(14)) {
        case 0:
            host.down = !host.down;
            return host.name + (host.down ? " goes down" : " is back");
        case 1:
            host.faults.temporary = static_cast<unsigned>(chance.below(30));
            host.faults.goes_away = static_cast<unsigned>(chance.below(15));
            return host.name + " has other manners";
        case 2:
            host.faults.takes_no_connection = chance.percent(50) ? 60 : 0;
            host.faults.refuses_connection = chance.percent(50) ? 30 : 0;
            return host.name + " is hard to reach or no more";
        case 3:
            host.faults.handshake = chance.percent(50) ? 30 : 0;
            host.faults.permanent = chance.percent(20) ? 5 : 0;
            return host.name + " has trouble with TLS, or no more";
        case 4:
            if (!host.starttls || chance.percent(20)) host.starttls = !host.starttls;
            return host.name + (host.starttls ? " offers" : " does not offer") + " STARTTLS";
        case 5: {
            // A key rolls, and its TLSA record with it; or the certificate turns bad or good.
            host.certificate.key = ++keys_;
            const bool good = chance.percent(60);
            host.certificate.names = {good || chance.percent(50) ? host.name : "other." + host.name};
            host.certificate.trusted = good || chance.percent(50);
            host.certificate.expires = now + (chance.percent(25) ? std::chrono::hours(chance.between(1, 40))
                                                                 : std::chrono::hours(24 * 365));
            return host.name + " has another certificate";
        }
        case 6:
            host.has_tlsa = host.signed_zone && !host.has_tlsa;
            host.tlsa_usable = chance.percent(75);
            return host.name + (host.has_tlsa ? " has" : " has no") + " TLSA records";
        case 7:
        case 8: {
            publish(chance, domain);
            if (chance.percent(15)) domain.txt_id = "v0";  // the record was changed, the file was not
            return domain.name + " publishes the policy " + domain.txt_id + " (" + domain.policy->mode + ")";
        }
        case 9:
            if (!domain.policy) return "nothing";
            domain.policy.reset();
            domain.txt_id.clear();
            return domain.name + " has no policy any more";
        case 10:
            domain.policy_host = static_cast<PolicyHost>(chance.percent(50) ? 0 : chance.below(6));
            return "the policy host of " + domain.name + " behaves as number " +
                   std::to_string(static_cast<int>(domain.policy_host));
        case 11:
            domain.dns_down = !domain.dns_down && chance.percent(60);
            return "the DNS of " + domain.name + (domain.dns_down ? " is down" : " is up");
        default: {
            Attack& attack = attacks_[domain.name];
            if (attack.any()) {
                attack = {};
                return "the attack on " + domain.name + " ends";
            }
            switch (chance.below(6)) {
                case 0:
                    attack.strips_starttls = true;
                    break;
                case 1:
                    attack.forges_mx = true;
                    break;
                case 2:
                    attack.forges_address = true;
                    break;
                case 3:
                    attack.forges_policy = attack.forges_mx = true;
                    break;
                case 4:
                    attack.hides_policy = attack.forges_mx = true;
                    break;
                default:
                    attack.hides_policy = attack.strips_starttls = true;
                    break;
            }
            return "an attack on " + domain.name + " begins";
        }
    }
}

void World::heal(WallTime now) {
    attacks_.clear();
    for (auto& [name, host] : hostile_hosts_) {
        host->slow = false;
        host->faults = {};
    }
    for (auto& [name, host] : hosts_) {
        host->down = false;
        host->faults = {};
        host->starttls = true;
        host->certificate.names = {name};
        host->certificate.trusted = true;
        host->certificate.expires = now + std::chrono::hours(24 * 3650);
    }
    for (auto& [name, domain] : domains_) {
        domain.dns_down = false;
        domain.policy_host = PolicyHost::serves;
        if (!domain.policy && domain.txt_id.empty()) continue;
        Policy policy;
        policy.id = domain.txt_id = next_id();
        policy.mode = "enforce";
        for (const auto& [preference, host] : domain.mx) policy.mx.push_back(host);
        policy.max_age = std::chrono::hours(24 * 30);
        domain.policy = policy;
    }
}

std::string World::rua(const std::string& domain) {
    if (domain.ends_with(".hostile.example") || domain.starts_with("slow"))
        return "mailto:tls@[127.0.0.1],mailto:tls@[10.0.0.25],https://collector.inside.hostile.example/tls,"
               "mailto:tls@inside.hostile.example";
    unsigned sum = 0;
    for (const char c : domain) sum += static_cast<unsigned char>(c);
    const std::string mail = "mailto:tls@" + domain;
    const std::string post = "https://collector." + domain + "/tls";
    switch (sum % 4) {
        case 0:
            return mail;
        case 1:
            return post;
        case 2:
            return "http://" + domain + "/," + post + "," + mail;
        default:  // some forget what a URI begins with
            return sum % 8 == 7 ? "tls-reports@" + domain : "";
    }
}

}  // namespace sternpost::simulation
