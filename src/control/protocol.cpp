#include "control/protocol.h"

#include <algorithm>
#include <cmath>

#include "sts/policy.h"
#include "util/text.h"

namespace sternpost::control {
namespace {

std::string_view name_of(store::MessageClass message_class) {
    switch (message_class) {
        case store::MessageClass::mail:
            return "mail";
        case store::MessageClass::notice:
            return "notice";
        case store::MessageClass::report:
            return "report";
    }
    return "?";
}

std::string_view name_of(queue::Obstacle obstacle) {
    switch (obstacle) {
        case queue::Obstacle::none:
            return "nothing";
        case queue::Obstacle::due:
            return "due";
        case queue::Obstacle::held:
            return "held";
        case queue::Obstacle::sender_suspended:
            return "sender-suspended";
        case queue::Obstacle::hop_suspended:
            return "hop-suspended";
        case queue::Obstacle::results_wait:
            return "results-wait";
        case queue::Obstacle::hop_fails:
            return "hop-fails";
        case queue::Obstacle::in_line:
            return "in-line";
        case queue::Obstacle::limit:
            return "limit";
        case queue::Obstacle::schedule:
            return "schedule";
        case queue::Obstacle::daemon_down:
            return "daemon-down";
    }
    return "?";
}

// Boost.JSON reads 1e999 as infinity, which no line can carry (RFC 8259 §6).
bool has_infinity(const json::value& value) {
    if (const auto* number = value.if_double()) return !std::isfinite(*number);
    if (const auto* array = value.if_array()) return std::ranges::any_of(*array, has_infinity);
    if (const auto* object = value.if_object())
        return std::ranges::any_of(*object, [](const auto& member) { return has_infinity(member.value()); });
    return false;
}

// The object that a line holds; nullopt: it holds something else.
std::optional<json::object> object_in(std::string_view line) {
    boost::system::error_code ec;
    json::value read = json::parse(line, ec);
    if (ec || !read.is_object() || has_infinity(read)) return std::nullopt;
    return std::move(read.as_object());
}

// `{"KEY": {…}}`
std::optional<json::object> object_in(std::string_view line, std::string_view key) {
    auto object = object_in(line);
    auto* const value = object ? object->if_contains(key) : nullptr;
    if (value == nullptr || !value->is_object()) return std::nullopt;
    return std::move(value->as_object());
}

}  // namespace

std::string text_of(const json::object& request, std::string_view key) {
    const auto* value = request.if_contains(key);
    return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

std::uint64_t number_of(const json::object& object, std::string_view key) {
    boost::system::error_code ec;
    const auto* value = object.if_contains(key);
    return value == nullptr ? 0 : value->to_number<std::uint64_t>(ec);
}

bool flag_of(const json::object& request, std::string_view key) {
    const auto* value = request.if_contains(key);
    return value != nullptr && value->is_bool() && value->as_bool();
}

std::optional<Request> request_of(std::string_view line) {
    auto object = object_in(line);
    if (!object) return std::nullopt;
    Request out;
    out.object = std::move(*object);
    const auto wants = [&out](std::string_view key) {
        const auto* value = out.object.if_contains(key);
        return value != nullptr && value->is_bool() && value->as_bool();
    };
    out.progress = wants("progress");
    out.parts = wants("parts");
    return out;
}

std::string progress_line(const json::object& so_far) {
    return json::serialize(json::object{{"progress", so_far}}) + "\n";
}

std::optional<json::object> progress_of(std::string_view line) {
    return object_in(line, "progress");
}

std::string part_line(const json::object& piece) {
    return printable_json(json::serialize(json::object{{"part", piece}})) + "\n";
}

std::optional<json::object> part_of(std::string_view line) {
    return object_in(line, "part");
}

void join_parts(json::value& data, json::object parts) {
    if (data.is_array()) {
        const auto* items = parts.if_contains("items");
        if (items == nullptr || !items->is_array()) return;
        json::array all = items->as_array();
        for (auto& one : data.as_array()) all.push_back(std::move(one));
        data = std::move(all);
        return;
    }
    if (parts.empty() || !data.is_object()) return;
    for (auto& [key, value] : parts) {
        if (!value.is_array()) continue;
        json::array all = std::move(value.as_array());
        json::value& last = data.as_object()[key];
        if (last.is_array())
            for (auto& one : last.as_array()) all.push_back(std::move(one));
        last = std::move(all);
    }
}

std::string to_line(const Answer& answer) {
    json::object out;
    out["code"] = static_cast<int>(answer.code);
    out["text"] = answer.text;
    out["data"] = answer.data;
    return printable_json(json::serialize(out)) + "\n";
}

Answer answer_of(std::string_view line) {
    const auto object = object_in(line);
    const auto* const code = object ? object->if_contains("code") : nullptr;
    boost::system::error_code ec;
    const int number = code == nullptr ? 0 : code->to_number<int>(ec);
    Answer out;
    if (code == nullptr || ec) {
        out.code = ExitCode::internal;
        out.text = "the daemon's answer cannot be read";
        return out;
    }
    out.code = static_cast<ExitCode>(number);
    if (const auto* text = object->if_contains("text"); text != nullptr && text->is_string())
        out.text = std::string(text->as_string());
    if (const auto* data = object->if_contains("data")) out.data = *data;
    return out;
}

json::object to_json(const store::StoredMessage& message, const std::vector<queue::Blocked>& blocked) {
    json::object out;
    out["id"] = message.id.text();
    out["arrived"] = rfc3339(message.arrived);
    out["size"] = message.body.size;
    out["class"] = name_of(message.message_class);
    out["reverse_path"] = message.envelope.reverse_path.text();
    out["held"] = message.held;
    out["requiretls"] = message.envelope.requiretls;
    out["tls_required_no"] = message.envelope.tls_required_no;
    out["smtputf8"] = message.envelope.smtputf8;
    json::object origin;
    origin["address"] = message.origin.address;
    origin["helo"] = message.origin.helo;
    origin["with"] = message.origin.with;
    if (message.origin.uid) origin["uid"] = *message.origin.uid;
    out["origin"] = std::move(origin);
    json::array recipients;
    for (std::size_t n = 0; n < message.recipients.size(); ++n) {
        const store::StoredRecipient& r = message.recipients[n];
        json::object one;
        one["path"] = r.address.recipient.path.text();
        one["next_hop"] = r.address.next_hop;
        one["state"] = store::name_of(r.state);
        const bool queued = r.state == store::RecipientState::queued;
        const queue::Blocked& now = blocked[n];
        one["active"] = queued && (now.what == queue::Obstacle::none || now.what == queue::Obstacle::due);
        if (queued) {
            one["next_at"] = rfc3339(now.until.value_or(r.next_at));
            one["blocked_by"] = name_of(now.what);
            one["blocks"] = now.text;
        }
        one["tries"] = r.tries;
        // what the next hop last said stands before what the recipient's own last attempt said
        const bool of_hop = queued && now.what == queue::Obstacle::hop_fails;
        one["status"] = of_hop ? now.status : r.status;
        one["reason"] = of_hop ? now.text : r.text;
        recipients.push_back(std::move(one));
    }
    out["recipients"] = std::move(recipients);
    return out;
}

json::object to_json(const HopRow& hop) {
    json::object out;
    out["name"] = hop.name;
    out["recipients"] = hop.recipients;
    out["connections"] = hop.connections;
    out["failures"] = hop.failures;
    if (hop.next_at) out["next_at"] = rfc3339(*hop.next_at);
    out["suspended"] = hop.blocked.what == queue::Obstacle::hop_suspended;
    out["status"] = hop.status;
    out["reason"] = queue::is_held_back(hop.blocked.what) ? hop.blocked.text : hop.text;
    out["blocked_by"] = name_of(hop.blocked.what);
    out["blocks"] = hop.blocked.text;
    return out;
}

json::object to_json(const store::QueueTotals& totals) {
    json::object out;
    out["messages"] = totals.messages;
    out["recipients"] = totals.recipients;
    out["octets"] = totals.octets;
    if (totals.oldest) out["oldest"] = rfc3339(*totals.oldest);
    return out;
}

void add(store::QueueTotals& totals, const store::StoredMessage& message) {
    ++totals.messages;
    totals.octets += message.body.size;
    for (const auto& recipient : message.recipients)
        if (recipient.state == store::RecipientState::queued) ++totals.recipients;
    if (!totals.oldest || message.arrived < *totals.oldest) totals.oldest = message.arrived;
}

json::object to_json(const store::StoredSuspension& suspension) {
    json::object out;
    out["kind"] = suspension.kind == store::SuspensionKind::sender ? "sender" : "next-hop";
    out["scope"] = suspension.scope;
    out["reason"] = suspension.reason;
    out["author"] = suspension.author;
    out["set"] = rfc3339(suspension.set);
    return out;
}

json::object to_json(const store::StoredPolicy& policy, bool with_text) {
    json::object out;
    out["domain"] = policy.domain;
    out["id"] = policy.id;
    if (const auto parsed = sts::Policy::parse(policy.text)) {
        out["mode"] = sts::name_of(parsed->mode);
        json::array mx;
        for (const auto& pattern : parsed->mx) mx.emplace_back(pattern.text());
        out["mx"] = std::move(mx);
        out["max_age"] = parsed->max_age.count();
    }
    out["fetched"] = rfc3339(policy.fetched);
    out["expires"] = rfc3339(policy.expires);
    out["checked"] = rfc3339(policy.checked);
    out["fingerprint"] = policy.fingerprint;
    if (with_text) out["text"] = policy.text;
    return out;
}

}  // namespace sternpost::control
