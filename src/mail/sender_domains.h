// Which domains a client or a user of this machine may write as: in the From field, as reverse-path, and
// under our signature. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/record.h"

namespace sternpost::mail {

class SenderDomains {
  public:
    struct Rule {
        std::string name;  // for people: `[[client]] 192.0.2.0/28`, `[[sender]] user:www-data`
        std::optional<dns::Network> network;  // of a client
        std::string user;                     // else: a login name, or a uid in digits
        std::vector<std::string> domains;     // A-labels, lower case; `.example.com`: those under it

        bool allows(std::string_view domain) const;
    };

    SenderDomains() = default;
    explicit SenderDomains(std::vector<Rule> rules) : rules_(std::move(rules)) {}

    /// The rule that holds: of a client that of the most specific network. Null: no one has said.
    const Rule* of_client(const dns::Address& client) const;
    /// `login`: empty where the uid has none.
    const Rule* of_user(std::uint32_t uid, const std::string& login) const;

  private:
    std::vector<Rule> rules_;
};

/// `example.com` or `.example.com` as it is compared; nullopt: neither.
std::optional<std::string> parse_sender_domain(std::string_view text);

}  // namespace sternpost::mail
