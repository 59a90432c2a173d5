#include "smtp/listener.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cassert>
#include <optional>

#include "intake/accept.h"
#include "tls/stream.h"
#include "util/call.h"

namespace sternpost::smtp {
namespace {

using asio::ip::tcp;
using Accepted = store::Result<store::MessageId>;
using Refused = std::optional<intake::SenderLimits::Refusal>;

// What one read takes: a thousand idle sessions should not cost megabytes, a large message not a thousand
// reads.
constexpr std::size_t small_chunk = 8192;
constexpr std::size_t large_chunk = 65536;
// Ours: how long accepting must work again before the log says so, and after how long without trouble the
// next trouble is logged as new.
constexpr auto over_after = std::chrono::seconds(1);
constexpr auto forgotten_after = std::chrono::minutes(1);
constexpr std::uint64_t most_rejects_a_minute = 60;  // ours: lines about one client's refused commands

dns::Address address_of(const tcp::endpoint& endpoint) {
    const auto address = endpoint.address();
    return address.is_v4() ? dns::Address::v4(address.to_v4().to_bytes())
                           : dns::Address::v6(address.to_v6().to_bytes());
}

// Whom the client may write as: only who originates mail is held to it.
const mail::SenderDomains::Rule* domains_of(const ServerOptions& options, const dns::Address& client) {
    return role_of(options, client) == ClientRole::originate ? options.sender_domains.of_client(client)
                                                             : nullptr;
}

}  // namespace

// ---- one session

class Listener::Session {
  public:
    Session(Worker& worker, tcp::socket socket, const dns::Address& client,
            std::shared_ptr<asio::ssl::context> context);

    asio::awaitable<void> run();
    void stop();  // the daemon stops

  private:
    enum class Step { go_on, end };

    asio::awaitable<Step> perform(Action action);
    asio::awaitable<Step> send();
    asio::awaitable<Step> receive();
    asio::awaitable<Step> start_tls();
    asio::awaitable<void> ask_transaction(std::uint64_t size);
    asio::awaitable<void> ask_next_hop(dns::Domain domain);
    asio::awaitable<void> accept(store::NewMessage message);
    void log_accept(const intake::Summary& message);
    void write_body(std::string_view octets);
    void shorten_lines();
    void renew_deadline();
    /// An event that this client can cause as often as it likes: what strangers do is one line a minute for
    /// all of them.
    Event& others_event(Event& event, std::string_view stage) const;

    Worker& worker_;
    Listener& listener_;
    std::shared_ptr<const ServerOptions> options_;
    tls::Stream stream_;
    std::shared_ptr<asio::ssl::context> context_;  // for STARTTLS; null: not offered
    dns::Address client_;
    const std::optional<ClientRole> role_;
    const intake::Sender sender_;
    Server server_;
    std::unique_ptr<store::BodySink> sink_;
    std::vector<char> chunk_;
    const Deadline session_end_;  // of a stranger
    Deadline deadline_;
    std::size_t since_renewed_ = 0;
    std::size_t messages_ = 0;
    bool reading_ = false;
    bool stopping_ = false;
};

// ---- one thread's sessions

class Listener::Worker {
  public:
    Worker(Listener& owner, IoThread on)
        : listener(owner), thread(on), task_queue(on.context), tasks(on.context, owner.log_) {}

    // The methods run on the worker's thread.
    void begin(tcp::socket socket, const dns::Address& client, std::shared_ptr<asio::ssl::context> context) {
        sessions.emplace_front(*this, std::move(socket), client, std::move(context));
        if (stopping) sessions.front().stop();
        tasks.spawn("smtp session", serve(sessions.begin()));
    }
    asio::awaitable<void> serve(std::list<Session>::iterator session);
    void stop();
    asio::awaitable<void> drain(Deadline deadline);

