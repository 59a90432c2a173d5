// What the store keeps next to messages, and what becomes of messages: each thing described once. The
// journal's codec, the index and the tests go by these descriptions (doc/formats.md has the tags as a table).
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>
#include <variant>

#include "store/admin.h"
#include "store/message.h"
#include "store/policy.h"
#include "store/report.h"
#include "store/results.h"

namespace sternpost::store {

/// What kind of record it is, on the disk. A number once given keeps its meaning.
enum class RecordType : std::uint8_t {
    accept = 1,
    result = 2,
    act = 3,
    policy = 4,
    hop = 5,
    discovery = 6,
    override = 7,
    alarm = 8,
    suspension = 9,
    closed_day = 10,
    report = 11,
};

/// What is kept until it is replaced by a later one of the same key.
using Kept = std::variant<StoredPolicy, HopState, StoredDiscovery, StoredOverride, StoredAlarm,
                          StoredSuspension, ClosedDay, StoredReport>;

/// record: its type. name: for people. Of a value that is read with all others of its kind (Keyed), also:
/// key: a later one of the same key takes its place; their order is that of their keys.
/// ended: it is kept no more (absent: it never ends). merge: adds the later one to what is known, at first to
/// an empty value (absent: the later one takes its place). memory: how long after heard_of() it is forgotten
/// (absent: never).
template <class Value>
struct Description;
template <>
struct Description<DeliveryResult> {
    static constexpr RecordType record = RecordType::result;
    static constexpr const char* name = "result";
};
template <>
struct Description<Act> {
    static constexpr RecordType record = RecordType::act;
    static constexpr const char* name = "act";
};
template <>
struct Description<StoredPolicy> {
    static constexpr RecordType record = RecordType::policy;
    static constexpr const char* name = "policy";
};
template <>
struct Description<HopState> {
    static constexpr RecordType record = RecordType::hop;
    static constexpr const char* name = "next hop";
};
template <>
struct Description<StoredDiscovery> {
    static constexpr RecordType record = RecordType::discovery;
    static constexpr const char* name = "discovery";
    static std::string key(const StoredDiscovery& discovery) { return discovery.domain; }
    static constexpr auto memory =
        std::chrono::days(61);  // a day more than policies are refreshed for (D-39)
    static WallTime heard_of(const StoredDiscovery& discovery) {
        return std::max({discovery.mailed, discovery.unknown_since, discovery.failed_at});
    }
};
template <>
struct Description<StoredOverride> {
    static constexpr RecordType record = RecordType::override;
    static constexpr const char* name = "override";
    static std::string key(const StoredOverride& override) { return override.scope; }
    static bool ended(const StoredOverride& override) { return override.level.empty(); }
};
template <>
struct Description<StoredAlarm> {
    static constexpr RecordType record = RecordType::alarm;
    static constexpr const char* name = "alarm";
    static std::string key(const StoredAlarm& alarm) { return alarm.kind + " " + alarm.subject; }
    static void merge(StoredAlarm& known, const StoredAlarm& later) {
        if (later.acked != WallTime()) {
            known.acked = later.acked;
            known.acked_by = later.acked_by;
        }
        if (later.muted_until != WallTime()) known.muted_until = later.muted_until;
        if (later.mailed != WallTime()) known.mailed = later.mailed;
        if (later.last == WallTime() && known.count > 0) return;
        const WallTime first = later.first == WallTime() ? later.last : later.first;
        known.kind = later.kind;
        known.subject = later.subject;
        if (known.count == 0 || first < known.first) known.first = first;
        if (later.last >= known.last) known.text = later.text;
        known.last = std::max(known.last, later.last);
        known.count += std::max<std::uint64_t>(later.count, 1);
    }
    static constexpr auto memory = std::chrono::days(90);
    static WallTime heard_of(const StoredAlarm& alarm) { return alarm.last; }
};
template <>
struct Description<StoredSuspension> {
    static constexpr RecordType record = RecordType::suspension;
    static constexpr const char* name = "suspension";
    static std::string key(const StoredSuspension& suspension) {
        return (suspension.kind == SuspensionKind::sender ? "sender " : "next-hop ") + suspension.scope;
    }
    static bool ended(const StoredSuspension& suspension) { return suspension.ended; }
};
template <>
struct Description<ClosedDay> {
    static constexpr RecordType record = RecordType::closed_day;
    static constexpr const char* name = "closed day";
};
template <>
struct Description<StoredReport> {
    static constexpr RecordType record = RecordType::report;
    static constexpr const char* name = "report";
};
template <>
struct Description<AttemptDetail> {
    static constexpr const char* name = "attempt's detail";
};
template <>
struct Description<TlsOutcome> {
    static constexpr const char* name = "TLS outcome";
};
template <>
struct Description<ReportPlace> {
    static constexpr const char* name = "place of a report";
};

template <class Value>
concept Keyed = requires(const Value& value) {
    { Description<Value>::key(value) } -> std::same_as<std::string>;
};

template <Keyed Value>
inline constexpr bool merges = requires(Value& known, const Value& later) {
    Description<Value>::merge(known, later);
};

template <Keyed Value>
inline constexpr bool is_forgotten = requires {
    Description<Value>::memory;
};

template <Keyed Value>
bool has_ended(const Value& value) {
    if constexpr (requires { Description<Value>::ended(value); })
        return Description<Value>::ended(value);
    else
        return false;
}

/// Calls visit(std::type_identity<Value>()) for each kind of what is kept.
template <class Visit>
void for_each_kind(Visit visit) {
    [&]<class... Values>(std::type_identity<std::variant<Values...>>) {
        (visit(std::type_identity<Values>()), ...);
    }(std::type_identity<Kept>());
}

// The last of each enumeration: what is beyond it was written by a later release.
constexpr RecipientState last_of(RecipientState) {
    return RecipientState::deleted;
}
constexpr ActKind last_of(ActKind) {
    return ActKind::reroute;
}
constexpr PolicyType last_of(PolicyType) {
    return PolicyType::tlsa;
}
constexpr OutcomeCount last_of(OutcomeCount) {
    return OutcomeCount::detail;
}
constexpr SuspensionKind last_of(SuspensionKind) {
    return SuspensionKind::sender;
}
constexpr ReportState last_of(ReportState) {
    return ReportState::given_up;
}
constexpr PlaceState last_of(PlaceState) {
    return PlaceState::given_up;
}

constexpr std::size_t max_hosts = 20;       // ours: of an attempt
constexpr std::size_t max_dialogue = 4096;  // ours: octets

template <class Value, class Type>
concept Is = std::same_as<std::remove_const_t<Value>, Type>;

// fields(visit, value) names each field with its tag, which is for ever; a new field takes the next free one.
//   visit.key     without it, or with an empty or zero one, the record cannot be read
//   visit.always  is written even where it is empty or zero
//   visit.some    is not written then, and absent means that

template <Is<TlsOutcome> Value>
void alike_fields(auto& visit, Value& outcome) {
    visit.some(3, outcome.policy_type);
    visit.unless_same(4, outcome.policy_domain, outcome.domain);
    visit.some(6, outcome.mode);
    visit.some(7, outcome.count);
    visit.some(8, outcome.result_type);
    visit.some(9, outcome.reason_code);
    visit.some(10, outcome.mx_host);
    visit.some(11, outcome.helo);
    visit.some(12, outcome.local_address);
    visit.some(13, outcome.remote_address);
    visit.some(14, outcome.tls);
    visit.some(15, outcome.if_enforced);
}

template <Is<TlsOutcome> Value>
void fields(auto& visit, Value& outcome) {
    visit.always(1, outcome.at);
    visit.always(2, outcome.domain);
    visit.some(5, outcome.policy_text);
    alike_fields(visit, outcome);
}

template <Is<AttemptDetail> Value>
void fields(auto& visit, Value& detail) {
    visit.each(1, detail.hosts, max_hosts);
    visit.cut(2, detail.dialogue, max_dialogue);
    visit.some(4, detail.mx_host);
    visit.some(5, detail.diagnostic);
    visit.each(3, detail.outcomes);
}

template <Is<DeliveryResult> Value>
void fields(auto& visit, Value& result) {
    visit.key(1, result.message);
    visit.always(2, result.recipient);
    visit.always(3, result.state);
    visit.always(4, result.at);
    visit.some(5, result.next_at);
    visit.some(6, result.tries);
    visit.some(7, result.status);
    visit.some(8, result.text);
    visit.some(9, result.diagnostic);
    visit.some(10, result.mx_host);
    visit.some(11, result.mx_address);
    visit.some(12, result.tls);
    visit.some(13, result.policy);
    visit.some(14, result.result_type);
    visit.some(15, result.reason_code);
    visit.some(16, result.detail);
    visit.some(17, result.lost_replies);
}

template <Is<HopState> Value>
void fields(auto& visit, Value& state) {
    visit.key(1, state.next_hop);
    visit.always(2, state.at);
    visit.always(3, state.next_at);
    visit.some(4, state.failures);
    visit.some(5, state.status);
    visit.some(6, state.text);
    visit.some(7, state.reason_code);
    visit.some(8, state.detail);
}

template <Is<Act> Value>
void fields(auto& visit, Value& act) {
    visit.key(1, act.kind);
    visit.key(2, act.message);
    visit.always(3, act.at);
    visit.some(4, act.who);
    visit.some(5, act.from);
    visit.some(6, act.to);
}

template <Is<StoredPolicy> Value>
void fields(auto& visit, Value& policy) {
    visit.key(1, policy.domain);
    visit.always(2, policy.id);
    visit.always(3, policy.text);
    visit.always(4, policy.fetched);
    visit.always(5, policy.expires);
    visit.always(6, policy.checked);
    visit.some(7, policy.fingerprint);
}

template <Is<StoredDiscovery> Value>
void fields(auto& visit, Value& discovery) {
    visit.key(1, discovery.domain);
    visit.some(2, discovery.unknown_since);
    visit.some(3, discovery.failed_id);
    visit.some(4, discovery.failed_at);
    visit.some(5, discovery.mailed);
}

template <Is<StoredOverride> Value>
void fields(auto& visit, Value& override) {
    visit.key(1, override.scope);
    visit.some(2, override.level);  // absent: the override is removed
    visit.some(3, override.reason);
    visit.some(4, override.author);
    visit.some(5, override.set);
    visit.some(6, override.expires);
}

template <Is<StoredAlarm> Value>
void fields(auto& visit, Value& alarm) {
    visit.key(1, alarm.kind);
    visit.some(2, alarm.subject);
    visit.some(3, alarm.text);
    visit.some(4, alarm.first);
    visit.some(5, alarm.last);
    visit.some(6, alarm.count);
    visit.some(7, alarm.acked);
    visit.some(8, alarm.acked_by);
    visit.some(9, alarm.muted_until);
    visit.some(10, alarm.mailed);
}

template <Is<StoredSuspension> Value>
void fields(auto& visit, Value& suspension) {
    visit.some(1, suspension.kind);
    visit.key(2, suspension.scope);
    visit.some(3, suspension.reason);
    visit.some(4, suspension.author);
    visit.some(5, suspension.set);
    visit.some(6, suspension.ended);
}

template <Is<ClosedDay> Value>
void fields(auto& visit, Value& closed) {
    visit.key(1, closed.day);
}

template <Is<ReportPlace> Value>
void fields(auto& visit, Value& place) {
    visit.always(1, place.uri);
    visit.some(2, place.state);
    visit.always(3, place.at);
    visit.some(4, place.text);
}

template <Is<StoredReport> Value>
void fields(auto& visit, Value& report) {
    visit.always(1, report.day);
    visit.key(2, report.domain);
    visit.some(3, report.id);
    visit.some(4, report.state);
    visit.always(5, report.first_tried);
    visit.always(6, report.at);
    visit.always(7, report.next_at);
    visit.some(8, report.tries);
    visit.some(9, report.resent);
    visit.some(10, report.text);
    visit.some(11, report.good);
    visit.some(12, report.failed);
    visit.each(13, report.places);
}

}  // namespace sternpost::store
