#include "control/protocol.h"

#include "sts/policy.h"

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

}  // namespace

std::string progress_line(const json::object& so_far) {
    return json::serialize(json::object{{"progress", so_far}}) + "\n";
}

std::optional<json::object> progress_of(std::string_view line) {
    boost::system::error_code ec;
    const json::value read = json::parse(line, ec);
    const auto* object = read.if_object();
    const auto* so_far = object == nullptr ? nullptr : object->if_contains("progress");
    if (ec || so_far == nullptr || !so_far->is_object()) return std::nullopt;
    return so_far->as_object();
}

std::string to_line(const Answer& answer) {
    json::object out;
    out["code"] = static_cast<int>(answer.code);
    out["text"] = answer.text;
    out["data"] = answer.data;
    return json::serialize(out) + "\n";
}

Answer answer_of(std::string_view line) {
    boost::system::error_code ec;
    const json::value parsed = json::parse(line, ec);
    Answer out;
    if (ec || !parsed.is_object() || !parsed.as_object().contains("code")) {
        out.code = ExitCode::internal;
        out.text = "the daemon's answer cannot be read";
        return out;
    }
    const json::object& object = parsed.as_object();
    out.code = static_cast<ExitCode>(object.at("code").to_number<int>(ec));
    if (const auto* text = object.if_contains("text"); text != nullptr && text->is_string())
        out.text = std::string(text->as_string());
    if (const auto* data = object.if_contains("data")) out.data = *data;
    return out;
}

json::object to_json(const store::StoredMessage& message, const std::vector<bool>& active) {
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
        one["active"] = n < active.size() && active[n];
        if (r.state == store::RecipientState::queued) one["next_at"] = rfc3339(r.next_at);
        one["tries"] = r.tries;
        one["status"] = r.status;
        one["reason"] = r.text;
        recipients.push_back(std::move(one));
    }
    out["recipients"] = std::move(recipients);
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