    Listener& listener;
    IoThread thread;
    AsioTaskQueue task_queue;
    std::list<Session> sessions;
    bool stopping = false;
    TaskGroup tasks;
};

asio::awaitable<void> Listener::Worker::serve(std::list<Session>::iterator session) {
    struct Leave {
        Worker& worker;
        std::list<Session>::iterator session;
        ~Leave() { worker.sessions.erase(session); }
    };
    const Leave leave{*this, session};
    co_await session->run();
}

void Listener::Worker::stop() {
    stopping = true;
    for (auto& session : sessions) session.stop();
}

asio::awaitable<void> Listener::Worker::drain(Deadline deadline) {
    asio::steady_timer timer(thread.context);
    while (!sessions.empty() && listener.clock_.steady() < deadline) {
        timer.expires_after(std::chrono::milliseconds(5));
        co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    }
    tasks.cancel();
    co_await tasks.join();
}

// ---- Session

Listener::Session::Session(Worker& worker, tcp::socket socket, const dns::Address& client,
                           std::shared_ptr<asio::ssl::context> context)
    : worker_(worker),
      listener_(worker.listener),
      options_(worker.listener.options_),
      stream_(std::move(socket)),
      context_(std::move(context)),
      client_(client),
      role_(role_of(*options_, client)),
      sender_(listener_.sender_limits_.client(client)),
      server_(*options_, Client{client, role_, context_ != nullptr, domains_of(*options_, client)}),
      chunk_(small_chunk),
      session_end_(role_ ? Deadline::max() : listener_.clock_.steady() + options_->stranger_time) {}

Event& Listener::Session::others_event(Event& event, std::string_view stage) const {
    if (!role_) return event.limited(fmt::format("strangers at {}", stage));
    return event.limited(fmt::format("{} at {}", sender_.name, stage), most_rejects_a_minute);
}

void Listener::Session::stop() {
    stopping_ = true;
    boost::system::error_code ignored;
    if (reading_) stream_.socket().cancel(ignored);
}

void Listener::Session::renew_deadline() {
    deadline_ = std::min(session_end_, listener_.clock_.steady() + options_->command_timeout);
    since_renewed_ = 0;
}

asio::awaitable<void> Listener::Session::run() {
    struct Leave {
        Listener& listener;
        const Worker& worker;
        dns::Address client;
        ~Leave() {
            auto gone = [l = &listener, c = client] { l->limits_.disconnect(c, l->group_of(c)); };
            listener.at_home(worker, std::move(gone));
        }
    };
    const Leave leave{listener_, worker_, client_};
    boost::system::error_code ignored;
    stream_.socket().set_option(tcp::no_delay(true), ignored);
    renew_deadline();
    Event(listener_.log_, Level::debug, "connect").kv("client", client_.text());
    for (;;) {
        Action action = server_.next();
        const Step step = co_await perform(std::move(action));
        if (step == Step::end) break;
    }
    Event(listener_.log_, Level::debug, "disconnect").kv("client", client_.text()).kv("messages", messages_);
    co_await stream_.close(listener_.clock_.steady() + std::chrono::seconds(1));
}

asio::awaitable<Listener::Session::Step> Listener::Session::perform(Action action) {
    if (std::holds_alternative<action::NeedInput>(action)) {
        const Step sent = co_await send();
        if (sent == Step::end) co_return sent;
        const Step received = co_await receive();
        co_return received;
    }
    if (std::holds_alternative<action::SendOutput>(action)) {
        const Step sent = co_await send();
        co_return sent;
    }
    if (std::holds_alternative<action::Close>(action)) {
        co_await send();
        co_return Step::end;
    }
    if (auto* write = std::get_if<action::WriteBody>(&action)) {
        write_body(write->octets);
    } else if (auto* ask = std::get_if<action::AskNextHop>(&action)) {
        co_await ask_next_hop(std::move(ask->domain));
    } else if (std::holds_alternative<action::StartTls>(action)) {
        const Step started = co_await start_tls();
        co_return started;
    } else if (auto* mail = std::get_if<action::AskTransaction>(&action)) {
        co_await ask_transaction(mail->size);
    } else if (std::holds_alternative<action::BeginBody>(action)) {
        sink_ = listener_.store_.new_body(options_->max_message_size + intake::room_for_fields);
        server_.begin_body(worker_.thread.ids.next(), listener_.clock_.wall());
    } else if (std::holds_alternative<action::ShortenLines>(action)) {
        shorten_lines();
    } else if (auto* accepting = std::get_if<action::AcceptMessage>(&action)) {
        co_await accept(std::move(accepting->message));
    } else if (std::holds_alternative<action::DropBody>(action)) {
        sink_.reset();
    } else if (auto* rejected = std::get_if<action::Rejected>(&action)) {
        Event event(listener_.log_, Level::info, "reject");
        event.kv("client", client_.text()).kv("at", rejected->stage).address("from", rejected->reverse_path);
        if (!rejected->recipient.empty()) event.address("to", rejected->recipient);
        event.kv("reply", rejected->reply);
        others_event(event, rejected->stage);
    }
    co_return Step::go_on;
}

asio::awaitable<Listener::Session::Step> Listener::Session::send() {
    const std::string out = server_.output();
    if (out.empty()) co_return Step::go_on;
    renew_deadline();
    const auto sent = co_await stream_.write(out, deadline_);
    co_return sent ? Step::go_on : Step::end;
}

asio::awaitable<Listener::Session::Step> Listener::Session::start_tls() {
    if (context_ == nullptr || stopping_) {
        server_.refuse_tls();
        co_return Step::go_on;
    }
    server_.begin_tls();
    const Step sent = co_await send();
    if (sent == Step::end) co_return sent;
    reading_ = true;  // a stop need not wait for the client
    const auto done = co_await stream_.accept_tls(
        context_, std::min(session_end_, listener_.clock_.steady() + options_->handshake_timeout));
    reading_ = false;
    if (!done) {
        Event event(listener_.log_, Level::info, "reject");
        event.kv("client", client_.text())
            .kv("at", "handshake")
            .reason("the TLS handshake failed: " + done.error().text);
        others_event(event, "handshake");
        co_return Step::end;
    }
    TlsSession session;
    session.version = stream_.version();
    session.cipher = stream_.cipher();
    Event(listener_.log_, Level::debug, "starttls")
        .kv("client", client_.text())
        .kv("tls", session.version)
        .kv("cipher", session.cipher);
    server_.tls_started(std::move(session));
    renew_deadline();
    co_return Step::go_on;
}

// Before a read the output has been sent. The deadline is for the whole command, and for each 64 KiB of mail
// data, so that no one holds a session by an octet now and then.
asio::awaitable<Listener::Session::Step> Listener::Session::receive() {
    if (stopping_) {
        server_.shut_down();
        co_return Step::go_on;
    }
    // What a message needed is not kept while the client may be silent.
    if (!server_.in_data() && chunk_.size() > small_chunk) chunk_ = std::vector<char>(small_chunk);
    reading_ = true;
    const auto got = co_await stream_.read_some(chunk_, deadline_);
    reading_ = false;
    if (!got && stopping_) {
        server_.shut_down();
        co_return Step::go_on;
    }
    if (!got && got.error().code == util::Errc::timed_out) {
        server_.time_out();
        co_return Step::go_on;
    }
    if (!got) co_return Step::end;
    since_renewed_ += *got;
    if (server_.in_data() && since_renewed_ >= large_chunk) renew_deadline();
    server_.feed(std::string_view(chunk_.data(), *got));
    if (server_.in_data() && *got == chunk_.size() && chunk_.size() < large_chunk)
        chunk_ = std::vector<char>(chunk_.size() * 2);
    co_return Step::go_on;
}

void Listener::Session::write_body(std::string_view octets) {
    server_.written(sink_->write(octets));
}

// On this thread, so that no more messages are in memory for it than there are threads.
void Listener::Session::shorten_lines() {
    server_.shortened(intake::encode_long_lines(listener_.store_, sink_, server_.text()));
}

asio::awaitable<void> Listener::Session::ask_transaction(std::uint64_t size) {
    if (listener_.has_room_ && !listener_.has_room_(size)) {
        const bool any = listener_.has_room_(0);
        server_.transaction(any ? TransactionVerdict::does_not_fit : TransactionVerdict::no_space);
        co_return;
    }
    if (sender_.limit.none()) {
        server_.transaction(TransactionVerdict::go);
        co_return;
    }
    auto start = [this](sternpost::Completion<Refused> reply) {
        auto ask = [this, answer = std::move(reply)]() mutable {
            answer(listener_.sender_limits_.message(sender_, listener_.clock_.steady()));
        };
        listener_.at_home(worker_, std::move(ask));
    };
    const Refused refused = co_await call<Refused>(std::move(start));
    if (refused)
        intake::tell_limit(listener_.log_, listener_.on_limit_, {"client", client_.text()}, sender_,
                           *refused);
    server_.transaction(refused ? TransactionVerdict::too_many : TransactionVerdict::go,
                        refused ? refused->why : "");
}

asio::awaitable<void> Listener::Session::ask_next_hop(dns::Domain domain) {
    auto start = [this, name = std::move(domain)](sternpost::Completion<NextHopKnowledge> reply) mutable {
        listener_.ask_next_hop_(std::move(name), std::move(reply));
    };
    const auto knowledge = co_await call<NextHopKnowledge>(std::move(start));
    server_.next_hop(knowledge);
}

void Listener::Session::log_accept(const intake::Summary& message) {
    intake::log_accept(listener_.log_, message, server_.text(),
                       {{"client", client_.text()},
                        {"helo", server_.helo()},
                        {"tls", server_.tls() ? server_.tls()->version : "none"}});
}

asio::awaitable<void> Listener::Session::accept(store::NewMessage message) {
    auto body = sink_->finish();
    sink_.reset();
    if (!body) {
        server_.accepted(fail(std::move(body).error()));
        co_return;
    }
    message.body = std::move(*body);
    const auto summary = intake::Summary::of(message);
    auto start = [this, given = std::move(message)](sternpost::Completion<Accepted> reply) mutable {
        listener_.store_.accept(std::move(given), std::move(reply));
    };
    const Accepted accepted = co_await call<Accepted>(std::move(start));
    if (accepted) {
        ++messages_;
        if (sender_.limit.recipients_per_hour > 0) {
            // The session may be gone by then, the listener not.
            auto count = [l = &listener_, sender = sender_, recipients = summary.recipients] {
                l->sender_limits_.accepted(sender, recipients, l->clock_.steady());
            };
            listener_.at_home(worker_, std::move(count));
        }
        log_accept(summary);
    }
    server_.accepted(accepted);
}

// ---- Listener

Listener::Listener(std::vector<IoThread> threads, ServerOptions options, AskNextHop ask_next_hop,
                   store::Store& store, const Clock& clock, Log& log)
    : options_(std::make_shared<const ServerOptions>(std::move(options))),
      ask_next_hop_(std::move(ask_next_hop)),
      store_(store),
      clock_(clock),
      log_(log),
      home_(threads.at(0).context),
      home_task_queue_(home_),
      limits_(options_->connections),
      sender_limits_(options_->sender_limit, options_->sender_rules),
      tasks_(home_, log) {
    for (const auto& thread : threads) workers_.push_back(std::make_unique<Worker>(*this, thread));
}

Listener::~Listener() = default;

bool Listener::is_home(const Worker& worker) const {
    return &worker.thread.context == &home_;
}

// From the worker's thread.
void Listener::at_home(const Worker& worker, Task task) {
    if (is_home(worker)) return task();
    home_task_queue_.post(std::move(task));
}

Expected<util::Fd, ListenErrc> bind_listener(const dns::Address& address, std::uint16_t port) {
    boost::system::error_code ec;
    const tcp::endpoint endpoint(asio::ip::make_address(address.text()), port);
    asio::io_context unused;
    tcp::acceptor acceptor(unused);
    acceptor.open(endpoint.protocol(), ec);
    if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec && address.is_v6()) acceptor.set_option(asio::ip::v6_only(true), ec);
    if (!ec) acceptor.bind(endpoint, ec);
    if (ec)
        return fail(ListenErrc::cannot_bind,
                    fmt::format("cannot listen on {} port {}: {}", address.text(), port, ec.message()));
    return util::Fd(acceptor.release());
}

