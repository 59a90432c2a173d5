// The shell of server: accepts connections, moves octets, keeps time, hands messages to the store.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "intake/accept.h"
#include "smtp/client_limits.h"
#include "smtp/server.h"
#include "store/store.h"
#include "tls/context.h"
#include "util/file.h"
#include "util/log.h"
#include "util/tasks.h"
#include "util/timer.h"

namespace sternpost::smtp {

namespace asio = boost::asio;

enum class ListenErrc { cannot_bind };

/// A thread that runs SMTP sessions; `ids` belongs to it.
struct IoThread {
    asio::io_context& context;
    store::IdSource& ids;
};

/// Answers what is already known of a next hop; called on any I/O thread, answers on any.
using AskNextHop = std::function<void(dns::Domain, sternpost::Completion<NextHopKnowledge>)>;

/// Whether a message of so many octets would find room; called on any I/O thread.
using HasRoom = std::function<bool(std::uint64_t)>;

/// A bound TCP socket, for Listener::adopt(): so that a port below 1024 can be had while we are root and have
/// no threads.
Expected<util::Fd, ListenErrc> bind_listener(const dns::Address& address, std::uint16_t port);

/// Connections are accepted on the first thread and go round all of them; a session stays on its thread for
/// life. All methods are called on the first thread; what the constructor is given outlives the listener.
/// drain() before it goes.
class Listener {
  public:
    Listener(std::vector<IoThread> threads, ServerOptions options, AskNextHop ask_next_hop,
             store::Store& store, const Clock& clock, Log& log);
    ~Listener();

    /// Binds and listens on one address.
    Expected<void, ListenErrc> bind(const dns::Address& address, std::uint16_t port);
    /// Listens on a socket that bind_listener() made.
    Expected<void, ListenErrc> adopt(util::Fd bound, bool v6);
    /// The port bound to last: for those who asked for port 0.
    std::uint16_t port() const;
    /// What sessions that begin from now on do STARTTLS with; those under way keep what they began with.
    /// Until it was called, and after null, STARTTLS is not offered.
    void use_tls(std::shared_ptr<asio::ssl::context> context) { tls_ = std::move(context); }
    /// Before start(). Until it was called, all mail finds room.
    void use_room(HasRoom has_room) { has_room_ = std::move(has_room); }
    /// Before start().
    /// Called on any I/O thread.
    void on_limit(intake::OnLimit on_limit) { on_limit_ = std::move(on_limit); }
    /// Begins to accept.
    void start();
    /// Stops accepting; idle sessions get 421 4.3.2, those past the final dot get the store's answer first.
    /// What is not done at `deadline` is cut off.
    asio::awaitable<void> drain(Deadline deadline);

  private:
    class Worker;
    class Session;

    asio::awaitable<void> accept_all(asio::ip::tcp::acceptor& acceptor);
    bool is_home(const Worker& worker) const;
    void at_home(const Worker& worker, Task task);
    ClientLimits::Group group_of(const dns::Address& client) const;
    void refuse(asio::ip::tcp::socket socket, dns::Address client, ClientLimits::Verdict verdict);

    std::shared_ptr<const ServerOptions> options_;
    AskNextHop ask_next_hop_;
    HasRoom has_room_;
    intake::OnLimit on_limit_;
    store::Store& store_;
    const Clock& clock_;
    Log& log_;
    asio::io_context& home_;
    AsioTaskQueue home_task_queue_;
    ClientLimits limits_;
    intake::SenderLimits sender_limits_;
    std::vector<std::unique_ptr<Worker>> workers_;
    std::size_t next_worker_ = 0;
    std::shared_ptr<asio::ssl::context> tls_;
    std::list<asio::ip::tcp::acceptor> acceptors_;
    bool draining_ = false;
    TaskGroup tasks_;
};

}  // namespace sternpost::smtp
