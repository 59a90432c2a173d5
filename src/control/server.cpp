#include "control/server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <new>

#include "util/deadline.h"
#include "util/file.h"

namespace sternpost::control {
namespace {

constexpr std::size_t max_groups = 256;  // of a caller; of whoever has more the primary one counts alone
constexpr std::size_t max_others_request =
    65'536;  // octets of a request, of one that is not an administrator

bool is_member(int socket, std::uint32_t gid, std::uint32_t wanted) {
    if (gid == wanted) return true;
    std::array<gid_t, max_groups> groups{};
    socklen_t size = sizeof groups;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) != 0) return false;
    const auto* const end = groups.cbegin() + size / sizeof(gid_t);
    return std::find(groups.cbegin(), end, wanted) != end;
}

}  // namespace

Server::Server(asio::io_context& context, Options options, Handler handler, Log& log)
    : context_(context),
      options_(options),
      handler_(std::move(handler)),
      log_(log),
      acceptor_(context),
      tasks_(context, log) {}

Caller Server::caller_of(Socket& socket) const {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    Caller out;
    out.uid = UINT32_MAX;
    if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return out;
    out.uid = credentials.uid;
    out.admin =
        out.uid == 0 || out.uid == ::geteuid() ||
        (options_.admin_group && is_member(socket.native_handle(), credentials.gid, *options_.admin_group));
    return out;
}

util::Result<void> Server::listen(const std::string& path) {
    boost::system::error_code ec;
    ::unlink(path.c_str());  // the state directory's lock says that no other daemon owns it
    acceptor_.open(asio::local::stream_protocol(), ec);
    if (!ec) acceptor_.bind(asio::local::stream_protocol::endpoint(path), ec);
    if (!ec && ::chmod(path.c_str(), 0666) != 0) ec.assign(errno, boost::system::system_category());
    if (!ec) acceptor_.listen(asio::socket_base::max_listen_connections, ec);
    if (ec) return fail(util::Errc::io, "cannot listen on " + path + ": " + ec.message());
    path_ = path;
    tasks_.spawn("control", accept_loop());
    return {};
}

asio::awaitable<void> Server::stop() {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    if (!path_.empty()) ::unlink(path_.c_str());
    tasks_.cancel();
    co_await tasks_.join();
}

asio::awaitable<void> Server::accept_loop() {
    while (acceptor_.is_open()) {
        auto [ec, socket] = co_await acceptor_.async_accept(asio::as_tuple(asio::use_awaitable));
        if (ec == asio::error::operation_aborted || !acceptor_.is_open()) co_return;
        if (ec) {
            asio::steady_timer pause(
                context_, std::chrono::milliseconds(100));  // out of descriptors: not in a tight loop
            co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
            continue;
        }
        Caller caller = caller_of(socket);
        if (!has_slot(caller)) {
            turn_away(socket, caller);
            continue;
        }
        tasks_.spawn("control call", talk(std::move(socket), std::move(caller)));
    }
}

bool Server::has_slot(const Caller& caller) const {
    if (caller.uid == 0) return of_root_ < options_.calls_of_root;
    const auto known = calls_.find(caller.uid);
    const std::size_t own = known == calls_.end() ? 0 : known->second;
    if (caller.admin) return of_admins_ < options_.calls_of_admins && own < options_.calls_per_admin;
    return of_others_ < options_.calls_of_others && own < options_.calls_per_uid;
}

std::size_t& Server::pool_of(const Caller& caller) {
    return caller.uid == 0 ? of_root_ : caller.admin ? of_admins_ : of_others_;
}

void Server::turn_away(Socket& socket, const Caller& caller) {
    Answer busy;
    busy.code = ExitCode::unavailable;
    busy.text = "the daemon answers too many requests at the moment: try again in a moment";
    boost::system::error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(asio::buffer(to_line(busy)), ignored);
    Event(log_, Level::warning, "control")
        .kv("uid", caller.uid)
        .reason("a request was turned away: there are too many at a time")
        .limited("busy uid " + std::to_string(caller.uid));
}

asio::awaitable<void> Server::talk(Socket socket, Caller caller) {
    struct Slot {
        Server& server;
        std::uint32_t uid;
        std::size_t& of_all;
        Slot(Server& s, const Caller& c) : server(s), uid(c.uid), of_all(s.pool_of(c)) {
            ++server.calls_[uid];
            ++of_all;
        }
        ~Slot() {
            --of_all;
            if (--server.calls_[uid] == 0) server.calls_.erase(uid);
        }
    };
    const Slot slot(*this, caller);
    std::string line;
    const auto began = std::chrono::steady_clock::now();
    const std::size_t most = caller.admin ? max_request : max_others_request;
    auto got = co_await until(
        began + options_.request_patience,
        asio::async_read_until(socket, asio::dynamic_buffer(line, most), '\n', asio::deferred));
    if (!got) co_return;
    const Deadline end = caller.admin ? Deadline::max() : began + options_.call_patience;
    const Answer out = co_await answer(std::move(line), std::move(caller), socket, end);
    co_await put(socket, to_line(out), end);
}

asio::awaitable<Answer> Server::answer(std::string line, Caller caller, Socket& socket, Deadline end) {
    auto request = request_of(line);
    if (!request) co_return Answer{ExitCode::usage, "not a request", {}};
    if (request->progress)
        caller.tell = [this, &socket, end](json::object so_far) {
            return tell(socket, progress_line(so_far), end);
        };
    if (request->parts)
        caller.part = [this, &socket, end](json::object piece) { return put(socket, part_line(piece), end); };
    try {
        co_return co_await handler_(std::move(request->object), std::move(caller));
    } catch (const std::bad_alloc&) {
        // a smaller question may pass
        co_return Answer{ExitCode::unavailable, "there is no memory for this answer: ask for less", {}};
    }
}

asio::awaitable<void> Server::tell(Socket& socket, std::string line, Deadline end) {
    co_await put(socket, std::move(line), end);
}

asio::awaitable<bool> Server::put(Socket& socket, std::string line, Deadline end) {
    const Deadline soon = std::min<Deadline>(end, std::chrono::steady_clock::now() + options_.write_patience);
    const auto put = co_await until(soon, asio::async_write(socket, asio::buffer(line), asio::deferred));
    co_return put.has_value();
}

}  // namespace sternpost::control
