// What the daemon answers about TLS reports: tlsrpt preview, send, resend, status, digest.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <optional>

#include "admin/reports.h"
#include "admin/run.h"
#include "store/store.h"
#include "tlsrpt/daily.h"

namespace sternpost::admin {

/// What the answers are made of. All outlive ReportVerbs.
struct ReportSources {
    tlsrpt::Daily& daily;
    tlsrpt::Sender& sender;
    store::Store& store;
    const Clock& clock;
    const Live& live;
    std::optional<mail::Mailbox> admin;
};

/// Lives on the control thread.
class ReportVerbs {
  public:
    /// Told how many reports are through; null: no one wants to know.
    using Tell = std::function<asio::awaitable<void>(SendingRow so_far)>;

    explicit ReportVerbs(ReportSources sources) : s_(std::move(sources)) {}

    asio::awaitable<Answer<PreviewAnswer>> preview(ReportRequest request);
    asio::awaitable<Answer<SentAnswer>> send(ReportRequest request, Tell tell);
    asio::awaitable<Answer<ReportRow>> resend(IdRequest request);
    asio::awaitable<Answer<DigestAnswer>> digest(DigestRequest request);
    ReportingRow status() const;

  private:
    ReportSources s_;
};

}  // namespace sternpost::admin
