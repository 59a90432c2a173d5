#include "intake/accept.h"

#include <fmt/format.h>

#include "mail/seven_bit.h"

namespace sternpost::intake {

Result<void> encode_long_lines(store::Store& store, std::unique_ptr<store::BodySink>& sink,
                               MessageText& text) {
    const auto octets = sink->contents();
    if (!octets) return fail(not_stored(octets.error()));
    const auto shorter = mail::to_short_lines(*octets);
    if (!shorter)
        return fail(Errc::bad_message,
                    fmt::format("a line has {} octets, at most {} are allowed, and it cannot be encoded: {}",
                                text.longest_line(), mail::max_line, shorter.error().text));
    sink = store.new_body(shorter->size());
    if (auto written = sink->write(*shorter); !written) return fail(not_stored(written.error()));
    text.lines_were_encoded();
    return {};
}

Summary Summary::of(const store::NewMessage& message) {
    return {message.id.text(), message.envelope.reverse_path.text(), message.body.size,
            message.recipients.size()};
}

void log_accept(Log& log, const Summary& message, const MessageText& text, const std::vector<Who>& way) {
    Event event(log, Level::info, "accept");
    event.kv("qid", message.id)
        .address("from", message.from)
        .kv("size", message.size)
        .kv("nrcpt", message.recipients);
    for (const auto& [key, value] : way) event.kv(key, value);
    event.kv("message-id", text.message_id()).kv("repaired", text.repairs().text());
}

void tell_limit(Log& log, const OnLimit& on_limit, const Who& who, const Sender& sender,
                const SenderLimits::Refusal& refusal) {
    if (!refusal.first) return;
    Event(log, Level::warning, "sender-limit").kv(who.first, who.second).reason(refusal.why);
    if (on_limit) on_limit(sender.name, refusal.why);
}

}  // namespace sternpost::intake
