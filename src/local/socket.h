// The daemon's side of the submission socket: one record in, one line of answer out.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <functional>
#include <list>
#include <optional>

#include "intake/accept.h"
#include "local/intake.h"
#include "util/log.h"
#include "util/tasks.h"

namespace sternpost::local {

namespace asio = boost::asio;

/// What the shells of this folder work with. All of it outlives them; `ids` belongs to their thread.
struct Surroundings {
    store::Store& store;
    store::IdSource& ids;
    const Clock& clock;
    Log& log;
    intake::SenderLimits& limits;  // of users
    /// A user has met a limit, for the first time since long.
    intake::OnLimit on_limit;

    /// One message more of this user: whether it may come. Errors: limited.
    Result<void> begin(std::uint32_t uid, const std::string& login) const;
    /// What `intake` has made of a record to the store; an accepted message counts for its user and is
    /// logged. `via`: socket or maildrop.
    asio::awaitable<store::Result<store::MessageId>> accept(store::NewMessage message,
                                                            const RecordIntake& intake,
                                                            std::string_view via) const;

  private:
    void note(const intake::Summary& message, std::uint32_t uid, const RecordIntake& intake,
              std::string_view via) const;
};

/// The login name of a uid by the system's user database; empty when it has none. Any thread; may block as
/// that does.
std::string user_name(std::uint32_t uid);

/// Whether a session of `uid` finds one of `all` places: one user has at most half of them, and the last
/// tenth is root's. `open`: the sessions that there are, this one among them; `own`: those of the user before
/// it.
bool finds_place(std::uint32_t uid, std::size_t own, std::size_t open, std::size_t all);

/// Lives on the thread of its io_context. drain() before it goes.
class SubmissionSocket {
  public:
    SubmissionSocket(asio::io_context& context, Options options, Surroundings around);

    /// Listens on options.socket_path, mode 0666: whoever may run a program here may send. A socket file left
    /// behind is replaced.
    Result<void> open();
    /// Takes nothing new, hangs up where a record is not yet complete (its submitter goes to the maildrop),
    /// waits for the store's answers at most until `deadline`.
    asio::awaitable<void> drain(Deadline deadline);

  private:
    using Stream = asio::local::stream_protocol::socket;
    struct Session {
        explicit Session(Stream s) : stream(std::move(s)) {}
        Stream stream;
        std::uint32_t uid = UINT32_MAX;  // until the kernel has said
        bool reading = false;
        bool limited = false;  // its sender has had its share: the log says so once, not for each message
    };

    asio::awaitable<void> accept_all();
    bool has_slot(std::uint32_t uid) const;
    asio::awaitable<void> serve(std::list<Session>::iterator session);
    // nullopt: the daemon stops, and gives no answer.
    asio::awaitable<std::optional<Answer>> take(Session& session, Deadline deadline);

    asio::io_context& context_;
    Options options_;
    Surroundings around_;
    asio::local::stream_protocol::acceptor acceptor_;
    std::list<Session> sessions_;
    bool draining_ = false;
    TaskGroup tasks_;
};

}  // namespace sternpost::local