Expected<void, ListenErrc> Listener::adopt(util::Fd bound, bool v6) {
    boost::system::error_code ec;
    tcp::acceptor acceptor(home_);
    acceptor.assign(v6 ? tcp::v6() : tcp::v4(), bound.get(), ec);
    if (!ec) bound.release();
    if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
    if (ec) return fail(ListenErrc::cannot_bind, "cannot listen: " + ec.message());
    acceptors_.push_back(std::move(acceptor));
    return {};
}

Expected<void, ListenErrc> Listener::bind(const dns::Address& address, std::uint16_t port) {
    auto bound = bind_listener(address, port);
    if (!bound) return fail(std::move(bound).error());
    return adopt(std::move(*bound), address.is_v6());
}

std::uint16_t Listener::port() const {
    return acceptors_.back().local_endpoint().port();
}

void Listener::start() {
    for (auto& acceptor : acceptors_) tasks_.spawn("smtp listener", accept_all(acceptor));
}

asio::awaitable<void> Listener::accept_all(tcp::acceptor& acceptor) {
    std::optional<SteadyTime> failed;  // last, until it is said to be over
    for (;;) {
        Worker& worker = *workers_[next_worker_++ % workers_.size()];
        tcp::socket socket(worker.thread.context);
        tcp::endpoint peer;
        const auto [ec] = co_await acceptor.async_accept(socket, peer, asio::as_tuple(asio::use_awaitable));
        if (draining_ || ec == asio::error::operation_aborted) co_return;
        if (ec == asio::error::connection_aborted) continue;
        if (ec) {  // no descriptors left, as a rule: some will be closed
            const SteadyTime now = clock_.steady();
            if (!failed || now - *failed > forgotten_after)
                Event(log_, Level::error, "smtp-listener")
                    .reason("cannot accept connections: " + ec.message() +
                            "; they wait, and it is tried ten times a second");
            failed = now;
            asio::steady_timer pause(home_, std::chrono::milliseconds(100));
            co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
            continue;
        }
        // A connection that ends lets one in: that is not the end of it yet.
        if (failed && clock_.steady() - *failed > over_after) {
            Event(log_, Level::info, "smtp-listener").reason("accepts connections again");
            failed.reset();
        }
        const dns::Address client = address_of(peer);
        const auto verdict = limits_.connect(client, group_of(client));
        if (verdict != ClientLimits::Verdict::go) {
            refuse(std::move(socket), client, verdict);
            continue;
        }
        if (is_home(worker)) {
            worker.begin(std::move(socket), client, tls_);
            continue;
        }
        auto begin = [&worker, client, given = std::move(socket), context = tls_]() mutable {
            worker.begin(std::move(given), client, std::move(context));
        };
        worker.task_queue.post(std::move(begin));
    }
}

