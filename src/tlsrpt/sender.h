// One attempt to bring a domain its report of a day: ask where it goes, make it, mail it, post it.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dns/gate.h"
#include "dns/resolver.h"
#include "store/store.h"
#include "tlsrpt/mail.h"
#include "tlsrpt/record.h"
#include "tlsrpt/report.h"
#include "tlsrpt/schedule.h"
#include "util/clock.h"
#include "util/https.h"
#include "util/log.h"
#include "util/random.h"
#include "util/runtime.h"

namespace sternpost::tlsrpt {

namespace asio = boost::asio;

struct Options {
    std::string organization;
    std::optional<mail::Mailbox> contact;
    std::string node;  // this host's name
    bool send = true;
    Schedule schedule;
    std::size_t most_places = 10;            // of one record (RPT-08)
    std::size_t most_to_one_place = 10'000;  // reports a UTC day to one mail domain or HTTPS host (D-38)
    bool allow_other_ports = false;          // https: at another port than 443
    std::chrono::milliseconds post_timeout{60'000};
    bool ipv4 = true;
    bool ipv6 = true;
    dns::Gate gate;  // where a connection may go
    bool allow_special_addresses = false;

    /// Who reports, as far as it is known yet.
    Reporter reporter() const;
};

/// A report as it would go out now, and whether anybody asks for it.
struct Preview {
    Report report;
    std::optional<Record> record;
    std::string why_not;  // no one asks: why; else empty
};

/// Lives on the control thread. What it is given outlives it.
class Sender {
  public:
    Sender(const Runtime& runtime, Options options, dns::Resolver& resolver, util::Https& https,
           store::Store& store, store::IdSource& ids);

    const Options& options() const { return options_; }

    /// The report of that day, of what has been counted by now. Errors: nothing (no session), not_kept.
    asio::awaitable<Result<Report>> make(std::string domain, std::chrono::sys_days day);
    asio::awaitable<Result<Preview>> preview(std::string domain, std::chrono::sys_days day);
    /// Tries every place that has not taken the report yet, and says how it stands then; not yet kept. What
    /// was never tried has only day and domain set.
    asio::awaitable<store::StoredReport> attempt(store::StoredReport report);
    /// Hands a text (lines that end with LF) to the queue, as a notice of this reporter that no one answers.
    asio::awaitable<store::Result<store::MessageId>> submit_text(std::string subject, std::string text,
                                                                 mail::ForwardPath to);

  private:
    struct Wanted {
        std::optional<Record> record;
        std::string why;  // there is none
    };
    asio::awaitable<Result<Wanted>> ask(std::string domain);
    asio::awaitable<store::ReportPlace> deliver(const Report& report, const Packed& packed, Destination to,
                                                std::uint32_t resent);
    asio::awaitable<store::ReportPlace> mail_it(const Report& report, const Packed& packed, Destination to,
                                                std::uint32_t resent);
    asio::awaitable<store::ReportPlace> post_it(const Packed& packed, Destination to);
    asio::awaitable<Expected<util::HttpsAnswer, util::HttpsErrc>> post(util::HttpsRequest request);
    /// `unique`: makes it accepted once.
    asio::awaitable<store::Result<store::MessageId>> submit(std::string text, std::string message_id,
                                                            mail::ForwardPath to, std::string unique,
                                                            store::MessageClass message_class);
    bool may_have_another(const Destination& to);

    Options options_;
    dns::Resolver& resolver_;
    util::Https& https_;
    store::Store& store_;
    const Clock& clock_;
    Random& random_;
    store::IdSource& ids_;
    std::chrono::sys_days counted_on_{};
    std::map<std::string, std::size_t> sent_to_;  // on that day
};

}  // namespace sternpost::tlsrpt
