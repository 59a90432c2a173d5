// Planted statements that are not true: what the daemon once said, or could come to say. Each is to be found
// by what it contradicts.
#include <algorithm>

#include "plant.h"
#include "util/text.h"

namespace sternpost::simulation {
namespace {

namespace json = boost::json;

bool has(const json::object& object, std::string_view key, std::string_view value) {
    const auto* found = object.if_contains(key);
    return found != nullptr && found->is_string() && found->as_string() == value;
}

void replace(std::string& text, std::string_view what, std::string_view by) {
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
        text.replace(at, what.size(), by);
}

// Changes each recipient of each message of a list.
class OfRecipients : public Plant {
  public:
    void answers(std::string_view verb, json::value& data) override {
        if (verb != "queue.list") return;
        for (auto& message : data.as_object().at("messages").as_array())
            for (auto& recipient : message.as_object().at("recipients").as_array())
                change(message.as_object(), recipient.as_object());
    }
    virtual void change(const json::object& message, json::object& recipient) = 0;
};

class SaysTooLate final : public OfRecipients {
  public:
    void change(const json::object&, json::object& recipient) override {
        if (!has(recipient, "blocked_by", "hop-fails") && !has(recipient, "blocked_by", "schedule")) return;
        const auto until = parse_rfc3339(std::string(recipient.at("next_at").as_string()));
        if (until) recipient["next_at"] = rfc3339(*until + std::chrono::hours(1));
    }
};

class SaysHeld final : public OfRecipients {
  public:
    void change(const json::object&, json::object& recipient) override {
        if (has(recipient, "blocked_by", "schedule")) recipient["blocked_by"] = "held";
    }
};

class SuspendedUnderWay final : public OfRecipients {
  public:
    void change(const json::object&, json::object& recipient) override {
        if (!has(recipient, "blocked_by", "hop-suspended")) return;
        recipient["blocked_by"] = "nothing";
        recipient["blocks"] = "";
    }
};

class SuspendedDeferred final : public OfRecipients {
  public:
    void change(const json::object& message, json::object& recipient) override {
        if (!has(recipient, "blocked_by", "hop-suspended")) return;
        recipient["blocked_by"] = "schedule";
        recipient["blocks"] = recipient.at("reason");
        recipient["next_at"] = message.at("arrived");
    }
};

class WrongCause final : public OfRecipients {
  public:
    void change(const json::object&, json::object& recipient) override {
        if (has(recipient, "blocked_by", "hop-fails") || has(recipient, "blocked_by", "schedule"))
            recipient["blocks"] = "the network cannot be reached";
    }
};

class TotalsOfAll final : public Plant {
  public:
    void answers(std::string_view verb, json::value& data) override {
        if (verb == "queue.list") data.as_object()["selected"] = data.as_object().at("totals");
    }
};

class HopsNotSuspended final : public Plant {
  public:
    void answers(std::string_view verb, json::value& data) override {
        if (verb != "queue.hops") return;
        for (auto& row : data.as_array()) row.as_object()["suspended"] = false;
    }
};

class RerouteCalledRetry final : public Plant {
  public:
    void answers(std::string_view verb, json::value& data) override {
        if (verb != "why") return;
        for (auto& line : data.as_object().at("lines").as_array()) {
            std::string text(line.as_string());
            replace(text, "rerouted", "told to try again");
            line = text;
        }
    }
};

class WrongMove final : public Plant {
  public:
    void answers(std::string_view verb, json::value& data) override {
        if (verb != "why") return;
        for (auto& item : data.as_object().at("recipients").as_array()) {
            auto& recipient = item.as_object();
            const bool ours = has(recipient, "move", "this relay");
            recipient["move"] = ours ? "no one must act: it passes by itself" : "this relay";
        }
    }
};

// Changes what `explain` says.
class OfExplain : public Plant {
  public:
    void answers(std::string_view verb, json::value& data) override {
        if (verb == "explain") change(data.as_object());
    }
    virtual void change(json::object& answer) = 0;
};

// A host that must do this counts as one that must prove who it is and cannot be replaced.
class CalledProtected final : public OfExplain {
  public:
    explicit CalledProtected(std::string_view demanded) : demanded_(demanded) {}
    void change(json::object& answer) override {
        if (!has(answer, "outlook", "opportunistic")) return;
        bool all = true;
        for (auto& item : answer.at("hosts").as_array()) {
            auto& host = item.as_object();
            if (has(host, "protection", demanded_)) host["protection"] = "full";
            all = all && has(host, "protection", "full");
        }
        if (all) answer["outlook"] = "protected";
    }

