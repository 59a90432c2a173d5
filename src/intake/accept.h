// The last steps of every way in: lines that are too long are encoded, and the log hears of what was
// accepted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "intake/message_text.h"
#include "intake/refusal.h"
#include "intake/sender_limits.h"
#include "store/store.h"
#include "util/log.h"

namespace sternpost::intake {

/// A sender that reached its limit: its name, and which limit.
using OnLimit = std::function<void(const std::string& sender, const std::string& why)>;

/// The key and value by which the log names who hands in, such as `client` and `192.0.2.1`.
using Who = std::pair<std::string_view, std::string>;

/// A new body in place of what is in `sink`, with lines that every host takes. On the thread of the caller,
/// in memory: at most mail::max_rewritten octets.
Result<void> encode_long_lines(store::Store& store, std::unique_ptr<store::BodySink>& sink,
                               MessageText& text);

/// What the log says of an accepted message, kept while the store has the message itself.
struct Summary {
    std::string id;
    std::string from;  // reverse-path without brackets
    std::uint64_t size = 0;
    std::size_t recipients = 0;

    static Summary of(const store::NewMessage& message);
};

/// The line `accept` of a message that is on stable storage. `way`: keys that say how it came.
void log_accept(Log& log, const Summary& message, const MessageText& text, const std::vector<Who>& way);

/// The line `sender-limit`, and `on_limit`, the first time in a while that the sender meets a limit.
void tell_limit(Log& log, const OnLimit& on_limit, const Who& who, const Sender& sender,
                const SenderLimits::Refusal& refusal);

}  // namespace sternpost::intake
