#include "oracle.h"

#include <zlib.h>

#include <algorithm>
#include <boost/json.hpp>

#include "util/text.h"

namespace sternpost::simulation {
namespace {

using store::RecipientState;

constexpr auto attempt_slack =
    std::chrono::minutes(100);  // an attempt's budget, DATA and what waits for a turn
constexpr auto failed_fetch_wait = std::chrono::minutes(5);
constexpr auto lost_reply_wait = std::chrono::minutes(30);
constexpr unsigned most_doublings = 6;
// In a world with some who mean harm there are connections enough for the others: one of those who keep them
// loses one a minute.
constexpr auto longest_turn = std::chrono::minutes(40);
constexpr std::size_t most_questions_a_lane = 100;  // 20 hosts; their addresses of both families, TLSA, again
constexpr auto longest_look_up = std::chrono::seconds(80);  // of a policy: TXT, addresses, GET

// What was said in the window, and the last of what was said before it.
template <class T>
std::vector<T> known_since(const std::vector<std::pair<WallTime, T>>& told, WallTime begin) {
    std::vector<T> out;
    for (auto entry = told.rbegin(); entry != told.rend(); ++entry) {
        out.push_back(entry->second);
        if (entry->first < begin) break;
    }
    return out;
}

// Only what was said in the window.
template <class T>
std::vector<T> told_since(const std::vector<std::pair<WallTime, T>>& told, WallTime begin) {
    std::vector<T> out;
    for (auto entry = told.rbegin(); entry != told.rend() && entry->first >= begin; ++entry)
        out.push_back(entry->second);
    return out;
}

template <class Map>
const typename Map::mapped_type& found_or_empty(const Map& map, const typename Map::key_type& key) {
    static const typename Map::mapped_type none{};
    const auto at = map.find(key);
    return at == map.end() ? none : at->second;
}

// The relay's own, and what is no place on the Internet: the oracle's own reading.
bool is_out_of_bounds(const dns::Address& address) {
    const std::string text = address.text();
    for (const std::string_view start : {"10.", "127.", "169.254.", "192.168.", "::1", "fd", "::ffff:10."})
        if (text.starts_with(start)) return true;
    return address == own_address();
}

bool is_final(RecipientState state) {
    return state != RecipientState::queued;
}

// TLS sessions by host, as RFC 8460 counts them: one that two policies apply to is one.
std::map<std::string, std::uint64_t> sessions_in(const store::AttemptDetail& detail) {
    std::set<std::tuple<std::string, std::string, WallTime>> seen;
    for (const auto& outcome : detail.outcomes)
        if (!outcome.tls.empty()) seen.emplace(outcome.mx_host, outcome.remote_address, outcome.at);
    std::map<std::string, std::uint64_t> out;
    for (const auto& [host, address, at] : seen) ++out[host];
    return out;
}

// The second part of a mailed report: what stands in base64 behind its fields (RFC 8460 §5.3).
std::string attached(const std::string& mail) {
    const auto part = mail.find("Content-Type: application/tlsrpt+gzip\r\n");
    const auto begin = mail.find("\r\n\r\n", part);
    const auto end = mail.find("\r\n\r\n", begin + 1);
    if (part == std::string::npos || end == std::string::npos) return "";
    std::string octets = mail.substr(begin, end - begin);
    std::erase_if(octets, [](char c) { return c == '\r' || c == '\n'; });
    return unbase64(octets).value_or("");
}

// nullopt: not one whole gzip member.
std::optional<std::string> gunzipped(const std::string& octets) {
    z_stream stream{};
    if (inflateInit2(&stream, 15 + 16) != Z_OK) return std::nullopt;
    std::string in = octets;
    std::string out(4UL << 20U, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(in.data());
    stream.avail_in = static_cast<uInt>(in.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const bool whole = inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.avail_in == 0;
    out.resize(stream.total_out);
    inflateEnd(&stream);
    return whole ? std::optional(out) : std::nullopt;
}

}  // namespace

// ---- mail in

void Oracle::given(const store::NewMessage& message, const std::string& letter) {
    Message& kept = messages_[message.id];
    kept.identity = letter.empty() ? "notice " + message.id.text() : letter;
    kept.arrived = kept.free_since = clock_.wall();  // whatever the machine takes the time for
    kept.recipients.clear();
    const auto known = letters_.find(letter);
    kept.hostile = known != letters_.end() && known->second.hostile;
    kept.has_turns = known != letters_.end() && !kept.hostile && !known->second.bulk;
    if (message.message_class == store::MessageClass::notice)
        kept.tells = message.recipients.front().recipient.path.text();
    const bool report = message.message_class == store::MessageClass::report;
    facts_.given(message.id, {message.envelope.reverse_path.text(), message.origin.address,
                              message.origin.uid.has_value()});
    const store::StoredMessage stored = store::StoredMessage::of(message);
    for (std::size_t n = 0; n < message.recipients.size(); ++n) {
        Recipient recipient;
        recipient.address = message.recipients[n].recipient.path.text();
        recipient.hop = store::hop_of(stored, n);
        recipient.due = kept.arrived;
        if (report) report_hops_.insert(recipient.hop);
        kept.recipients.push_back(std::move(recipient));
    }
}

std::string Oracle::describe(const store::MessageId& id) const {
    const auto known = messages_.find(id);
    return id.text() + (known == messages_.end() ? "" : " (" + known->second.identity + ")");
}

// ---- the store

void Oracle::count(const store::AttemptDetail& detail, std::uint64_t Sessions::*from,
                   std::uint64_t Sessions::*to) {
    const auto move = [&](Sessions& sessions, std::uint64_t n) {
        sessions.*from -= std::min(sessions.*from, n);
        sessions.*to += n;
    };
    for (const auto& [host, n] : sessions_in(detail)) move(sessions_[host], n);
    outcomes_.*from -= std::min<std::uint64_t>(outcomes_.*from, detail.outcomes.size());
    outcomes_.*to += detail.outcomes.size();
}

// No time to wait that the schedule does not know.
void Oracle::check_wait(const store::DeliveryResult& result) {
    auto longest = *std::max_element(schedule_.retry.begin(), schedule_.retry.end());
    longest = std::chrono::ceil<std::chrono::seconds>(longest * (1.0 + schedule_.jitter));
    if (result.reason_code == store::ReasonCode::possibly_delivered)
        longest = std::max<std::chrono::seconds>(longest, lost_reply_wait * (1U << most_doublings));
    if (result.next_at - result.at > longest)
        trace_.violated("schedule",
                        describe(result.message) + " is to wait until " + rfc3339(result.next_at));
}

void Oracle::asked_to_record(const std::vector<store::DeliveryResult>& results,
                             const std::vector<store::NewMessage>& notices) {
    for (const auto& notice : notices) given(notice, "");
    bool bounced = false;
    const Letter* letter = nullptr;
    for (const auto& result : results) {
        const auto known = messages_.find(result.message);
        if (known == messages_.end()) {
            trace_.violated("known-mail", "a result for " + result.message.text() + ", which nobody sent");
            return;
        }
        Message& message = known->second;
        count(result.detail, &Sessions::open, &Sessions::asked);
        for (const auto& outcome : result.detail.outcomes) check_outcome(outcome);
        Recipient& recipient = message.recipients[result.recipient];
        facts_.asked_to_record(result, recipient.hop);
        if (result.state == RecipientState::queued) {
            check_wait(result);
            message.recipients[result.recipient].perhaps_due = result.next_at;
            const auto lifetime =
                std::max({schedule_.lifetime, schedule_.notice_lifetime, schedule_.report_lifetime});
            const auto end = std::max({message.arrived + lifetime, message.free_since, clock_right_since_});
            if (clock_right_ && result.at > end + attempt_slack)
                trace_.violated("lifetime",
                                describe(result.message) + " is deferred though its time is over");
            continue;
        }
        recipient.final_asked = true;
        if (result.state == RecipientState::bounced)
            for (const auto& notice : notices) notices_[{result.message, result.recipient}].insert(notice.id);
        const auto letter_at = letters_.find(message.identity);
        if (letter_at != letters_.end()) letter = &letter_at->second;
        if (result.state == RecipientState::sent && copies_[{message.identity, recipient.address}].taken == 0)
            trace_.violated("sent-means-sent", describe(result.message) + " is recorded as sent to " +
                                                   recipient.address + ", whose host never took it");
        if (result.state == RecipientState::bounced && letter != nullptr && !letter->notify_never &&
            !letter->hostile && !letter->reverse_path.empty())
            bounced = true;
    }
    check_diagnostics(results, notices);
    // A sender in whose name much was sent may have had all the notices of his day.
    if (bounced && notices.empty() && !notices_per_day_)
        trace_.violated("sender-is-told",
                        describe(results.front().message) + " bounces, and its sender is sent no notice");
}

void Oracle::recorded(const std::vector<store::DeliveryResult>& results,
                      const std::vector<store::NewMessage>& notices) {
    // The same report a second time is known by its submission id, and the first one stands.
    for (const auto& notice : notices)
        if (!notice.submission || submissions_.insert(*notice.submission).second) accepted(notice.id);
    for (const auto& result : results) {
        Message& message = messages_.at(result.message);
        refused_.erase({result.message, result.recipient});
        count(result.detail, &Sessions::asked, &Sessions::told);
        Recipient& recipient = message.recipients[result.recipient];
        facts_.recorded(result, recipient.hop);
        recipient.perhaps_due = {};
        if (result.state == RecipientState::queued) {
            recipient.due = result.next_at;
            continue;
        }
        if (is_final(recipient.recorded) && recipient.recorded != result.state)
            trace_.violated("one-end", describe(result.message) + " for " + recipient.address + " is both " +
                                           std::string(name_of(recipient.recorded)) + " and " +
                                           std::string(name_of(result.state)));
        recipient.recorded = result.state;
        copies_[{message.identity, recipient.address}].excused = false;
    }
}

void Oracle::not_recorded(const std::vector<store::DeliveryResult>& results) {
    if (refused_.empty()) refused_since_ = clock_.steady();
    for (const auto& result : results) {
        count(result.detail, &Sessions::asked, &Sessions::open);
        refused_.emplace(result.message, result.recipient);
        messages_.at(result.message).recipients[result.recipient].perhaps_due = {};
    }
}

void Oracle::hop_recorded(const store::HopState& state) {
    // No one waits for it: what it counts may be lost with the process.
    count(state.detail, &Sessions::open, &Sessions::unsure);
    for (const auto& outcome : state.detail.outcomes) check_outcome(outcome);
    claims_.tried(state.next_hop, hops_[state.next_hop].due);
    facts_.hop_recorded(state);
    hops_[state.next_hop].due = state.failures > 0 ? state.next_at : clock_.wall();
    auto longest = *std::max_element(schedule_.retry.begin(), schedule_.retry.end());
    longest = std::chrono::ceil<std::chrono::seconds>(longest * (1.0 + schedule_.jitter));
    if (state.next_at - state.at > longest)
        trace_.violated("schedule", state.next_hop + " is to wait until " + rfc3339(state.next_at));
}

void Oracle::acts_asked(const std::vector<store::Act>& acts) {
    claims_.forget();
    facts_.shaken();
    for (const auto& act : acts) {
        Message& message = messages_.at(act.message);
        facts_.acted(act);
        if (act.kind == store::ActKind::release && clock_.steady() > let_go_until_)
            trace_.violated("held-means-held",
                            describe(act.message) + " is released, and no administrator asked for that");
        if (act.kind == store::ActKind::remove) message.remove_asked = true;
        if (act.kind == store::ActKind::hold) message.held = true;
    }
}

void Oracle::acts_recorded(const std::vector<store::Act>& acts) {
    for (const auto& act : acts) {
        Message& message = messages_.at(act.message);
        switch (act.kind) {
            case store::ActKind::remove:
                message.removed = clock_.wall();
                break;
            case store::ActKind::release:
                message.held = false;
                message.free_since = clock_.wall();
                break;
            case store::ActKind::reroute:
                for (std::size_t n = 0; n < message.recipients.size(); ++n) {
                    Recipient& recipient = message.recipients[n];
                    const auto hop = store::HopGroup::parse(recipient.hop);
                    if (!act.from.empty() && hop.next_hop != act.from) continue;
                    facts_.rerouted(act.message, static_cast<std::uint32_t>(n));
                    const bool report = report_hops_.contains(recipient.hop);
                    recipient.hop = store::HopGroup{act.to, hop.tls_mode}.text();
                    if (report) report_hops_.insert(recipient.hop);
                }
                message.free_since = clock_.wall();
                break;
            case store::ActKind::hold:
            case store::ActKind::retry:
            case store::ActKind::warned:
                break;
        }
    }
}

void Oracle::policy_recorded(const store::StoredPolicy& policy) {
    claims_.published(policy.domain);
    auto& all = served_[policy.domain];
    for (auto entry = all.rbegin(); entry != all.rend(); ++entry) {
        if (entry->policy.text() != policy.text) continue;
        entry->durable = true;
        return;
    }
    trace_.violated("policy-is-the-domains", policy.domain + " is given a policy that it never served");
}

// No one gets more notices than there may be, whatever was sent in his name.
void Oracle::accepted(store::MessageId id) {
    Message& message = messages_.at(id);
    if (!message.acknowledged && !message.tells.empty() && notices_per_day_) {
        const std::string day = rfc3339(clock_.wall()).substr(0, 10);
        if (std::exchange(told_day_, day) != day) told_today_.clear();
        // Some that are made before midnight are kept after it.
        if (++told_today_[message.tells] > 2 * *notices_per_day_)
            trace_.violated("notices-bounded", fmt::format("{} has got {} notices today", message.tells,
                                                           told_today_[message.tells]));
    }
    message.acknowledged = true;
}

void Oracle::suspension_asked(const store::StoredSuspension& suspension) {
    claims_.forget();
    facts_.shaken();
    facts_.suspension_asked(suspension);
}

void Oracle::suspension_recorded(const store::StoredSuspension& suspension) {
    facts_.suspension_recorded(suspension);
    if (!suspension.ended) return;
    if (suspension.kind != store::SuspensionKind::next_hop) {
        for (auto& [id, message] : messages_)
            message.free_since = std::max(message.free_since, clock_.wall());
        return;
    }
    for (auto& [name, hop] : hops_)
        if (store::HopGroup::parse(name).next_hop == suspension.scope)
            hop.due = std::max(hop.due, clock_.wall());
    for (auto& [id, message] : messages_)
        for (Recipient& recipient : message.recipients)
            if (store::HopGroup::parse(recipient.hop).next_hop == suspension.scope)
                recipient.due = std::max(recipient.due, clock_.wall());
}

bool Oracle::may_be_suspended(store::MessageId id, const std::string& hop) const {
    const SteadyTime now = clock_.steady();
    return facts_.hop_may_be_suspended(hop, now) || facts_.sender_may_be_suspended(id, now);
}

// What an attempt says of a host's TLS is what the host did: a handshake that failed carries the library's
// reason, and STARTTLS is not called missing where every session offered it.
void Oracle::check_outcome(const store::TlsOutcome& outcome) {
    if (outcome.reason_code.starts_with("handshake-failed")) {
        const auto& all = found_or_empty(handshakes_, outcome.mx_host);
        if (std::none_of(all.begin(), all.end(), [&](const std::string& why) {
                return outcome.reason_code.find(why) != std::string::npos;
            }))
            trace_.violated("reasons-are-told", "the outcome of a session with " + outcome.mx_host +
                                                    " says \"" + outcome.reason_code +
                                                    "\", and not what the library said");
    }
    if (outcome.result_type != "starttls-not-supported") return;
    const auto sessions = told_since(found_or_empty(starttls_, outcome.mx_host), outcome.at - attempt_slack);
    if (clock_right_ && !sessions.empty() &&
        std::all_of(sessions.begin(), sessions.end(), [](bool offered) { return offered; }))
        trace_.violated("reasons-are-told",
                        outcome.mx_host + " is said not to support STARTTLS, which it offers");
}

// Every octet of a reply leaves a trace in the notice (RFC 3464 §2.3.6 has room for ASCII alone).
void Oracle::check_diagnostics(const std::vector<store::DeliveryResult>& results,
                               const std::vector<store::NewMessage>& notices) {
    for (const auto& result : results) {
        std::string escaped;
        for (const char c : result.diagnostic)
            if (static_cast<unsigned char>(c) > 126)
                escaped += fmt::format("\\x{:02X}", static_cast<unsigned char>(c));
        if (escaped.empty()) continue;
        const auto& address = messages_.at(result.message).recipients[result.recipient].address;
        for (const auto& notice : notices) {
            if (!notice.body.octets || notice.body.octets->find("; " + address + "\r\n") == std::string::npos)
                continue;
            if (notice.body.octets->find(escaped) == std::string::npos)
                trace_.violated("reasons-are-told", "the notice about " + describe(result.message) +
                                                        " lacks octets of \"" + result.diagnostic + "\"");
        }
    }
}

// ---- what the daemon is told

void Oracle::looked_up(const std::string& question) {
    if (!question.ends_with('.' + std::string(World::many_names))) return;
    ++many_questions_;
    if (many_questions_ > most_questions_a_lane * many_lanes_)
        trace_.violated("look-ups-bounded", fmt::format("{} questions for the hosts of {} in {} attempts",
                                                        many_questions_, World::many_names, many_lanes_));
}

void Oracle::dialled(const dns::Address& address, const std::string& host) {
    if (is_out_of_bounds(address))
        trace_.violated("gate", address.text() + " is dialled, as an address of " + host);
}

void Oracle::served(const std::string& domain, const Policy& policy) {
    served_[domain].push_back({policy, clock_.wall()});
}

void Oracle::session_opened(const std::string& host, bool certain) {
    // Where TLSA records could not be had, mail that wants no TLS goes on, and that failure is what counts.
    for (const TlsaTold& told : told_since(found_or_empty(tlsa_, host), clock_.wall() - attempt_slack))
        certain = certain && !told.failed;
    // A session that carries a report is in no report (RFC 8460 §3).
    for (const auto& hop : report_hops_) certain = certain && found_or_empty(lanes_, hop).empty();
    ++(certain ? sessions_[host].open : sessions_[host].unsure);
}

void Oracle::override_asked(const std::string& domain, const std::string& level) {
    claims_.published();
    note(overrides_[domain], level);
    overrides_kept_.erase(domain);  // either may be found, until this one is kept
}

void Oracle::override_recorded(const std::string& domain, const std::string& level) {
    if (!overrides_[domain].empty() && overrides_[domain].back().second == level)
        overrides_kept_[domain] = level;
}

void Oracle::overrides_found(const std::map<std::string, std::string>& levels) {
    for (auto& [domain, told] : overrides_) {
        const std::string& found = found_or_empty(levels, domain);
        const auto kept = overrides_kept_.find(domain);
        if (kept != overrides_kept_.end() && kept->second != found)
            trace_.violated("nothing-lost", "the override \"" + kept->second + "\" for " + domain +
                                                " was kept, and \"" + found + "\" is found");
        note(told, found);
    }
}

bool Oracle::ever_unlisted(const std::string& domain, const std::string& host) const {
    const auto& all = found_or_empty(served_, domain);
    return std::any_of(all.begin(), all.end(), [&](const Served& one) { return !one.policy.lists(host); });
}

// Every policy (nullopt: none) that may have been in force at some time since `begin`.
std::vector<std::optional<Policy>> Oracle::policies_in_force(const std::string& domain,
                                                             WallTime begin) const {
    std::vector<std::optional<Policy>> out;
    const auto& all = found_or_empty(served_, domain);
    for (auto entry = all.rbegin(); entry != all.rend(); ++entry) {
        const WallTime expires = entry->at + entry->policy.max_age;
        if (begin < expires || entry->at >= begin) out.push_back(entry->policy);
        if (clock_.wall() >= expires) out.push_back(std::nullopt);
        // Older ones count only where this one came within the window, or may have been lost with a process.
        if (entry->at < begin && !entry->perhaps_lost) return out;
    }
    out.push_back(std::nullopt);
    return out;
}

// ---- delivery

Oracle::Lane::Lane(Oracle& oracle, std::string hop)
    : oracle_(oracle), hop_(std::move(hop)), since_(oracle.clock_.wall()) {
    oracle_.lanes_[hop_].insert(since_);
    oracle_.facts_.lane_begins(hop_);
    if (store::HopGroup::parse(hop_).next_hop == World::many_names) ++oracle_.many_lanes_;
    std::size_t open = 0;
    for (const auto& [name, lanes] : oracle_.lanes_) open += lanes.size();
    const unsigned all = oracle_.options_.max_deliveries;
    if (open > all + std::max(1U, all / 5))
        oracle_.trace_.violated("slots", fmt::format("{} lanes where there may be {}", open, all));
    oracle_.hops_[hop_].activity = since_;
}

Oracle::Lane::~Lane() {
    auto& lanes = oracle_.lanes_[hop_];
    lanes.erase(lanes.find(since_));
    oracle_.facts_.lane_ends(hop_);
    oracle_.hops_[hop_].activity = oracle_.clock_.wall();
}

std::string Oracle::breach_of_domain(const store::HopGroup& hop, const Truth& session, WallTime begin) const {
    const WallTime now = clock_.wall();
    const bool verified = session.encrypted && session.certificate.good_for(session.host, now);
    // DANE: every answer that the daemon had in the window, or that there was none to have.
    auto dane = told_since(found_or_empty(tlsa_, session.host), begin);
    if (dane.empty()) dane.emplace_back();
    const auto mx = told_since(found_or_empty(mx_, hop.next_hop), begin);
    const bool mx_secure = std::any_of(mx.begin(), mx.end(), [](const MxTold& m) { return m.authentic; });
    const auto policies = policies_in_force(hop.next_hop, begin);
    std::string why = "nothing is known";
    for (const TlsaTold& tlsa : dane) {
        if (tlsa.failed) {
            why = "the TLSA records of " + session.host + " could not be looked up";
            continue;
        }
        if (tlsa.unusable && !session.encrypted) {
            why = "DANE: " + session.host + " has TLSA records, none of them usable, and gets mail in clear";
            continue;
        }
        const bool matched =
            session.encrypted && tlsa.digests.contains(tlsa_of(session.certificate.key).data);
        if (!tlsa.digests.empty() && !matched) {
            why = "DANE: the session with " + session.host + " has not the key of its TLSA records";
            continue;
        }
        for (const auto& policy : policies) {
            const bool enforced = policy && policy->enforced();
            const bool listed = enforced && policy->lists(session.host);
            if (matched && (mx_secure || !enforced || listed)) return "";
            if (matched) {
                why = "the MX record that names " + session.host + " may be forged, and the policy " +
                      policy->id + " does not list it";
                continue;
            }
            if (!enforced) return "";
            if (listed && verified) return "";
            why = "MTA-STS: the policy " + policy->id + " of " + hop.next_hop +
                  (!listed              ? " does not list "
                   : !session.encrypted ? " wants TLS of "
                                        : " wants another certificate of ") +
                  session.host;
        }
    }
    return why;
}

std::string Oracle::breach(const store::HopGroup& hop, const Truth& session, WallTime begin) const {
    const WallTime now = clock_.wall();
    const bool verified = session.encrypted && session.certificate.good_for(session.host, now);
    std::string why;
    bool allowed = false;
    // The administrator's word stands in the place of the domain's policies.
    auto levels = known_since(found_or_empty(overrides_, hop.next_hop), begin);
    if (levels.empty() || found_or_empty(overrides_, hop.next_hop).front().first >= begin)
        levels.emplace_back();
    for (const std::string& level : levels) {
        std::string here;
        if (level == "verify")
            here = verified ? "" : "the override wants a certificate that is good for " + session.host;
        else if (level == "encrypt")
            here = session.encrypted ? "" : "the override wants TLS of " + session.host;
        else if (level.empty() && hop.tls_mode != store::TlsMode::tls_optional)
            here = breach_of_domain(hop, session, begin);
        if (here.empty()) allowed = true;
        if (!here.empty()) why = here;
    }
    if (!allowed) return why;
    if (hop.tls_mode != store::TlsMode::requiretls) return "";
    // RFC 8689: a host whose name is vouched for, that proves who it is, and offers REQUIRETLS.
    const auto mx = told_since(found_or_empty(mx_, hop.next_hop), begin);
    bool trusted = std::any_of(mx.begin(), mx.end(), [](const MxTold& m) { return m.authentic; });
    for (const auto& policy : policies_in_force(hop.next_hop, begin))
        trusted = trusted || (policy && policy->enforced() && policy->lists(session.host));
    bool proven = verified;
    for (const TlsaTold& tlsa : told_since(found_or_empty(tlsa_, session.host), begin))
        proven =
            proven || (session.encrypted && tlsa.digests.contains(tlsa_of(session.certificate.key).data));
    if (!session.encrypted) return "REQUIRETLS: the session with " + session.host + " is in clear";
    if (!trusted)
        return "REQUIRETLS: nobody vouches for that " + session.host + " is a host of " + hop.next_hop;
    if (!proven) return "REQUIRETLS: " + session.host + " has not proven who it is";
    if (!session.requiretls_offered) return "REQUIRETLS: " + session.host + " does not offer it";
    return "";
}

void Oracle::judge(const queue::Work& work, const Truth& session) {
    const std::string hop_name = store::hop_of(*work.message, work.recipients.front());
    const store::HopGroup hop = store::HopGroup::parse(hop_name);
    const auto& lanes = lanes_[hop_name];
    const WallTime begin = lanes.empty() ? clock_.wall() : *lanes.begin();
    hops_[hop_name].activity = clock_.wall();
    if (!refused_.empty() && work.began.steady > refused_since_)
        trace_.violated("kept-first", work.message->id.text() + " is sent, though " +
                                          std::to_string(refused_.size()) +
                                          " result(s) that the store refused are not kept");
    const auto known = messages_.find(work.message->id);
    if (known == messages_.end()) {
        trace_.violated("known-mail", work.message->id.text() + " is sent, and nobody sent it");
        return;
    }
    if (facts_.hop_is_suspended(hop_name, work.began.steady))
        trace_.violated("suspended-means-suspended",
                        describe(work.message->id) + " is sent to " + hop.next_hop + ", which is suspended");
    if (facts_.sender_is_suspended(work.message->id, work.began.steady))
        trace_.violated("suspended-means-suspended",
                        describe(work.message->id) + " is sent, and its sender is suspended");
    if (known->second.removed && *known->second.removed < begin)
        trace_.violated("one-end", describe(work.message->id) + " is sent though it was deleted");
    bool proven = session.encrypted && session.certificate.good_for(session.host, clock_.wall());
    for (const TlsaTold& tlsa : told_since(found_or_empty(tlsa_, session.host), begin))
        proven =
            proven || (session.encrypted && tlsa.digests.contains(tlsa_of(session.certificate.key).data));
    claims_.check(work, hop_name, begin, clock_.wall(), {session.host, session.encrypted, proven});
    if (std::string why = breach(hop, session, begin); !why.empty())
        trace_.violated("no-breach", describe(work.message->id) + " for " + hop_name + ": " + why);
    // A record names a policy: one that was served and is in force, or it is asked for now, or was a moment
    // ago.
    // One look-up serves all who ask while it is under way.
    const auto ids = told_since(found_or_empty(txt_, hop.next_hop), begin - longest_look_up);
    if (told_since(found_or_empty(mx_, hop.next_hop), begin).empty() || ids.empty()) {
        trace_.violated("policy-is-looked-for", describe(work.message->id) + ": " + hop.next_hop +
                                                    " was not asked for its MX records or its policy");
        return;
    }
    const auto secure = told_since(found_or_empty(addresses_, session.host), begin);
    if (!secure.empty() && std::all_of(secure.begin(), secure.end(), [](bool yes) { return yes; }) &&
        told_since(found_or_empty(tlsa_, session.host), begin).empty())
        trace_.violated("policy-is-looked-for", describe(work.message->id) + ": the TLSA records of " +
                                                    session.host + " were not asked for");
    const bool named = std::all_of(ids.begin(), ids.end(), [](const std::string& id) { return !id.empty(); });
    const auto policies = policies_in_force(hop.next_hop, begin);
    const bool some =
        std::any_of(policies.begin(), policies.end(), [](const auto& p) { return p.has_value(); });
    const bool asked =
        !told_since(found_or_empty(fetches_, hop.next_hop), begin - failed_fetch_wait - longest_look_up)
             .empty();
    if (named && !some && !asked)
        trace_.violated("policy-is-looked-for", describe(work.message->id) + ": " + hop.next_hop +
                                                    " has a policy, and none in force is known or asked for");
}

void Oracle::taken(const queue::Work& work, std::uint32_t recipient, bool heard) {
    const Message& message = messages_.at(work.message->id);
    const std::string& address = message.recipients[recipient].address;
    Copy& copy = copies_[{message.identity, address}];
    ++copy.taken;
    if (copy.taken > 1) {
        if (copy.excused)
            ++copy.excused_repeats;
        else
            trace_.violated("no-duplicate", describe(work.message->id) + " reaches " + address + " again");
    }
    copy.excused = !heard;
}

void Oracle::arrived(const queue::Work& work, const std::string& octets) {
    if (work.message->message_class == store::MessageClass::report) return report_came(attached(octets));
    const auto letter = letters_.find(messages_.at(work.message->id).identity);
    if (letter == letters_.end()) return;
    const std::string& sent = letter->second.octets;
    const bool whole = letter->second.local
                           ? octets.ends_with(sent.substr(sent.find("\r\n\r\n"))) &&
                                 octets.find("\r\nX-Letter: " + letter->first + "\r\n") != octets.npos
                           : octets == sent;
    if (!whole) trace_.violated("octet-for-octet", describe(work.message->id) + " arrives changed");
}

// ---- reports

void Oracle::report_came(const std::string& gzip) {
    const auto text = gunzipped(gzip);
    boost::system::error_code ec;
    const auto value = boost::json::parse(text.value_or(""), ec);
    if (!text || ec) return trace_.violated("report-is-json", "a report came that is none");
    const auto& report = value.as_object();
    CameReport came;
    came.json = *text;
    came.day = std::string(report.at("date-range").at("start-datetime").as_string()).substr(0, 10);
    const std::string id(report.at("report-id").as_string());
    // DAY.domain.UNIQUE@submitter
    const auto first = id.find('.');
    came.domain = id.substr(first + 1, id.rfind('.', id.find('@')) - first - 1);
    for (const auto& entry : report.at("policies").as_array()) {
        const auto& summary = entry.at("summary");
        came.sessions += summary.at("total-successful-session-count").to_number<std::uint64_t>();
        came.sessions += summary.at("total-failure-session-count").to_number<std::uint64_t>();
    }
    trace_.step("report {}: {} sessions", id, came.sessions);
    const auto [known, fresh] = came_.try_emplace(id, came);
    if (!fresh && known->second.json != came.json)
        trace_.violated("report-is-one", "two reports that are not the same have the id " + id);
    if (rfc3339(clock_.wall()).substr(0, 10) <= came.day)
        trace_.violated("report-of-a-whole-day", "the report " + id + " came before its day was over");
}

// What was reported is what was counted, and every day that is long over was reported to all that ask.
void Oracle::check_reports(const Kept& kept) const {
    std::map<std::pair<std::string, std::string>, std::uint64_t> sessions;  // by day and domain
    for (const auto& one : kept.outcomes)
        if (one.outcome.count != store::OutcomeCount::detail)
            sessions[{rfc3339(WallTime(one.day)).substr(0, 10), one.outcome.domain}] += one.n;
    std::set<std::pair<std::string, std::string>> reported;
    for (const auto& [id, came] : came_) {
        if (!reported.emplace(came.day, came.domain).second)
            trace_.violated("one-report-a-day", came.domain + " got two reports of " + came.day);
        const std::uint64_t counted = found_or_empty(sessions, {came.day, came.domain});
        if (came.sessions != counted)
            trace_.violated("reports-are-true", fmt::format("{} says {} sessions, and {} were counted", id,
                                                            came.sessions, counted));
    }
    for (const auto& report : kept.reports)
        for (const auto& place : report.places)
            if (place.state == store::PlaceState::accepted && place.uri.starts_with("https:") &&
                !came_.contains(report.id))
                trace_.violated("reports-are-true", report.id + " is kept as taken, and never came");
    if (disk_trouble_) return;
    for (const auto& one : kept.reporting.unreported)
        if (one.day + std::chrono::days(3) < kept.reporting.closed)
            trace_.violated("every-day-is-reported", fmt::format("{} got no report of {}", one.domain,
                                                                 rfc3339(WallTime(one.day)).substr(0, 10)));
}

// A bounce that is kept, acknowledged or not, has the notice that tells its sender.
void Oracle::check_notices(const Kept& kept) const {
    if (disk_trouble_ || notices_per_day_) return;  // the history may lack what it had no room for
    std::set<store::MessageId> known;
    for (const auto& message : kept.history.messages) known.insert(message.id);
    for (const auto& entry : kept.history.entries) {
        const auto* result = std::get_if<store::DeliveryResult>(&entry.what);
        if (result == nullptr || result->state != RecipientState::bounced) continue;
        const auto message = messages_.find(result->message);
        if (message == messages_.end()) continue;
        const auto letter = letters_.find(message->second.identity);
        if (letter == letters_.end() || letter->second.notify_never || letter->second.hostile ||
            letter->second.reverse_path.empty())
            continue;
        const auto& notices = found_or_empty(notices_, {result->message, result->recipient});
        if (std::none_of(notices.begin(), notices.end(), [&](auto id) { return known.contains(id); }))
            trace_.violated("bounce-has-its-notice",
                            describe(result->message) + " for " +
                                message->second.recipients[result->recipient].address +
                                " is kept as bounced, and the notice that tells its sender is not");
    }
}

// ---- the machine

void Oracle::ended() {
    claims_.forget();
    facts_.ended();
    for (auto* all : {&outcomes_}) all->unsure += std::exchange(all->open, 0) + std::exchange(all->asked, 0);
    for (auto& [host, all] : sessions_)
        all.unsure += std::exchange(all.open, 0) + std::exchange(all.asked, 0);
    for (auto& [domain, all] : served_)
        for (Served& one : all) one.perhaps_lost = one.perhaps_lost || !one.durable;
    // Whatever was taken and is not known to be recorded may be sent again. A deferral that was not
    // acknowledged may be found by the next process all the same.
    for (auto& [id, message] : messages_)
        for (auto& recipient : message.recipients)
            if (recipient.recorded == RecipientState::queued) {
                recipient.due = std::max(recipient.due, std::exchange(recipient.perhaps_due, {}));
                const auto copy = copies_.find({message.identity, recipient.address});
                if (copy != copies_.end() && copy->second.taken > 0) copy->second.excused = true;
            }
    // An override that was given up at the same moment may or may not stand: only the store knows.
    refused_.clear();
}

void Oracle::started() {
    up_since_ = clock_.wall();
    told_today_.clear();
    lanes_.clear();
}

void Oracle::look_at_memory(const queue::Core& core) {
    // New mail may double the window, and a sweep of what is over brings a page of as many more.
    const std::size_t held = core.messages().totals().messages;
    if (held > 3 * window_.messages)
        trace_.violated("memory-window",
                        fmt::format("{} messages are in memory; the window is {}", held, window_.messages));
}

void Oracle::look_at_hops(const queue::Core& core) {
    // A next hop with nothing in memory is there because it fails, and as long as there is room for it.
    const auto hops = core.hops().views();
    const auto idle = std::ranges::count_if(hops, &queue::HopView::idle);
    if (std::cmp_greater(idle, window_.hops))
        trace_.violated("memory-window",
                        fmt::format("{} next hops are remembered of which nothing is in memory; {} may be",
                                    idle, window_.hops));
    for (const auto& hop : hops)
        if (hop.idle && hop.failures == 0)
            trace_.violated("memory-window", hop.name + " is remembered, works, and has nothing in memory");
}

// Whoever sends little is not kept waiting by those who send much to where nothing goes on.
void Oracle::check_turn(store::MessageId id, const Message& message, const Recipient& recipient) const {
    if (!notices_per_day_ || !message.has_turns) return;
    if (!refused_.empty() || !clock_right_) return;
    const Hop& hop = found_or_empty(hops_, recipient.hop);
    const WallTime due =
        std::max({recipient.due, hop.due, hop.activity, up_since_, message.free_since, clock_right_since_});
    if (found_or_empty(lanes_, recipient.hop).empty() && clock_.wall() - due > longest_turn)
        trace_.violated("turn-comes", describe(id) + " for " + recipient.address + " was due at " +
                                          rfc3339(due) + ", and those who send much are served");
}

void Oracle::look() {
    const WallTime now = clock_.wall();
    for (const auto& [id, message] : messages_) {
        if (!message.acknowledged || message.held || message.remove_asked || message.removed) continue;
        for (const auto& recipient : message.recipients) {
            if (recipient.final_asked || may_be_suspended(id, recipient.hop)) continue;
            check_turn(id, message, recipient);
            const Hop& hop = found_or_empty(hops_, recipient.hop);
            const WallTime due =
                std::max({recipient.due, hop.due, hop.activity, up_since_, message.free_since});
            const auto slack = message.hostile ? std::chrono::hours(12) : attempt_slack;
            if (found_or_empty(lanes_, recipient.hop).empty() && now - due > slack)
                trace_.violated("nothing-stuck", describe(id) + " for " + recipient.address + " was due at " +
                                                     rfc3339(due) + " and nobody tries");
        }
    }
}

// ---- the end

void Oracle::finish(const Kept& kept) {
    for (const auto& message : kept.queue)
        trace_.violated("drains", describe(message.id) + " is still there");
    // By message and recipient: the ends that are on stable storage.
    std::map<std::pair<store::MessageId, std::uint32_t>, std::vector<RecipientState>> ends;
    std::set<store::MessageId> removed;
    for (const auto& entry : kept.history.entries) {
        if (const auto* result = std::get_if<store::DeliveryResult>(&entry.what)) {
            if (is_final(result->state)) ends[{result->message, result->recipient}].push_back(result->state);
        } else if (const auto* act = std::get_if<store::Act>(&entry.what)) {
            if (act->kind == store::ActKind::remove) removed.insert(act->message);
        }
    }
    // What the history has, or what the daemon was told to be on stable storage: the history may lose what it
    // had no room for.
    const auto has_end = [&](store::MessageId id, const Message& message, std::uint32_t n) {
        const Recipient& recipient = message.recipients[n];
        return !found_or_empty(ends, {id, n}).empty() || is_final(recipient.recorded) ||
               (disk_trouble_ && recipient.final_asked);
    };
    std::map<std::string, std::size_t> finished_copies;  // by identity
    for (const auto& [id, message] : messages_) {
        const bool gone = removed.contains(id) || message.removed;
        bool any = gone;
        for (std::uint32_t n = 0; n < message.recipients.size(); ++n) {
            any = any || has_end(id, message, n);
            if (const auto& states = found_or_empty(ends, {id, n}); states.size() > 1)
                trace_.violated("one-end", describe(id) + " for " + message.recipients[n].address + " ends " +
                                               std::to_string(states.size()) + " times");
        }
        if (!any) continue;
        ++finished_copies[message.identity];
        for (std::uint32_t n = 0; n < message.recipients.size(); ++n)
            if (!gone && !has_end(id, message, n))
                trace_.violated("nothing-lost",
                                describe(id) + " for " + message.recipients[n].address + " has no end");
    }
    for (const auto& [name, letter] : letters_) {
        const std::size_t copies = found_or_empty(finished_copies, name);
        if (letter.acknowledged && copies == 0)
            trace_.violated("nothing-lost", name + " was acknowledged and is nowhere");
        if (copies > 1)
            trace_.violated("taken-once", name + " was taken in " + std::to_string(copies) + " times");
    }
    for (const auto& [id, message] : messages_)
        if (message.acknowledged && found_or_empty(finished_copies, message.identity) == 0)
            trace_.violated("nothing-lost", describe(id) + ", a notice, is nowhere");
    check_notices(kept);
    // Each TLS outcome once.
    std::map<std::string, std::uint64_t> counted;
    for (const auto& host : kept.hosts) counted[host.name] = host.tls_sessions;
    for (const auto& [host, all] : sessions_) {
        const std::uint64_t n = found_or_empty(counted, host);
        const std::uint64_t least = all.told + (disk_trouble_ ? 0 : all.open + all.asked);
        if (n < least || n > all.told + all.open + all.asked + all.unsure)
            trace_.violated(
                "each-session-once",
                fmt::format("{}: {} sessions are counted; {} were told, {} open, {} asked, {} unsure", host,
                            n, all.told, all.open, all.asked, all.unsure));
    }
    std::uint64_t sum = 0;
    for (const auto& outcome : kept.outcomes) sum += outcome.n;
    check_reports(kept);
    if (sum < outcomes_.told || sum > outcomes_.told + outcomes_.asked + outcomes_.unsure)
        trace_.violated("each-outcome-once", fmt::format("{} outcomes are counted; {} were told, {} unsure",
                                                         sum, outcomes_.told, outcomes_.unsure));
}

std::vector<store::MessageId> Oracle::waiting() const {
    std::vector<store::MessageId> out;
    for (const auto& [id, message] : messages_) {
        const bool done = std::all_of(message.recipients.begin(), message.recipients.end(),
                                      [](const Recipient& r) { return r.final_asked; });
        if (message.acknowledged && !done && !message.removed) out.push_back(id);
    }
    return out;
}

Oracle::Counts Oracle::counts() const {
    Counts out;
    out.letters = letters_.size();
    for (const auto& [name, letter] : letters_) out.acknowledged += letter.acknowledged ? 1U : 0U;
    for (const auto& [id, message] : messages_)
        out.notices += message.identity.starts_with("notice") ? 1U : 0U;
    for (const auto& [key, copy] : copies_) {
        out.taken += copy.taken;
        out.repeated += copy.excused_repeats;
    }
    out.reports = came_.size();
    for (const auto& [host, all] : sessions_) out.sessions += all.told + all.open + all.unsure;
    return out;
}

}  // namespace sternpost::simulation
