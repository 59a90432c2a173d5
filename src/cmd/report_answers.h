// The daemon's answers about TLS reports: tlsrpt preview, list, show, send, resend, status, digest.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>

#include "control/protocol.h"
#include "control/server.h"
#include "store/store.h"
#include "tlsrpt/daily.h"

namespace sternpost::cmd {

/// What the answers are made of. All outlive ReportAnswers.
struct ReportSources {
    tlsrpt::Daily& daily;
    tlsrpt::Sender& sender;
    store::Store& store;
    const Clock& clock;
    std::optional<mail::Mailbox> admin;
};

/// Lives on the control thread.
class ReportAnswers {
  public:
    explicit ReportAnswers(ReportSources sources) : s_(std::move(sources)) {}

    static bool knows(std::string_view verb);
    asio::awaitable<control::Answer> answer(control::json::object request, control::Caller caller);
    /// For `tlsrpt status`, and as part of `status`.
    control::json::object status() const;

  private:
    asio::awaitable<control::Answer> preview(std::string domain, std::string day);
    asio::awaitable<control::Answer> list(control::json::object request, control::Caller caller);
    asio::awaitable<control::Answer> show(std::string id);
    asio::awaitable<control::Answer> send(control::json::object request, control::Caller caller);
    asio::awaitable<control::Answer> resend(std::string id);
    asio::awaitable<control::Answer> digest(std::string day, bool mail);
    asio::awaitable<control::Answer> mail_digest(control::json::object digest);

    ReportSources s_;
};

}  // namespace sternpost::cmd