ClientLimits::Group Listener::group_of(const dns::Address& client) const {
    if (client.is_loopback()) return ClientLimits::Group::this_machine;
    return role_of(*options_, client) ? ClientLimits::Group::permitted : ClientLimits::Group::stranger;
}

void Listener::refuse(tcp::socket socket, dns::Address client, ClientLimits::Verdict verdict) {
    const std::string text =
        verdict == ClientLimits::Verdict::no_strangers
            ? fmt::format("554 5.7.1 {} takes no mail from {}", options_->hostname, client.text())
            : fmt::format("421 4.7.0 {} too many connections{}, try again later", options_->hostname,
                          verdict == ClientLimits::Verdict::too_many ? "" : " from " + client.text());
    const bool stranger = group_of(client) == ClientLimits::Group::stranger;
    Event(log_, stranger ? Level::info : Level::warning, "reject")
        .kv("client", client.text())
        .kv("at", "connect")
        .kv("reply", text)
        .limited(stranger ? "strangers at connect" : sender_limits_.client(client).name + " at connect");
    // A connection over the limit costs one short write, which the kernel's buffer takes at once.
    boost::system::error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(asio::buffer(text + "\r\n"), ignored);
}

asio::awaitable<void> Listener::drain(Deadline deadline) {
    draining_ = true;
    boost::system::error_code ignored;
    for (auto& acceptor : acceptors_) acceptor.close(ignored);
    co_await tasks_.join();
    for (auto& worker : workers_)
        worker->task_queue.post([w = worker.get()] { w->stop(); });  // all at once; then wait for each
    for (auto& worker : workers_) {
        Worker* const w = worker.get();
        auto start = [w, deadline](sternpost::Completion<bool> reply) {
            auto run = [w, deadline, answer = std::move(reply)]() mutable {
                auto done = [answer = std::move(answer)](const std::exception_ptr&) mutable { answer(true); };
                asio::co_spawn(w->thread.context, w->drain(deadline), std::move(done));
            };
            w->task_queue.post(std::move(run));
        };
        co_await call<bool>(std::move(start));
    }
    // the sessions' last words to limits_ are in our task queue by now
    co_await asio::post(home_, asio::use_awaitable);
}

}  // namespace sternpost::smtp
