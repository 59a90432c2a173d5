// How much one sender may hand in: messages a minute, recipients an hour. A sender is a client's address, or
// a user of this machine. Pure; belongs to one thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/record.h"
#include "util/clock.h"
#include "util/result.h"

namespace sternpost::intake {

/// 0: no limit.
struct SenderLimit {
    unsigned messages_per_minute = 0;
    unsigned recipients_per_hour = 0;
    bool none() const { return messages_per_minute == 0 && recipients_per_hour == 0; }
};

/// What is said of some senders, each by itself. What is not set here is left to what else matches.
struct SenderRule {
    std::optional<dns::Network> network;
    std::string user;  // a login name, or a uid in digits
    std::optional<unsigned> messages_per_minute;
    std::optional<unsigned> recipients_per_hour;

    /// `192.0.2.0/24`, `2001:db8::1`, `user:www-data`, `user:33`; nullopt for anything else.
    static std::optional<SenderRule> parse_match(std::string_view text);
};

/// Who hands in: a client as dns::Network::of_client says, or a user.
struct Sender {
    std::string name;  // 192.0.2.1, 2001:db8:1:2::/64, or `www-data (uid 33)`
    SenderLimit limit;
};

class SenderLimits {
  public:
    /// `usual`: for whom no rule says anything.
    SenderLimits(SenderLimit usual, std::vector<SenderRule> rules)
        : usual_(usual), rules_(std::move(rules)) {}

    Sender client(const dns::Address& address) const;
    /// `login`: empty where the uid has none.
    Sender user(std::uint32_t uid, const std::string& login) const;

    struct Refusal {
        std::string why;     // with the limit, and when to come again
        bool first = false;  // since ten minutes: worth a line in the log
    };
    /// One message more begins; nullopt: it may. A minute's worth may come at once.
    std::optional<Refusal> message(const Sender& sender, SteadyTime now);
    /// It was accepted. A message with more recipients than are left goes through, and the next one waits for
    /// longer.
    void accepted(const Sender& sender, std::size_t recipients, SteadyTime now);

    std::size_t known() const { return states_.size(); }

  private:
    struct State {
        double messages = 0;    // that may still come now
        double recipients = 0;  // likewise; below 0 after a message with more
        SteadyTime counted;
        std::optional<SteadyTime> told;  // in the log, last
    };
    State& state(const Sender& sender, SteadyTime now);
    void forget(SteadyTime now);

    SenderLimit usual_;
    std::vector<SenderRule> rules_;
    std::map<std::string, State> states_;
};

}  // namespace sternpost::intake
