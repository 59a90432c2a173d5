// The two ways from sendmail to the daemon: the socket, and the maildrop while no one answers there. Plain
// blocking calls.
#pragma once

#include <chrono>
#include <string>

#include "local/message_buffer.h"
#include "local/record.h"

namespace sternpost::local {

struct SocketTimes {
    std::chrono::milliseconds connect{2000};
    std::chrono::milliseconds send{30'000};    // without progress
    std::chrono::milliseconds answer{60'000};  // after the last octet
};

/// Sends the record and waits for the daemon's answer. io: there is none, for whatever reason; the message
/// may have been queued all the same, so that only a second submission with the same id is safe.
Result<Answer> submit(const std::string& socket_path, const Submission& submission,
                      const MessageBuffer& message, SocketTimes times = {});

/// Writes the record into the maildrop; when it returns without error the record is there for good. While it
/// writes, SIGINT, SIGTERM and SIGHUP wait; one that came removes what was written before it takes effect.
/// no_space, io: nothing is left there.
Result<void> leave(const std::string& maildrop_path, const Submission& submission,
                   const MessageBuffer& message);

}  // namespace sternpost::local
