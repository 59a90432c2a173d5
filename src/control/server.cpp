#include "control/server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "util/deadline.h"
#include "util/file.h"

namespace sternpost::control {
namespace {

constexpr std::size_t max_callers = 64;  // ours: nobody needs more at a time

Caller caller_of(asio::local::stream_protocol::socket& socket) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    Caller out;
    out.uid = UINT32_MAX;
    if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0)
        out.uid = credentials.uid;
    out.may_act = out.uid == 0 || out.uid == ::geteuid();
    return out;
}

}  // namespace

Server::Server(asio::io_context& context, Handler handler, Log& log)
    : context_(context), handler_(std::move(handler)), acceptor_(context), tasks_(context, log) {}

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
        if (tasks_.size() > max_callers) continue;
        tasks_.spawn("control call", talk(std::move(socket)));
    }
}

asio::awaitable<void> Server::talk(asio::local::stream_protocol::socket socket) {
    Caller caller = caller_of(socket);
    std::string line;
    const Deadline soon = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    auto got = co_await until(
        soon, asio::async_read_until(socket, asio::dynamic_buffer(line, max_request), '\n', asio::deferred));
    if (!got) co_return;
    boost::system::error_code ec;
    json::value request = json::parse(line, ec);
    Answer answer;
    if (ec || !request.is_object()) {
        answer.code = ExitCode::usage;
        answer.text = "not a request";
    } else {
        json::object object = std::move(request.as_object());
        const auto* progress = object.if_contains("progress");
        if (progress != nullptr && progress->is_bool() && progress->as_bool())
            caller.tell = [&socket](json::object so_far) { return put(socket, progress_line(so_far)); };
        answer = co_await handler_(std::move(object), caller);
    }
    co_await put(socket, to_line(answer));
}

asio::awaitable<void> Server::put(asio::local::stream_protocol::socket& socket, std::string line) {
    const Deadline later = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    (void)co_await until(later, asio::async_write(socket, asio::buffer(line), asio::deferred));
}

}  // namespace sternpost::control
