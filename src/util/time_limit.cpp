#include "util/time_limit.h"

#include <boost/asio/steady_timer.hpp>
#include <cassert>

namespace sternpost {

struct TimeLimit::State : std::enable_shared_from_this<State> {
    explicit State(asio::ip::tcp::socket& s) : socket(&s), timer(s.get_executor()) {}

    void watch(Deadline until) {
        deadline = until;
        over = false;
        if (set && timer.expiry() <= until) return;  // when it rings it is set again
        set_timer();
    }

    void set_timer() {
        set = true;
        timer.expires_at(deadline);
        timer.async_wait([self = shared_from_this()](boost::system::error_code ec) { self->ring(ec); });
    }

    void ring(boost::system::error_code ec) {
        if (ec || socket == nullptr) return;  // set for another time, or the end
        set = false;
        if (!watching) return;
        if (std::chrono::steady_clock::now() < deadline) return set_timer();
        over = true;
        boost::system::error_code ignored;
        socket->cancel(ignored);
    }

    asio::ip::tcp::socket* socket;
    asio::steady_timer timer;
    Deadline deadline{};
    bool set = false;
    bool watching = false;
    bool over = false;
};

TimeLimit::TimeLimit(asio::ip::tcp::socket& socket) : state_(std::make_shared<State>(socket)) {}

TimeLimit::~TimeLimit() {
    state_->socket = nullptr;
    state_->timer.cancel();
}

TimeLimit::Span::Span(TimeLimit& limit, Deadline deadline) : limit_(limit) {
    assert(!limit_.state_->watching);
    limit_.state_->watching = true;
    limit_.state_->watch(deadline);
}

TimeLimit::Span::~Span() {
    limit_.state_->watching = false;
}

bool TimeLimit::Span::over() const {
    return limit_.state_->over;
}

}  // namespace sternpost
