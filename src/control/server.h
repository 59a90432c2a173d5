// The daemon's side of the administrator's socket.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <functional>
#include <optional>
#include <string>

#include "control/protocol.h"
#include "util/log.h"
#include "util/result.h"
#include "util/tasks.h"

namespace sternpost::control {

namespace asio = boost::asio;

/// Who asks, as the kernel says.
struct Caller {
    std::uint32_t uid = 0;
    bool may_act = false;  // root, or the daemon's own account: others may only look
    /// Tells them how far their answer is; null: they do not want to know.
    std::function<asio::awaitable<void>(json::object so_far)> tell;
};

/// Lives on the control thread.
class Server {
  public:
    using Handler = std::function<asio::awaitable<Answer>(json::object request, Caller caller)>;

    Server(asio::io_context& context, Handler handler, Log& log);
    /// Binds `path` (a stale socket there is replaced) and accepts until stop().
    util::Result<void> listen(const std::string& path);
    asio::awaitable<void> stop();

  private:
    asio::awaitable<void> accept_loop();
    asio::awaitable<void> talk(asio::local::stream_protocol::socket socket);
    static asio::awaitable<void> put(asio::local::stream_protocol::socket& socket, std::string line);

    asio::io_context& context_;
    Handler handler_;
    asio::local::stream_protocol::acceptor acceptor_;
    TaskGroup tasks_;
    std::string path_;
};

}  // namespace sternpost::control
