// A message: its identity, where it came from, its octets, its recipients and how far they are.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mail/envelope.h"
#include "store/reason_code.h"
#include "util/clock.h"
#include "util/random.h"

namespace sternpost::store {

/// A message's identity, for ever: microseconds since 2020-01-01 (UTC), never going back, and the number of
/// the thread that made it in the low 6 bits. As text the queue id: digits and consonants, so that no word
/// can arise.
struct MessageId {
    std::uint64_t value = 0;
    std::string text() const;
    WallTime time() const;  // when it was made
    static std::optional<MessageId> parse(std::string_view text);
    /// The last one that can be made at `time`.
    static MessageId last_at(WallTime time);
    auto operator<=>(const MessageId&) const = default;
};

/// Makes MessageIds. One an accepting thread, each with its own `slot` (0 … 63); `floor`: the newest id in
/// the store.
class IdSource {
  public:
    IdSource(const Clock& clock, unsigned slot, MessageId floor)
        : clock_(clock), slot_(slot), last_(floor.value >> 6U) {}
    MessageId next();

  private:
    const Clock& clock_;
    unsigned slot_;
    std::uint64_t last_;  // microseconds of the newest id given
};

/// 128 random bits made by who submits; the store accepts each only once within 7 days.
struct SubmissionId {
    std::array<std::uint8_t, 16> octets{};
    static SubmissionId make(Random& random);
    static std::optional<SubmissionId> parse(std::string_view hex32);
    std::string text() const;  // 32 hex digits
    auto operator<=>(const SubmissionId&) const = default;
};

enum class MessageClass : std::uint8_t { mail = 0, notice = 1, report = 2 };
std::string_view name_of(MessageClass message_class);

/// Where a message came from.
struct Origin {
    std::string address;               // the client's IP address; empty for local submission
    std::string helo;                  // its EHLO name
    std::string with;                  // ESMTP, ESMTPS, local … (RFC 3848)
    std::optional<std::uint32_t> uid;  // of the local submitter, from the socket or the file's owner
    bool operator==(const Origin&) const = default;
};

/// Where a body is kept. The store makes it and is the only one to read it; all zeros: nowhere.
struct BodyRef {
    std::uint8_t kind = 0;
    std::array<std::uint64_t, 2> key{};
    bool operator==(const BodyRef&) const = default;
};

/// Message octets: header, empty line, body, CRLF line ends, not dot-stuffed. Small ones may be in memory.
struct Body {
    std::shared_ptr<const std::string> octets;  // null: read_body() fetches them
    BodyRef ref;
    std::uint64_t size = 0;
    std::uint32_t crc = 0;   // CRC-32C of all octets
    bool eight_bit = false;  // an octet above 127 is in it
    bool damaged = false;    // found unreadable at recovery: read_body() says damaged

    /// A body in memory, its size, CRC and eight_bit filled in.
    static Body of(std::string octets);
};

struct QueuedRecipient {
    mail::Recipient recipient;
    std::string next_hop;  // the recipient domain, or `[literal]`

    QueuedRecipient(mail::Recipient r, std::string hop) : recipient(std::move(r)), next_hop(std::move(hop)) {}
};

enum class RecipientState : std::uint8_t { queued = 0, sent = 1, bounced = 2, deleted = 3 };
std::string_view name_of(RecipientState state);

struct DeliveryResult;

/// What the results so far have made of one recipient.
struct RecipientProgress {
    RecipientState state = RecipientState::queued;
    WallTime next_at;
    std::uint32_t tries = 0;         // attempts so far that blame the recipient
    std::uint32_t lost_replies = 0;  // replies to the final dot that were lost in a row: it may have arrived
    std::string status;              // of the last result: RFC 3463
    std::string text;

    static RecipientProgress after(const DeliveryResult& result);
    /// It waits for another next hop from now on, as new mail does: nothing was tried there. What may have
    /// arrived before stays known.
    void move_on(WallTime at);
    bool operator==(const RecipientProgress&) const = default;
};

/// A message on its way into the store. envelope.recipients is empty here: the recipients stand in
/// `recipients`.
struct NewMessage {
    MessageId id;
    std::optional<SubmissionId> submission;
    WallTime arrived;
    MessageClass message_class = MessageClass::mail;
    mail::Envelope envelope;
    std::vector<QueuedRecipient> recipients;
    Origin origin;
    Body body;
};

/// A message as the index or the running store knows it.
struct StoredRecipient : RecipientProgress {
    QueuedRecipient address;
    ReasonCode reason_code = ReasonCode::none;  // of what blocks its next hop, where that is why it waits
    bool waits_for_hop = false;  // likewise: status, text and next_at are its next hop's, not its own

    explicit StoredRecipient(QueuedRecipient a) : address(std::move(a)) {}
};

struct StoredMessage {
    MessageId id;
    WallTime arrived;
    MessageClass message_class = MessageClass::mail;
    mail::Envelope envelope;  // without recipients
    std::vector<StoredRecipient> recipients;
    Origin origin;
    Body body;  // octets may be null: then read_body() fetches them
    bool held = false;
    bool warned = false;  // its sender was told that it is delayed

    /// The message as it stands right after its accept.
    static StoredMessage of(const NewMessage& message);
};

}  // namespace sternpost::store
