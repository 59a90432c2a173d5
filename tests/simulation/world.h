// The internet of one seed: domains, their DNS, policies and MX hosts as they are at the moment, and who
// interferes. It says what is true; what the daemon was told of it is the network's to decide and the
// oracle's to remember.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chance.h"
#include "dns/record.h"
#include "util/clock.h"

namespace sternpost::simulation {

struct Certificate {
    std::set<std::string> names;
    bool trusted = true;
    WallTime expires{};
    std::uint64_t key = 0;  // TLSA records name it

    bool good_for(const std::string& name, WallTime now) const {
        return trusted && now < expires && names.contains(name);
    }
};

/// `3 1 1` and a digest that stands for the key.
dns::Tlsa tlsa_of(std::uint64_t key);

/// What an MX host does wrong, in percent of the steps in which it could.
struct Faults {
    unsigned refuses_connection = 0;
    unsigned takes_no_connection = 0;  // packets vanish
    unsigned temporary = 0;            // 4yz at some step
    unsigned goes_away = 0;            // 421, a closed connection or silence at some step
    unsigned permanent = 0;            // 5yz for no good reason
    unsigned loses_dot = 0;            // took the message, and the reply to the final dot is lost
    unsigned handshake = 0;            // TLS fails
    bool greylists = false;
};

struct Host {
    std::string name;
    std::vector<dns::Address> addresses;
    bool signed_zone = false;
    bool has_tlsa = false;
    bool tlsa_usable = true;  // else they are of a usage that SMTP does not have (RFC 7672 §3.1.3)
    bool foreign = false;     // its replies are not all ASCII
    Certificate certificate;
    bool starttls = true;
    bool requiretls = false;
    bool eight_bit = true;
    bool pipelining = true;
    bool evil = false;         // takes every message, for those who sit between
    bool slow = false;         // each of its replies comes when it would soon be too late
    std::string calls_itself;  // in its greeting; empty: by its name
    Faults faults;
    bool down = false;
    std::map<std::string, WallTime> greylisted;  // whom, and until when
};

/// An MTA-STS policy as its policy host serves it.
struct Policy {
    std::string id;
    std::string mode;             // enforce, testing, none
    std::vector<std::string> mx;  // patterns
    std::chrono::seconds max_age{0};

    std::string text() const;
    bool enforced() const { return mode == "enforce"; }
    /// Whether it lists the host: the oracle's own reading of RFC 8461 §4.1.
    bool lists(const std::string& host) const;
    bool operator==(const Policy&) const = default;
};

enum class PolicyHost { serves, refuses, hangs, bad_certificate, not_found, garbage };

struct Domain {
    std::string name;
    bool signed_zone = false;
    std::vector<std::pair<std::uint16_t, std::string>> mx;  // preference, host
    std::optional<Policy> policy;                           // as published
    std::string txt_id;                                     // as published; may be behind the policy
    PolicyHost policy_host = PolicyHost::serves;
    bool inside = false;  // its policy host and its collector have an address of the relay's own network
    bool dns_down = false;
};

/// What someone on the way does to one domain.
struct Attack {
    bool strips_starttls = false;  // at its hosts
    bool forges_mx = false;        // mail is led to the evil host
    bool forges_address = false;   // likewise, by the addresses of its hosts
    bool hides_policy = false;     // no TXT record, and the policy host cannot be reached
    bool forges_policy = false;    // a policy of the attacker's own, over a certificate that does not hold
    bool any() const {
        return strips_starttls || forges_mx || forges_address || hides_policy || forges_policy;
    }
};

/// The name of the relay, and the address under which the world sees it.
constexpr std::string_view own_name = "relay.example";
const dns::Address& own_address();

class World {
  public:
    /// Domains and hosts by chance; healthy at first. `hostile`: there are some that mean harm, too.
    World(Chance& chance, WallTime now, bool hostile);

    std::map<std::string, Domain>& domains() { return domains_; }
    std::map<std::string, std::unique_ptr<Host>>& hosts() { return hosts_; }
    Host& evil() { return *evil_; }
    Host* host(const std::string& name);
    /// Null: there is no such domain.
    const Domain* domain(const std::string& name) const;
    /// Who answers at the address; null: no one.
    Host* at(const dns::Address& address);
    /// The names of domains that mail is sent to; those of the senders come last.
    const std::vector<std::string>& mail_domains() const { return mail_domains_; }
    const std::string& sender_domain() const { return sender_domain_; }
    /// Domains of those who mean harm: they are slow, lead to many names, to the relay itself or to hosts
    /// that are none of theirs.
    const std::vector<std::string>& hostile_domains() const { return hostile_domains_; }
    /// Whose MX set is long.
    static constexpr std::string_view many_names = "many.hostile.example";
    Attack& attack(const std::string& domain) { return attacks_[domain]; }
    /// Where the domain wants its TLS reports, as its record says; empty: it has none.
    static std::string rua(const std::string& domain);
    /// What the owner of the domain must mend in what it publishes, as far as we can tell; empty: nothing, or
    /// it cannot be seen now.
    std::string what_is_wrong(const std::string& domain);
    /// The attacks on any domain that has this MX host.
    Attack attack_on_host(const std::string& host);

    /// Something changes: an outage, a new policy, a key that rolls, an attack. Returns what, for the trace.
    std::string change(Chance& chance, WallTime now);
    /// Every trouble ends, every attack too, and what is published fits together.
    void heal(WallTime now);

  private:
    void add_host(Chance& chance, const std::string& name, WallTime now);
    void add_hostile(Chance& chance);
    Host& add_hostile_host(const std::string& domain, const std::string& name);
    void publish(Chance& chance, Domain& domain);
    std::string next_id() { return "v" + std::to_string(++ids_); }

    std::map<std::string, Domain> domains_;
    std::map<std::string, std::unique_ptr<Host>> hosts_;
    std::map<dns::Address, Host*> by_address_;
    std::unique_ptr<Host> evil_;
    std::vector<std::string> mail_domains_;
    std::map<std::string, Domain> hostile_;
    std::map<std::string, std::unique_ptr<Host>> hostile_hosts_;
    std::vector<std::string> hostile_domains_;
    std::string sender_domain_ = "senders.example";
    std::map<std::string, Attack> attacks_;
    std::uint64_t ids_ = 0;
    std::uint64_t keys_ = 0;
    std::uint8_t addresses_ = 0;
};

}  // namespace sternpost::simulation
