#include "local/socket.h"

#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>

#include "util/call.h"
#include "util/deadline.h"
#include "util/file.h"

namespace sternpost::local {
namespace {

constexpr std::uint64_t most_refusals_a_minute = 60;  // ours: lines about one user's refused mail

using Accepted = store::Result<store::MessageId>;

}  // namespace

std::string user_name(std::uint32_t uid) {
    std::array<char, 16384> buffer{};
    passwd entry{};
    passwd* found = nullptr;
    if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) return {};
    return found->pw_name;
}

Result<void> Surroundings::begin(std::uint32_t uid, const std::string& login) const {
    const auto refused = limits.message(limits.user(uid, login), clock.steady());
    if (!refused) return {};
    intake::tell_limit(log, on_limit, {"uid", std::to_string(uid)}, limits.user(uid, login), *refused);
    return fail(Errc::limited, refused->why);
}

asio::awaitable<store::Result<store::MessageId>> Surroundings::accept(store::NewMessage message,
                                                                      const RecordIntake& intake,
                                                                      std::string_view via) const {
    const auto summary = intake::Summary::of(message);
    const std::uint32_t uid = message.origin.uid.value_or(0);
    auto start = [this, given = std::move(message)](Completion<Accepted> reply) mutable {
        store.accept(std::move(given), std::move(reply));
    };
    Accepted accepted = co_await call<Accepted>(std::move(start));
    if (accepted) note(summary, uid, intake, via);
    co_return accepted;
}

void Surroundings::note(const intake::Summary& message, std::uint32_t uid, const RecordIntake& intake,
                        std::string_view via) const {
    limits.accepted(limits.user(uid, intake.login()), message.recipients, clock.steady());
    intake::log_accept(log, message, intake.text(),
                       {{"uid", std::to_string(uid)}, {"via", std::string(via)}});
}

SubmissionSocket::SubmissionSocket(asio::io_context& context, Options options, Surroundings around)
    : context_(context),
      options_(std::move(options)),
      around_(around),
      acceptor_(context),
      tasks_(context, around.log) {}

Result<void> SubmissionSocket::open() {
    const std::string& path = options_.socket_path;
    const auto failed = [&path](const std::string& why) {
        return fail(Errc::io, "cannot listen on " + path + ": " + why);
    };
    struct stat left {};
    // The state directory's lock keeps a second daemon away, so a socket that is there belongs to no one any
    // more.
    if (::lstat(path.c_str(), &left) == 0) {
        if (!S_ISSOCK(left.st_mode)) return failed("something that is no socket stands there");
        if (::unlink(path.c_str()) != 0) return failed(util::errno_text(errno));
    }
    boost::system::error_code ec;
    acceptor_.open(asio::local::stream_protocol(), ec);
    if (!ec && path.size() >= sizeof(sockaddr_un::sun_path)) ec = asio::error::name_too_long;
    if (!ec) acceptor_.bind(asio::local::stream_protocol::endpoint(path), ec);
    if (ec) return failed(ec.message());
    if (::chmod(path.c_str(), 0666) != 0) return failed(util::errno_text(errno));
    acceptor_.listen(asio::socket_base::max_listen_connections, ec);
    if (ec) return failed(ec.message());
    tasks_.spawn("submission socket", accept_all());
    return {};
}

asio::awaitable<void> SubmissionSocket::accept_all() {
    for (;;) {
        Stream stream(context_);
        const auto [ec] = co_await acceptor_.async_accept(stream, asio::as_tuple(asio::use_awaitable));
        if (draining_ || ec == asio::error::operation_aborted) co_return;
        if (ec) {
            Event(around_.log, Level::error, "submission-socket")
                .reason("cannot accept a connection: " + ec.message())
                .limited("accept");
            asio::steady_timer pause(context_, std::chrono::milliseconds(100));
            co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
            continue;
        }
        sessions_.emplace_front(std::move(stream));
        tasks_.spawn("local submission", serve(sessions_.begin()));
    }
}