  private:
    std::string_view demanded_;
};

// One host that must prove who it is makes all of a domain's mail protected.
class ProtectedByOneHost final : public OfExplain {
  public:
    void change(json::object& answer) override {
        const auto& hosts = answer.at("hosts").as_array();
        if (has(answer, "outlook", "opportunistic") &&
            std::ranges::any_of(
                hosts, [](const json::value& host) { return has(host.as_object(), "protection", "full"); }))
            answer["outlook"] = "protected";
    }
};

class SuspendedCanGo final : public OfExplain {
  public:
    void change(json::object& answer) override {
        if (has(answer, "outlook", "suspended")) answer["outlook"] = "opportunistic";
    }
};

class FailingCanGo final : public OfExplain {
  public:
    void change(json::object& answer) override {
        if (!has(answer, "outlook", "failing")) return;
        answer["outlook"] = "opportunistic";
        answer.erase("failing");
    }
};

class SaysFailing final : public OfExplain {
  public:
    void change(json::object& answer) override {
        if (!has(answer, "outlook", "opportunistic") && !has(answer, "outlook", "protected")) return;
        answer["outlook"] = "failing";
        answer["failing"] = json::object{{"reason", "450 4.2.1 not yet"}};
    }
};

class NothingToMend final : public Plant {
  public:
    void answers(std::string_view verb, json::value& data) override {
        if (verb == "sts.check")
            data.as_object()["lines"] = json::array{"record, policy and MX records agree; nothing to mend"};
    }
};

// Only a session that failed counts.
class PolicyFailuresUncounted final : public Plant {
  public:
    void answers(std::string_view verb, json::value& data) override {
        if (verb != "tlsrpt.digest") return;
        auto& digest = data.as_object();
        digest["failing_domains"] =
            std::ranges::count_if(digest.at("domains").as_array(), [](const auto& domain) {
                return domain.as_object().at("failed").template to_number<std::uint64_t>() > 0;
            });
    }
    void words(std::string& report) override {
        if (report.find("No session failed") != std::string::npos)
            report += "Nothing failed: there is nothing to mend.\n";
    }
};

// Changes what attempts keep of a session's TLS.
class OfOutcomes : public Plant {
  public:
    void results(std::vector<store::DeliveryResult>& results) override {
        for (auto& result : results)
            for (auto& outcome : result.detail.outcomes) change(outcome);
    }
    void hop(store::HopState& state) override {
        for (auto& outcome : state.detail.outcomes) change(outcome);
    }
    virtual void change(store::TlsOutcome& outcome) = 0;
};

class LibraryReasonLost final : public OfOutcomes {
  public:
    void change(store::TlsOutcome& outcome) override {
        if (outcome.reason_code.starts_with("handshake-failed")) outcome.reason_code = "handshake-failed";
    }
};

class HandshakeCalledMissing final : public OfOutcomes {
  public:
    void change(store::TlsOutcome& outcome) override {
        if (!outcome.reason_code.starts_with("handshake-failed")) return;
        outcome.result_type = "starttls-not-supported";
        outcome.reason_code = "starttls-not-offered";
    }
};

class DiagnosticInAscii final : public Plant {
  public:
    void notices(std::vector<store::NewMessage>& notices) override {
        for (auto& notice : notices) {
            if (!notice.body.octets) continue;
            std::string octets = *notice.body.octets;
            for (auto at = octets.find("\\x"); at != std::string::npos; at = octets.find("\\x", at))
                octets.erase(at, 4);
            notice.body = store::Body::of(std::move(octets));
        }
    }
};

class RetryReleases final : public Plant {
  public:
    queue::AdminAction action(queue::AdminAction asked) override {
        return asked == queue::AdminAction::retry ? queue::AdminAction::release : asked;
    }
};

class SenderAsWritten final : public Plant {
  public:
    std::string sender_scope(const std::string& text) override { return text; }
};

std::unique_ptr<Plant> called_protected(std::string_view demanded) {
    return std::make_unique<CalledProtected>(demanded);
}

}  // namespace

std::vector<PlantEntry> untruths() {
    const std::vector<std::string> claims{"claims-are-true"};
    const std::vector<std::string> reasons{"reasons-are-told"};
    return {
        {"says-too-late", "what waits is said to wait an hour longer", claims, make<SaysTooLate>},
        {"says-held", "what waits for a time is said to be on hold", claims, make<SaysHeld>},
        {"suspended-under-way", "an attempt for a suspended next hop is said to be under way", claims,
         make<SuspendedUnderWay>},
        {"suspended-deferred",
         "mail for a suspended next hop is said to be deferred until a time that is over", claims,
         make<SuspendedDeferred>},
        {"suspended-can-go", "mail to a suspended next hop is said to go", claims, make<SuspendedCanGo>, 6},
        {"hops-not-suspended", "the list of next hops shows no suspension", claims, make<HopsNotSuspended>},
        {"failing-can-go", "mail is said to go while every attempt fails", claims, make<FailingCanGo>},
        {"says-failing", "attempts are said to fail after mail was taken", claims, make<SaysFailing>},
        {"wrong-cause", "mail is said to wait for what never happened", claims, make<WrongCause>},
        {"wrong-move", "somebody is told to act who can do nothing", claims, make<WrongMove>},
        {"totals-of-all", "a list of some says that it shows the whole queue", claims, make<TotalsOfAll>},
        {"reroute-called-retry", "why calls a reroute a retry", claims, make<RerouteCalledRetry>, 56},
        {"protected-by-one-host", "a domain is called protected where one of its hosts must prove who it is",
         claims, make<ProtectedByOneHost>, 40},
        {"protected-by-insecure-mx", "a host that forged MX records replace is called protected", claims,
         [](std::uint64_t) { return called_protected("redirectable"); }},
        {"protected-by-unusable-tlsa", "a host with TLSA records that prove nothing is called protected",
         claims, [](std::uint64_t) { return called_protected("encrypted"); }, 6},
        {"nothing-to-mend", "sts check finds nothing", claims, make<NothingToMend>},
        {"policy-failures-uncounted", "a policy that cannot be had is no failure in a text", claims,
         make<PolicyFailuresUncounted>},
        {"library-reason-lost", "a handshake fails for no reason", reasons, make<LibraryReasonLost>},
        {"handshake-called-missing", "a handshake that failed is called missing STARTTLS", reasons,
         make<HandshakeCalledMissing>},
        {"diagnostic-in-ascii", "octets of a reply that are not ASCII leave no trace in a notice", reasons,
         make<DiagnosticInAscii>},
        {"retry-releases", "a retry lets held mail go", {"held-means-held"}, make<RetryReleases>, 22},
        {"sender-as-written",
         "a suspension of a user is kept as it was written, and means nobody",
         {"suspended-means-suspended", "claims-are-true"},
         make<SenderAsWritten>,
         6},
    };
}

}  // namespace sternpost::simulation
