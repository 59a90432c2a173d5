// `log`: what became of mail, by an address, a Message-ID, a domain or a queue id.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/why.h"

namespace sternpost::admin {

struct LogRequest {
    std::string what{};         // a queue id, an address, a Message-ID or a next hop; empty: all mail
    std::string as{};           // an address is a `recipient` or a `sender`; empty: either, or a Message-ID
    WallTime from{};            // mail that was accepted or tried since then
    std::uint64_t limit = 100;  // the latest so many messages
};
BOOST_DESCRIBE_STRUCT(LogRequest, (), (what, as, from, limit))

struct LoggedRecipient {
    std::string path;
    std::string next_hop;
    store::RecipientState state = store::RecipientState::queued;
    std::uint32_t tries = 0;
    std::string status;
    std::string reason;
};
BOOST_DESCRIBE_STRUCT(LoggedRecipient, (), (path, next_hop, state, tries, status, reason))

struct LoggedMessage {
    std::string id;
    WallTime arrived{};
    std::uint64_t size = 0;  // octets
    std::string class_;      // mail, notice, report
    std::string reverse_path;
    std::string message_id;
    OriginRow origin;
    std::vector<LoggedRecipient> recipients;
    std::vector<HistoryRow> attempts;  // in time order
};
BOOST_DESCRIBE_STRUCT(LoggedMessage, (),
                      (id, arrived, size, class_, reverse_path, message_id, origin, recipients, attempts))

struct LogAnswer {
    std::vector<LoggedMessage> messages;  // the oldest first
    bool more = false;                    // older ones match too
};
BOOST_DESCRIBE_STRUCT(LogAnswer, (), (messages, more))

class MailLog : public ReadingVerb {
  public:
    using Request = LogRequest;
    using Value = LogAnswer;
    static constexpr std::string_view name = "log";
    static constexpr Access access = Access::read;

    MailLog(const Request& request, const Caller& caller, Paging paging);
    store::Result<void> read(store::Questions& questions);
    Answer<Value> answer(const Live&);

  private:
    store::HistoryFilter filter_;
    std::string what_;
    LogAnswer answer_;
};

}  // namespace sternpost::admin