bool finds_place(std::uint32_t uid, std::size_t own, std::size_t open, std::size_t all) {
    if (uid == 0) return open <= all;
    return own < all - all / 2 && open <= all - all / 10;
}

// Whoever finds no place leaves the mail in the maildrop.
bool SubmissionSocket::has_slot(std::uint32_t uid) const {
    const auto own = static_cast<std::size_t>(std::count_if(
        sessions_.begin(), sessions_.end(), [uid](const Session& one) { return one.uid == uid; }));
    return finds_place(uid, own, sessions_.size(), options_.max_connections);
}

asio::awaitable<void> SubmissionSocket::serve(std::list<Session>::iterator session) {
    struct Leave {
        std::list<Session>& sessions;
        std::list<Session>::iterator session;
        ~Leave() { sessions.erase(session); }
    };
    const Leave leave{sessions_, session};
    const Deadline deadline = around_.clock.steady() + options_.socket_timeout;
    ucred who{};
    socklen_t size = sizeof who;
    const bool known =
        ::getsockopt(session->stream.native_handle(), SOL_SOCKET, SO_PEERCRED, &who, &size) == 0;
    if (!known || !has_slot(who.uid)) {
        // Hanging up without a word sends the submitter to the maildrop.
        Event(around_.log, Level::warning, "submission-socket")
            .kv("uid", known ? std::to_string(who.uid) : "unknown")
            .reason("too many submissions at once: one was sent to the maildrop")
            .limited(known ? std::to_string(who.uid) : "unknown");
        co_return;
    }
    session->uid = who.uid;
    const auto answer = co_await take(*session, deadline);
    if (!answer) co_return;
    if (answer->kind != Answer::Kind::ok && !session->limited)
        Event(around_.log, answer->kind == Answer::Kind::permanent ? Level::info : Level::warning, "reject")
            .kv("uid", session->uid)
            .kv("via", "socket")
            .reason(answer->text)
            .limited(std::to_string(session->uid), most_refusals_a_minute);
    // Who does not wait for the answer asks again with the same id.
    const std::string line = answer->line();
    auto sending = asio::async_write(session->stream, asio::buffer(line), asio::deferred);
    co_await until(deadline, std::move(sending));
}

asio::awaitable<std::optional<Answer>> SubmissionSocket::take(Session& session, Deadline deadline) {
    RecordIntake intake(options_, around_.store, session.uid, around_.ids.next(), around_.clock.wall());
    std::vector<char> chunk(65536);
    while (!intake.complete()) {
        if (draining_) co_return std::nullopt;
        session.reading = true;
        auto reading = session.stream.async_read_some(asio::buffer(chunk), asio::deferred);
        const auto got = co_await until(deadline, std::move(reading));
        session.reading = false;
        if (!got && draining_) continue;
        if (!got && got.error().code == util::Errc::timed_out)
            co_return answer_of(Error<Errc>{Errc::incomplete, "the submission took too long"});
        if (!got) break;
        if (auto fed = intake.feed(std::string_view(chunk.data(), *got)); !fed)
            co_return answer_of(fed.error());
    }
    auto message = intake.finish();
    if (!message) co_return answer_of(message.error());
    if (auto may = around_.begin(session.uid, intake.login()); !may) {
        session.limited = true;
        co_return answer_of(may.error());
    }
    const store::MessageId id = message->id;
    const Accepted accepted = co_await around_.accept(std::move(*message), intake, "socket");
    co_return answer_of(accepted, id);
}

asio::awaitable<void> SubmissionSocket::drain(Deadline deadline) {
    draining_ = true;
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    ::unlink(options_.socket_path.c_str());
    for (auto& session : sessions_)
        if (session.reading) session.stream.cancel(ignored);
    asio::steady_timer timer(context_);
    while (!sessions_.empty() && around_.clock.steady() < deadline) {
        timer.expires_after(std::chrono::milliseconds(5));
        co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    }
    tasks_.cancel();
    co_await tasks_.join();
}

}  // namespace sternpost::local
