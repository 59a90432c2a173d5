// From results to notices: who is told, and what is sent back (RFC 3461 §6, RFC 5321 §6.1).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>

#include "delivery/notice_counts.h"
#include "queue/work.h"
#include "store/store.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/random.h"

namespace sternpost::delivery {

namespace asio = boost::asio;

struct BounceOptions {
    std::string hostname;
    std::optional<mail::Mailbox> admin;  // double bounces go there; none: they are logged and dropped
    std::uint64_t most_returned =
        64UL * 1024;  // octets of the original that are returned whole; larger ones: its header
    std::size_t most_per_message = 50;  // ours: notices about one message; what fails later is logged alone
    std::size_t most_per_day =
        1000;  // to one mailbox, in a day by UTC, ten times as many to one domain; 0: no limit
};

/// Lives on the control thread.
class Bouncer {
  public:
    Bouncer(BounceOptions options, store::Store& store, const Clock& clock, Random& random, Log& log,
            store::IdSource& ids);

    /// The notices that `results` of `message` call for: of failure, and of success at a host that does not
    /// tell of it itself (RFC 3461 §5.2.2); none where nothing bounced, the sender wants none, or there is no
    /// sender. A notice's submission id is made from what it reports, so that it is accepted once however
    /// often it is made. Only the first notice of failures brings the message back, later ones its header.
    /// One message, and one mailbox in a day, get a bounded number of notices: what is beyond it is logged.
    /// An error: it cannot be written now, and the results must not be recorded without it.
    asio::awaitable<store::Result<std::vector<store::NewMessage>>> notices(
        queue::MessagePtr message, std::vector<store::DeliveryResult> results);
    /// The delay warning (RFC 3461 §5.2.5). Nothing: there is no sender who wants it. Its submission id is
    /// made from the message's alone: a message is warned of once.
    asio::awaitable<std::optional<store::NewMessage>> delay_warning(queue::Delayed delayed);

  private:
    struct Notice;
    asio::awaitable<store::Result<std::optional<store::NewMessage>>> relayed(
        queue::MessagePtr message, std::vector<store::DeliveryResult> results);
    asio::awaitable<void> add_replies(const store::StoredMessage& message,
                                      std::vector<store::DeliveryResult>& waiting);
    asio::awaitable<store::Result<store::NewMessage>> make(queue::MessagePtr message, Notice what);

    BounceOptions options_;
    store::Store& store_;
    const Clock& clock_;
    Random& random_;
    Log& log_;
    store::IdSource& ids_;
    NoticeCounts counts_;
};

}  // namespace sternpost::delivery
