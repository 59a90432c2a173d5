#include "claims.h"

#include <algorithm>
#include <array>

#include "store/hop_group.h"
#include "util/text.h"

namespace sternpost::simulation {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

// An attempt may still be having its result recorded; what comes of it is known by then.
constexpr auto under_way_slack = minutes(100);
// After so many failures in a row, no answer may say that mail can go.
constexpr std::uint32_t failing_for_sure = 2;

std::string text(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

bool flag(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_bool() && value->as_bool();
}

std::uint64_t number(const json::object& object, std::string_view key) {
    return object.at(key).to_number<std::uint64_t>();
}

std::optional<WallTime> time(const json::object& object, std::string_view key) {
    return parse_rfc3339(text(object, key));
}

bool any_line(const json::object& answer, std::string_view words) {
    const auto& lines = answer.at("lines").as_array();
    return std::any_of(lines.begin(), lines.end(), [&](const json::value& line) {
        return std::string_view(line.as_string()).find(words) != std::string_view::npos;
    });
}

bool is_timed(const std::string& what) {
    return what == "schedule" || what == "hop-fails";
}

bool is_held_back(const std::string& what) {
    return what == "held" || what == "sender-suspended" || what == "hop-suspended";
}

std::string hop_of(const json::object& message, const json::object& recipient) {
    store::HopGroup name{text(recipient, "next_hop"), store::TlsMode::ordinary};
    if (text(message, "class") == "report" || flag(message, "tls_required_no"))
        name.tls_mode = store::TlsMode::tls_optional;
    if (flag(message, "requiretls")) name.tls_mode = store::TlsMode::requiretls;
    if (text(message, "class") == "notice") name.tls_mode = store::TlsMode::ordinary;
    return name.text();
}

// Who must act, by our own reading: the one who could mend it.
enum class Mover { us, them, dns, none, any };

Mover mover_of(const std::string& code) {
    static const std::map<std::string, Mover> all{
        {"", Mover::them},
        {"held", Mover::us},
        {"suspended", Mover::us},
        {"results-wait", Mover::us},
        {"source-unusable", Mover::us},
        {"network-unreachable", Mover::us},
        {"limit", Mover::none},
        {"in-line", Mover::none},
        {"greylisted", Mover::none},
        {"possibly-delivered", Mover::none},
        {"host-asks-to-wait", Mover::none},
        {"unreachable", Mover::them},
        {"no-address", Mover::them},
        {"sts-mx-not-listed", Mover::them},
        {"starttls-not-offered", Mover::them},
        {"starttls-refused", Mover::them},
        {"handshake-failed", Mover::them},
        {"certificate-expired", Mover::them},
        {"certificate-not-trusted", Mover::them},
        {"certificate-host-mismatch", Mover::them},
        {"dane-no-tlsa-match", Mover::them},
        {"tlsa-lookup-failed", Mover::dns},
        {"addresses-unanswered", Mover::dns},
        {"sts-unknown", Mover::dns},
    };
    const auto known = all.find(code);
    return known == all.end() ? Mover::any : known->second;
}

bool is_named(Mover mover, const std::string& move, const std::string& domain) {
    switch (mover) {
        case Mover::us:
            return move == "this relay";
        case Mover::them:
            return move == domain;
        case Mover::dns:
            return move.find("DNS servers") != std::string::npos;
        case Mover::none:
            return move.starts_with("no one must act");
        case Mover::any:
            return !move.empty();
    }
    return false;
}

}  // namespace

// ---- the queue

void Claims::of_recipient(store::MessageId id, std::uint32_t n, const Said& said, Asked asked) {
    const std::string who = said.where + " says of " + of(id, n) + " \"" + said.what +
                            (said.text.empty() ? "" : ": " + said.text) +
                            (said.until && is_timed(said.what) ? " until " + rfc3339(*said.until) : "") +
                            "\"";
    const Facts::Hop& hop = facts_.hop(said.hop);
    const bool quiet = hop.lanes == 0 && hop.lanes_changed + under_way_slack < asked.at;
    if (said.what == "nothing" && quiet && facts_.last_shaken() + under_way_slack < asked.at)
        return untrue(who + ", and no attempt is under way to " + said.hop);
    if (said.what != "nothing" && !is_held_back(said.what)) {
        if (facts_.sender_is_suspended(id, asked.at)) return untrue(who + ", and its sender is suspended");
        if (facts_.hop_is_suspended(said.hop, asked.at))
            return untrue(who + ", and its next hop " + said.hop + " is suspended");
    }
    const SteadyTime lately = asked.at - seconds(1);
    if (said.what == "hop-suspended" && !facts_.hop_may_be_suspended(said.hop, lately))
        return untrue(who + ", and nobody suspended " + said.hop);
    if (said.what == "sender-suspended" && !facts_.sender_may_be_suspended(id, lately))
        return untrue(who + ", and nobody suspended its sender");
    if (said.what == "held" && !facts_.was_done(id, store::ActKind::hold))
        return untrue(who + ", and nobody put it on hold");
    if (is_timed(said.what) && said.until && *said.until + seconds(1) < asked.now)
        return untrue(who + ", which is over: it is " + rfc3339(asked.now));
    const Facts::Recipient& recipient = facts_.recipient(id, n);
    if (said.what == "schedule") {
        if (recipient.moved && *recipient.moved < lately)
            return untrue(who + ", and nothing was tried since it was rerouted to " + said.hop);
        if (!recipient.texts.empty() && !recipient.texts.contains(said.text))
            return untrue(who + ", and no attempt for it failed so");
        if (recipient.last && binds(recipient.changed, asked)) {
            if (recipient.last->text != said.text)
                return untrue(who + ", and its last attempt met: " + recipient.last->text);
            if (said.until && rfc3339(*said.until) != rfc3339(recipient.last->next_at))
                return untrue(who + ", and it waits until " + rfc3339(recipient.last->next_at));
        }
    }
    if (said.what == "hop-fails") {
        if (!hop.texts.empty() && !hop.texts.contains(said.text))
            return untrue(who + ", and the next hop never failed so");
        if (hop.failing && hop.lanes == 0 && binds(hop.changed, asked)) {
            if (hop.failing->text != said.text)
                return untrue(who + ", and what the next hop met last is: " + hop.failing->text);
            if (said.until && rfc3339(*said.until) != rfc3339(hop.failing->next_at))
                return untrue(who + ", and the next hop waits until " + rfc3339(hop.failing->next_at));
        }
    }
}

void Claims::listed(const json::object& answer, const std::string& domain, Asked asked) {
    const std::string where = domain.empty() ? "the list" : "the list of " + domain;
    const auto& messages = answer.at("messages").as_array();
    for (const auto& item : messages) {
        const auto& message = item.as_object();
        const auto id = store::MessageId::parse(text(message, "id")).value();
        bool of_domain = domain.empty();
        std::uint32_t n = 0;
        for (const auto& entry : message.at("recipients").as_array()) {
            const auto& recipient = entry.as_object();
            of_domain = of_domain || text(recipient, "next_hop") == domain;
            const std::uint32_t index = n++;
            if (text(recipient, "state") != "queued") continue;
            Said said{text(recipient, "blocked_by"), text(recipient, "blocks"), time(recipient, "next_at"),
                      hop_of(message, recipient), where};
            hops_.insert_or_assign({id, index}, said.hop);
            of_recipient(id, index, said, asked);
            waiting_.insert_or_assign({id, index}, Wait{std::move(said), asked.now});
        }
        if (!of_domain) untrue(where + " has " + id.text() + ", which is for others");
    }
    const auto& selected = answer.at("selected").as_object();
    const auto& totals = answer.at("totals").as_object();
    if (number(selected, "messages") != messages.size())
        untrue(fmt::format("{} shows {} messages, and says that {} are selected", where, messages.size(),
                           number(selected, "messages")));
    if (number(totals, "messages") < messages.size() && asked.at > facts_.last_shaken() + minutes(10) &&
        asked.at < facts_.now())
        untrue(where + " shows more messages than it says that the queue holds");
}

void Claims::hops(const json::array& answer, Asked asked) {
    for (const auto& item : answer) {
        const auto& row = item.as_object();
        const std::string name = text(row, "name");
        const std::string who =
            "the list of next hops says of " + name + " \"" + text(row, "blocked_by") + "\"";
        const bool suspended = flag(row, "suspended");
        if (suspended && !facts_.hop_may_be_suspended(name, asked.at - seconds(1)))
            return untrue(who + ", and nobody suspended it");
        if (!suspended && facts_.hop_is_suspended(name, asked.at))
            return untrue(who + ", and it is suspended");
        const Facts::Hop& hop = facts_.hop(name);
        if (number(row, "connections") > 0 && hop.lanes == 0 &&
            hop.lanes_changed + under_way_slack < asked.at)
            return untrue(who + ", and connections to it, of which there are none");
        const auto until = time(row, "next_at");
        if (text(row, "blocked_by") != "hop-fails") continue;
        if (until && *until + seconds(1) < asked.now)
            return untrue(who + " until " + rfc3339(*until) + ", which is over");
        if (!hop.texts.empty() && !hop.texts.contains(text(row, "reason")))
            return untrue(who + ", since " + text(row, "reason") + ", and it never failed so");
    }
}

void Claims::why(const json::object& answer, Asked asked) {
    const auto id = store::MessageId::parse(text(answer, "id")).value();
    if (facts_.was_done(id, store::ActKind::reroute) && !facts_.was_done(id, store::ActKind::retry) &&
        any_line(answer, "told to try again"))
        return untrue("why " + id.text() + " says that it was told to try again; it was rerouted");
    if (!flag(answer, "in_queue")) return;
    std::uint32_t n = 0;
    for (const auto& item : answer.at("recipients").as_array()) {
        const auto& recipient = item.as_object();
        const auto known = hops_.find({id, n});
        const std::uint32_t index = n++;
        if (text(recipient, "state") != "queued" || known == hops_.end()) continue;
        const std::string& hop = known->second;
        const std::string code = text(recipient, "code");
        const std::string blocks = text(recipient, "blocks");
        const std::string who = "why says of " + of(id, index) + " \"" + blocks + "\"";
        if (blocks.empty()) {
            const bool attempted = any_line(answer, text(recipient, "path") + ">: an attempt is under way");
            Said said{attempted ? "nothing" : "due", "", std::nullopt, hop, "why"};
            if (facts_.last_shaken() < asked.at) of_recipient(id, index, said, asked);
            continue;
        }
        if (code != "suspended" && code != "held" && facts_.last_shaken() < asked.at) {
            if (facts_.hop_is_suspended(hop, asked.at))
                return untrue(who + ", and its next hop is suspended");
            if (facts_.sender_is_suspended(id, asked.at))
                return untrue(who + ", and its sender is suspended");
        }
        const auto until = time(recipient, "next_at");
        if (until && *until + seconds(1) < asked.now)
            return untrue(who + " until " + rfc3339(*until) + ", which is over");
        const std::string move = text(recipient, "move");
        if (!is_named(mover_of(code), move, store::HopGroup::parse(hop).next_hop) &&
            facts_.last_shaken() < asked.at)
            return untrue(who + " (" + code + "), and that the move is with \"" + move + "\"");
    }
}

// ---- policy

void Claims::explained(const json::object& answer, Asked asked, WallTime truth) {
    const std::string domain = text(answer, "domain");
    const std::string outlook = text(answer, "outlook");
    const bool goes = outlook == "protected" || outlook == "opportunistic";
    const Facts::Hop& hop = facts_.hop(domain);
    const std::string who = "explain says of " + domain + " \"" + outlook + "\"";
    if (goes && facts_.hop_is_suspended(domain, asked.at)) return untrue(who + ", and it is suspended");
    if (outlook == "suspended" && !facts_.hop_may_be_suspended(domain, asked.at - seconds(1)))
        return untrue(who + ", and nobody suspended it");
    if (goes && hop.failing && hop.failing->failures >= failing_for_sure && hop.lanes == 0 &&
        binds(hop.changed, asked) && binds(hop.lanes_changed, asked) &&
        hop.failing->next_at > asked.now + seconds(1))
        return untrue(who + ", and its last " + std::to_string(hop.failing->failures) +
                      " attempts failed: " + hop.failing->text);
    if (outlook == "failing" && hop.taken && binds(hop.changed, asked) &&
        answer.if_contains("failing") != nullptr)
        return untrue(who + ", and the last that happened is that it took mail");
    if (const auto* failing = answer.if_contains("failing"))
        if (!hop.texts.empty() && !hop.texts.contains(text(failing->as_object(), "reason")))
            return untrue(who + ", since " + text(failing->as_object(), "reason") +
                          ", and nothing failed so there");
    Protection claim;
    claim.whole = outlook == "protected";
    claim.said = truth;
    claim.until = truth + std::chrono::hours(1);
    if (const auto* sts = answer.if_contains("sts"))
        if (const auto expires = time(sts->as_object(), "expires"))
            claim.until = std::min(claim.until, *expires);
    for (const auto& item : answer.at("hosts").as_array())
        claim.hosts[text(item.as_object(), "name")] = text(item.as_object(), "protection");
    protected_.insert_or_assign(domain, std::move(claim));
}

void Claims::checked(const json::object& answer, const std::string& wrong) {
    if (!wrong.empty() && any_line(answer, "nothing to mend"))
        untrue("sts check says of " + text(answer, "domain") + " that there is nothing to mend, and " +
               wrong);
}

// ---- reports

void Claims::digest(const json::object& answer, std::size_t failing_domains) {
    if (number(answer, "failing_domains") != failing_domains)
        untrue(fmt::format("the digest of {} says {} domains with failures, and there are {}",
                           text(answer, "day"), number(answer, "failing_domains"), failing_domains));
}

void Claims::report_words(const std::string& domain, const std::string& words, bool failures) {
    if (failures && words.find("nothing to mend") != std::string::npos)
        untrue("the report to " + domain + " says that there is nothing to mend, and tells of failures");
}

// ---- what happens next

void Claims::tried(const std::string& hop, WallTime until) {
    std::erase_if(waiting_, [&](const auto& one) {
        const Said& said = one.second.said;
        return said.hop == hop &&
               (said.what == "hop-fails" || (said.what == "schedule" && said.until == until));
    });
}

void Claims::check(const queue::Work& work, const std::string& hop, WallTime began, WallTime now,
                   const Session& session) {
    for (const auto n : work.recipients) {
        const auto claim = waiting_.find({work.message->id, n});
        if (claim == waiting_.end()) continue;
        const Wait wait = std::move(claim->second);
        waiting_.erase(claim);
        if (work.began.wall <= wait.at || wait.said.hop != hop) continue;
        if (is_held_back(wait.said.what) ||
            (is_timed(wait.said.what) && wait.said.until && work.began.wall + seconds(1) < *wait.said.until))
            untrue(work.message->id.text() + " is tried, though it was said to wait: " + wait.said.text +
                   (wait.said.until ? " until " + rfc3339(*wait.said.until) : ""));
    }
    const store::HopGroup name = store::HopGroup::parse(hop);
    const auto claim = protected_.find(name.next_hop);
    if (claim == protected_.end() || name.tls_mode == store::TlsMode::tls_optional) return;
    if (began < claim->second.said || now >= claim->second.until) return;
    if (claim->second.whole && !session.proven)
        untrue("mail to " + name.next_hop + " was said to be protected, and goes to " + session.host +
               ", which has proven nothing");
    const auto host = claim->second.hosts.find(session.host);
    if (host == claim->second.hosts.end()) {
        if (claim->second.whole)
            untrue("mail to " + name.next_hop + " was said to be protected, and is led to " + session.host);
        return;
    }
    const std::string& demanded = host->second;
    if ((demanded == "full" || demanded == "redirectable") && !session.proven)
        untrue(session.host + " was said to have to prove who it is, and gets mail without");
    if (demanded == "encrypted" && !session.encrypted)
        untrue(session.host + " was said to get mail by TLS alone, and gets it in clear");
}

}  // namespace sternpost::simulation
