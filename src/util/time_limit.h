// Deadlines for a socket that has many operations, one after the other: one timer for all of them, which is
// set again only when it rings too early or would ring too late.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>

#include "util/clock.h"

namespace sternpost {

namespace asio = boost::asio;

/// Lives on the socket's thread, and not longer than the socket.
class TimeLimit {
  public:
    explicit TimeLimit(asio::ip::tcp::socket& socket);
    TimeLimit(const TimeLimit&) = delete;
    TimeLimit& operator=(const TimeLimit&) = delete;
    ~TimeLimit();

    /// While one of these lives, everything that waits on the socket is cancelled at its deadline.
    class Span {
      public:
        Span(TimeLimit& limit, Deadline deadline);
        Span(const Span&) = delete;
        Span& operator=(const Span&) = delete;
        ~Span();
        /// It has come to that.
        bool over() const;

      private:
        TimeLimit& limit_;
    };

  private:
    struct State;
    std::shared_ptr<State> state_;  // the timer's handler has a share: it may be called after we are gone
};

}  // namespace sternpost
