// What the daemon tells people, held against what is (facts.h) and against what it does next: who waits, why,
// until when and whose move it is; what is encrypted, who must prove who he is, and what no one can redirect,
// whatever an attacker does. Each answer is read as its JSON, which is what programs and people get.
#pragma once

#include <boost/json.hpp>
#include <map>
#include <string>
#include <utility>

#include "facts.h"
#include "queue/core.h"
#include "trace.h"

namespace sternpost::simulation {

namespace json = boost::json;

class Claims {
  public:
    Claims(Trace& trace, const Facts& facts) : trace_(trace), facts_(facts) {}

    /// When a question was put, and what the daemon took the time for when it answered.
    struct Asked {
        SteadyTime at{};
        WallTime now{};
    };
    /// `queue list` of all; of a domain, where one is named.
    void listed(const json::object& answer, const std::string& domain, Asked asked);
    /// `queue hops`.
    void hops(const json::array& answer, Asked asked);
    /// `why`, of a message that was listed a moment ago.
    void why(const json::object& answer, Asked asked);
    /// `explain`: good for an hour at most, or until something changes by right.
    void explained(const json::object& answer, Asked asked, WallTime truth);
    /// `sts check`. `wrong`: what is wrong with what the domain publishes; empty: nothing that we know of.
    void checked(const json::object& answer, const std::string& wrong);
    /// The digest of a day, and what the mailed report of a domain says in words.
    void digest(const json::object& answer, std::size_t failing_domains);
    void report_words(const std::string& domain, const std::string& words, bool failures);

    /// An administrator has acted, the clock was set, the daemon ended: what was said of that time no longer
    /// binds.
    void forget() { waiting_.clear(), protected_.clear(); }
    /// The next hop was tried, for other mail say, and what was said of its next attempt, `until`, holds no
    /// longer.
    void tried(const std::string& hop, WallTime until);
    /// A host or a domain changed by right: what was published is another thing now.
    void published() { protected_.clear(); }
    void published(const std::string& domain) { protected_.erase(domain); }

    /// How a session is in truth.
    struct Session {
        std::string host;
        bool encrypted = false;
        bool proven = false;  // it has shown who it is
    };
    /// Octets of the message are about to go over a session.
    void check(const queue::Work& work, const std::string& hop, WallTime began, WallTime now,
               const Session& session);

  private:
    /// What is said of one recipient that waits.
    struct Said {
        std::string what;  // as in JSON: held, hop-fails, …
        std::string text;
        std::optional<WallTime> until;
        std::string hop;
        std::string where;  // which answer says it
    };
    struct Wait {
        Said said;
        WallTime at;
    };
    struct Protection {
        bool whole = false;                        // the domain's mail is called protected
        std::map<std::string, std::string> hosts;  // what is demanded of each
        WallTime said;
        WallTime until;
    };
    void of_recipient(store::MessageId id, std::uint32_t n, const Said& said, Asked asked);
    void untrue(const std::string& text) { trace_.violated("claims-are-true", text); }
    /// Whether what happened at that time can be held against an answer.
    bool binds(SteadyTime changed, Asked asked) const {
        return changed > facts_.last_shaken() && changed < asked.at;
    }
    static std::string of(store::MessageId id, std::uint32_t n) {
        return id.text() + " for its recipient " + std::to_string(n);
    }

    Trace& trace_;
    const Facts& facts_;
    std::map<std::pair<store::MessageId, std::uint32_t>, Wait> waiting_;
    std::map<std::pair<store::MessageId, std::uint32_t>, std::string> hops_;  // as the list has them
    std::map<std::string, Protection> protected_;
};

}  // namespace sternpost::simulation
