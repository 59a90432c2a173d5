// The daemon's side of the administrator's socket.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "control/protocol.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/result.h"
#include "util/tasks.h"

namespace sternpost::control {

namespace asio = boost::asio;

/// Who asks, and what of a long answer they take while it is made.
struct Caller : admin::Caller {
    /// Tells them how far their answer is; null: they do not want to know.
    std::function<asio::awaitable<void>(json::object so_far)> tell;
    /// Sends a piece of the answer's data (protocol.h, part_line) and waits until the caller has taken it, so
    /// that an answer of any length takes the memory of one piece. False: the caller is gone. Null: the
    /// caller takes one page.
    std::function<asio::awaitable<bool>(json::object piece)> part;
};

/// Lives on the control thread. Each uid has a few calls at a time, and all that are not administrators have
/// a share of them, so that they cannot keep an administrator out.
class Server {
  public:
    using Handler = std::function<asio::awaitable<Answer>(json::object request, Caller caller)>;

    struct Options {
        std::optional<std::uint32_t> admin_group;  // its members are administrators; nullopt: there is none
        std::size_t calls_per_uid = 4;             // at a time, of one that is not an administrator
        std::size_t calls_of_others = 24;          // at a time, of all of those
        std::size_t calls_of_root = 32;            // at a time, of root alone: no one else takes its places
        std::size_t calls_of_admins = 64;          // at a time, of all other administrators
        std::size_t calls_per_admin = 32;          // at a time, of one of these
        std::chrono::milliseconds request_patience{10'000};  // how long a caller may take for its request,
        std::chrono::milliseconds write_patience{20'000};    // for a piece of its answer,
        std::chrono::milliseconds call_patience{60'000};  // and for all of it, unless it is an administrator
    };

    Server(asio::io_context& context, Options options, Handler handler, Log& log);
    /// Binds `path` (a stale socket there is replaced) and accepts until stop().
    util::Result<void> listen(const std::string& path);
    asio::awaitable<void> stop();

  private:
    using Socket = asio::local::stream_protocol::socket;

    asio::awaitable<void> accept_loop();
    asio::awaitable<void> talk(Socket socket, Caller caller);
    asio::awaitable<Answer> answer(std::string line, Caller caller, Socket& socket, Deadline end);
    asio::awaitable<void> tell(Socket& socket, std::string line, Deadline end);
    asio::awaitable<bool> put(Socket& socket, std::string line, Deadline end);
    Caller caller_of(Socket& socket) const;
    bool has_slot(const Caller& caller) const;
    std::size_t& pool_of(const Caller& caller);
    void turn_away(Socket& socket, const Caller& caller);

    asio::io_context& context_;
    const Options options_;
    Handler handler_;
    Log& log_;
    asio::local::stream_protocol::acceptor acceptor_;
    std::map<std::uint32_t, std::size_t> calls_;  // under way, by uid
    std::size_t of_root_ = 0;
    std::size_t of_admins_ = 0;
    std::size_t of_others_ = 0;
    TaskGroup tasks_;
    std::string path_;
};

}  // namespace sternpost::control
