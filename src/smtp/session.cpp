#include "smtp/session.h"

#include <boost/asio/deferred.hpp>

#include "smtp/dotstuff.h"
#include "smtp/opening.h"
#include "util/deadline.h"
#include "util/free_memory.h"
#include "util/text.h"

namespace sternpost::smtp {
namespace {

constexpr std::size_t body_piece = 128UL * 1024;  // ours: how much of a message is in memory while it is sent

constexpr std::uint64_t octets_in_time = 32UL << 20U;  // ours: of a message, in ClientTimeouts::whole

asio::ip::address to_asio(const dns::Address& address) {
    return asio::ip::make_address(address.text());
}

Errc to_smtp(util::Errc code) {
    switch (code) {
        case util::Errc::timed_out:
            return Errc::timed_out;
        case util::Errc::closed:
            return Errc::closed;
        case util::Errc::io:
        case util::Errc::not_found:
        case util::Errc::exists:
        case util::Errc::busy:
        case util::Errc::too_big:
        case util::Errc::malformed:
            return Errc::io;
    }
    return Errc::io;
}

Errc connect_errc(const boost::system::error_code& ec) {
    if (ec == boost::system::errc::network_unreachable || ec == boost::system::errc::address_not_available ||
        ec == boost::system::errc::network_down || ec == boost::system::errc::address_family_not_supported)
        return Errc::network_unreachable;
    return Errc::connect_refused;
}

std::string connect_text(const boost::system::error_code& ec) {
    return connect_errc(ec) == Errc::network_unreachable
               ? "the network cannot be reached from here: " + ec.message()
               : ec.message();
}

Failure connect_failure(Errc code, std::string text) {
    Failure out;
    out.stage = Stage::connect;
    out.code = code;
    out.text = std::move(text);
    return out;
}

}  // namespace

Session::Session(asio::any_io_executor executor, Target target)
    : target_(std::move(target)), stream_(asio::ip::tcp::socket(std::move(executor))) {}

Deadline Session::after(Stage stage) const {
    const Deadline own = std::chrono::steady_clock::now() + target_.timeouts.of(stage);
    return stage == Stage::quit ? own : std::min(own, end_);
}

std::string Session::told(sternpost::Error<util::Errc> error) const {
    if (error.code != util::Errc::timed_out || std::chrono::steady_clock::now() < end_)
        return std::move(error.text);
    return "each step was in time, but all together took longer than delivery.transaction_timeout allows";
}

asio::awaitable<Result<Reply>> Session::read_reply(Deadline deadline) {
    for (;;) {
        auto parsed = parser_.next();
        if (!parsed) co_return fail(std::move(parsed).error());
        if (parsed->has_value()) {
            for (std::size_t i = 0; i < (*parsed)->lines.size(); ++i)
                dialogue_.received(std::to_string((*parsed)->code) +
                                   (i + 1 < (*parsed)->lines.size() ? "-" : " ") + (*parsed)->lines[i]);
            co_return std::move(**parsed);
        }
        auto got = co_await stream_.read_some(chunk_, deadline);
        if (!got) co_return fail(to_smtp(got.error().code), told(std::move(got.error())));
        parser_.feed(std::string_view(chunk_.data(), *got));
    }
}

// Sends one command and reads its whole reply. One deadline spans both, so a server cannot hold us by an
// octet at a time.
asio::awaitable<Result<Reply>> Session::command(std::string line, Stage stage) {
    const Deadline deadline = after(stage);
    line += "\r\n";
    dialogue_.sent(line);
    auto sent = co_await stream_.write(line, deadline);
    if (!sent) co_return fail(to_smtp(sent.error().code), told(std::move(sent.error())));
    co_return co_await read_reply(deadline);
}

asio::awaitable<tl::unexpected<Failure>> Session::give_up(Failure failure, bool say_quit) {
    failure.dialogue = dialogue_.text();
    failure.helo = offered_.greeting_name;
    if (proof_.encrypted) failure.evidence = proof_;
    boost::system::error_code ec;
    const auto local = stream_.socket().local_endpoint(ec);
    if (!ec) failure.local_address = local.address().to_string();
    reusable_ = say_quit;
    co_await quit();
    co_return tl::unexpected<Failure>(std::move(failure));
}

// Nothing: there is a connection.
asio::awaitable<std::optional<Failure>> Session::connect() {
    auto& socket = stream_.socket();
    boost::system::error_code ec;
    const asio::ip::tcp::endpoint peer(to_asio(target_.address), target_.port);
    socket.open(peer.protocol(), ec);
    if (!ec) socket.set_option(asio::ip::tcp::no_delay(true), ec);
    if (!ec && target_.source) {
        socket.bind(asio::ip::tcp::endpoint(to_asio(*target_.source), 0), ec);
        if (ec) {
            std::string text = "the source address " + target_.source->text() +
                               " cannot be used here: " + ec.message() + "; the option " +
                               (target_.source->is_v6() ? "source_ipv6" : "source_ipv4") + " names it";
            co_return connect_failure(Errc::source_unusable, std::move(text));
        }
    }
    if (ec) co_return connect_failure(connect_errc(ec), connect_text(ec));
    asio::steady_timer timer(socket.get_executor(), after(Stage::connect));
    auto race = asio::experimental::make_parallel_group(socket.async_connect(peer, asio::deferred),
                                                        timer.async_wait(asio::deferred));
    const auto [order, error, timer_error] =
        co_await race.async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
    if (order[0] == 1 && !timer_error)
        co_return connect_failure(Errc::connect_timed_out, "no answer to the connection attempt");
    if (error) co_return connect_failure(connect_errc(error), connect_text(error));
    co_return std::nullopt;
}

// RFC 5321 §4.1.4: without a name of our own, the address we call from.
std::string Session::hello_name() {
    if (!target_.helo_name.empty()) return target_.helo_name;
    boost::system::error_code ec;
    const auto local = stream_.socket().local_endpoint(ec);
    const auto address = dns::Address::parse(local.address().to_string());
    return address ? address->literal() : "[127.0.0.1]";
}

asio::awaitable<void> Session::shake_hands(Opening& opening) {
    auto context = target_.tls == TlsUse::required ? target_.contexts.strict : target_.contexts.opportunistic;
    std::optional<dns::Domain> name;
    if (target_.host) name = target_.host->name();
    auto done = co_await stream_.handshake(std::move(context), std::move(name), target_.dane, target_.ticket,
                                           after(Stage::handshake));
    if (!done) {
        const Errc code =
            done.error().code == util::Errc::timed_out ? Errc::timed_out : Errc::handshake_failed;
        std::string text = told(std::move(done.error()));
        dialogue_.note("TLS handshake: " + text);
        opening.on_failure(code, std::move(text));
        co_return;
    }
    proof_ = stream_.evidence();
    dialogue_.note(proof_.version + ", " + proof_.cipher + (proof_.resumed ? ", resumed" : "") +
                   ", certificate " + proof_.fingerprint.substr(0, 16) + "…");
    opening.on_tls();
}

asio::awaitable<tl::expected<Opened, Failure>> Session::open() {
    end_ = std::chrono::steady_clock::now() + target_.timeouts.whole;
    if (auto failed = co_await connect()) co_return co_await give_up(std::move(*failed), false);
    Opening opening(target_.tls, hello_name(), target_.helo_name);
    for (auto action = opening.next(); !std::holds_alternative<Opening::Ready>(action);
         action = opening.next()) {
        offered_ = opening.offered();
        if (auto* over = std::get_if<Opening::GiveUp>(&action))
            co_return co_await give_up(std::move(over->failure), over->polite);
        if (std::holds_alternative<Opening::Handshake>(action)) {
            co_await shake_hands(opening);
            continue;
        }
        auto* ask = std::get_if<Opening::Ask>(&action);
        Result<Reply> reply = fail(Errc::io, "");
        if (ask == nullptr)
            reply = co_await read_reply(after(Stage::greeting));
        else
            reply = co_await command(std::move(ask->line), ask->stage);
        if (reply)
            opening.on_reply(std::move(*reply), !parser_.empty());
        else
            opening.on_failure(reply.error().code, std::move(reply.error().text));
    }
    offered_ = opening.offered();
    reusable_ = true;
    end_ = Deadline::max();
    Opened opened;
    opened.offered = offered_;
    opened.evidence = proof_;
    opened.dialogue = dialogue_.text();
    opened.tickets = stream_.take_tickets();
    opened.starttls_refusal = opening.starttls_refusal();
    boost::system::error_code ec;
    const auto local = stream_.socket().local_endpoint(ec);
    if (!ec) opened.local_address = local.address().to_string();
    co_return opened;
}

// The message and its final dot. Nothing: it is all on its way. A failure is told to the transaction by the
// caller.
asio::awaitable<std::optional<Failure>> Session::send_message(const Message& message,
                                                              Transaction& transaction) {
    DotStuffer stuffer;
    std::uint64_t offset = 0;
    for (bool last = false; !last;) {
        auto piece = co_await message.read(offset, body_piece);
        if (!piece) {
            // The dot never goes out, so the host cannot take the half for the whole; the session is given
            // up.
            co_return Failure{Stage::body, piece.error().code, std::move(piece.error().text), std::nullopt};
        }
        offset += piece->size();
        last = offset >= message.size || piece->empty();
        std::string wire = stuffer.stuff(*piece);
        if (last) wire += stuffer.end();
        free_memory(*piece);
        auto put = co_await stream_.write(wire, after(Stage::body));
        if (put) continue;
        const Errc code = to_smtp(put.error().code);
        if (code != Errc::timed_out) {
            // Hosts that refuse a message half-way say so and hang up: that reply is worth more than a broken
            // pipe.
            auto reply = co_await read_reply(std::chrono::steady_clock::now() + std::chrono::seconds(1));
            if (reply && !reply->positive()) {
                transaction.on_reply(*reply);
                co_return Failure{Stage::quit, code, {}, std::nullopt};
            }
        }
        co_return Failure{last ? Stage::dot : Stage::body, code, told(std::move(put.error())), std::nullopt};
    }
    co_return std::nullopt;
}

asio::awaitable<std::vector<RecipientOutcome>> Session::transact(mail::Envelope envelope,
                                                                 std::vector<mail::Recipient> recipients,
                                                                 Message message) {
    Transaction transaction(envelope, std::move(recipients), message.size, message.eight_bit, offered_);
    end_ = std::chrono::steady_clock::now() +
           target_.timeouts.whole * static_cast<std::int64_t>(1 + (message.size / octets_in_time));
    for (;;) {
        auto action = transaction.next();
        if (auto* send = std::get_if<Transaction::Send>(&action)) {
            dialogue_.sent(send->octets);
            auto put = co_await stream_.write(send->octets, after(Stage::mail));
            if (!put) transaction.on_failure(to_smtp(put.error().code), told(std::move(put.error())));
        } else if (auto* wait = std::get_if<Transaction::Await>(&action)) {
            auto reply = co_await read_reply(after(wait->stage));
            if (reply)
                transaction.on_reply(*reply);
            else
                transaction.on_failure(reply.error().code, std::move(reply.error().text));
        } else if (std::holds_alternative<Transaction::SendMessage>(action)) {
            in_data_ = true;
            if (auto failed = co_await send_message(message, transaction))
                transaction.on_failure(failed->code, std::move(failed->text), failed->stage);
            else  // the host may have taken it: to hang up on it now would deliver twice
                end_ = Deadline::max();
        } else {
            in_data_ = false;
            end_ = Deadline::max();
            reusable_ = std::get<Transaction::Finished>(action).reusable;
            co_return transaction.outcomes();
        }
    }
}

void Session::abort() {
    if (in_data_) return;
    boost::system::error_code ignored;
    reusable_ = false;
    stream_.socket().close(ignored);
}

asio::awaitable<void> Session::quit() {
    if (reusable_ && stream_.socket().is_open()) (void)co_await command("QUIT", Stage::quit);
    reusable_ = false;
    co_await stream_.close(after(Stage::quit));
}

}  // namespace sternpost::smtp
