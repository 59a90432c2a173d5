// bench-source: hands messages to one SMTP server as fast as it takes them, or at a rate, and says what that
// was like. One thread; each connection is a small state machine.
#include <fcntl.h>
#include <netinet/tcp.h>

#include <csignal>
#include <deque>
#include <map>
#include <memory>

#include "wire.h"

namespace sternpost::bench {
namespace {

const char* const usage =
    "usage: bench-source --target ADDRESS:PORT [OPTION...]\n"
    "  --connections N      at once (20)\n"
    "  --messages N         in all (10000)\n"
    "  --size N             octets of a message, header included (4096)\n"
    "  --tls                STARTTLS, the certificate is not looked at\n"
    "  --rate N             messages a second over all connections; 0: as fast as it goes (0)\n"
    "  --domains N          recipients in d0.bench.test to dN-1.bench.test in turn; 0: in bench.test (0)\n"
    "  --per-connection N   messages, then QUIT and a new connection; 0: no end (0)\n"
    "  --pipelining WHICH   where offered: none; commands: MAIL, RCPT and DATA at once; full: the next "
    "message's\n"
    "                       commands with the final dot, too (commands)\n"
    "  --first-id N         the number of the first message (0)\n"
    "  --stall SECONDS      give up when nothing is answered for so long (60)\n"
    "Every message has a line X-Bench with its number and the time at which it was due. When all are "
    "answered, JSON on\n"
    "standard output: times in milliseconds; accept is from the final dot to its reply. Exit 0: all were "
    "taken.\n";

enum class Pipelining { none, commands, full };

struct Settings {
    sockaddr_in target{};
    std::uint64_t connections = 20;
    std::uint64_t messages = 10000;
    std::uint64_t size = 4096;
    bool tls = false;
    std::uint64_t rate = 0;
    std::uint64_t domains = 0;
    std::uint64_t per_connection = 0;
    Pipelining pipelining = Pipelining::commands;
    std::uint64_t first_id = 0;
    std::uint64_t stall = 60;
};

/// Hands out the messages' numbers and due times, and counts what became of them.
class Campaign {
  public:
    Campaign(const Settings& settings, std::uint64_t start) : settings_(settings), start_(start) {}

    struct Message {
        std::uint64_t id = 0;
        std::uint64_t due = 0;
    };
    /// When the next message is due, in ns; 0: there is none left.
    std::uint64_t next_due() const {
        if (given_ == settings_.messages) return 0;
        if (settings_.rate == 0) return start_;
        return start_ + given_ * 1'000'000'000U / settings_.rate;
    }
    /// To be called when next_due() has come. Without a rate a message is due when a connection is free for
    /// it.
    Message take(std::uint64_t now) {
        const Message message{settings_.first_id + given_, settings_.rate == 0 ? now : next_due()};
        ++given_;
        return message;
    }
    void accepted(std::uint64_t dot_at, std::uint64_t now) {
        accept_.add(now - dot_at);
        ++accepted_;
        last_ = now;
    }
    /// code: the reply's, or 0 when the connection ended instead.
    void failed(const Message& message, int code) {
        ++failures_[code];
        not_accepted_.push_back(message.id);
    }
    void lost_connection() { ++lost_connections_; }
    void connected() { ++connects_; }
    bool done() const { return accepted_ + not_accepted_.size() == settings_.messages; }
    std::uint64_t answered() const { return accepted_ + not_accepted_.size(); }
    bool all_accepted() const { return accepted_ == settings_.messages; }

    void print() {
        const double seconds = static_cast<double>(last_ > start_ ? last_ - start_ : 0) / 1e9;
        std::string failures;
        for (const auto& [code, count] : failures_) {
            failures +=
                (failures.empty() ? "\"" : ",\"") + std::to_string(code) + "\":" + std::to_string(count);
        }
        std::string ids;
        for (const std::uint64_t id : not_accepted_) ids += (ids.empty() ? "" : ",") + std::to_string(id);
        std::printf(
            R"({"messages":%llu,"accepted":%llu,"seconds":%.4f,"rate":%.1f,"start_ns":%llu,"end_ns":%llu,)"
            R"("connects":%llu,"lost_connections":%llu,"accept_ms":%s,"failures":{%s},"not_accepted":[%s]})"
            "\n",
            ull(settings_.messages), ull(accepted_), seconds,
            seconds > 0 ? static_cast<double>(accepted_) / seconds : 0.0, ull(start_), ull(last_),
            ull(connects_), ull(lost_connections_), accept_.json().c_str(), failures.c_str(), ids.c_str());
    }

  private:
    static unsigned long long ull(std::uint64_t value) { return value; }

    const Settings& settings_;
    std::uint64_t start_;
    std::uint64_t last_ = 0;
    std::uint64_t given_ = 0;
    std::uint64_t accepted_ = 0;
    std::uint64_t connects_ = 0;
    std::uint64_t lost_connections_ = 0;
    Latencies accept_;
    std::map<int, std::uint64_t> failures_;
    std::vector<std::uint64_t> not_accepted_;
};

/// The message's octets, all but number and time the same for all.
class Letter {
  public:
    explicit Letter(std::uint64_t size) {
        text_ = std::string(id_field) + std::string(id_value_octets, '0') +
                "\r\n"
                "From: Bench <source@bench-source.test>\r\n"
                "To: <u@bench.test>\r\n"
                "Date: Tue, 01 Sep 2026 12:00:00 +0000\r\n"
                "Subject: one of many\r\n"
                "Message-ID: <";
        message_id_at_ = text_.size();
        text_ += std::string(16, '0') + "@bench-source.test>\r\n\r\n";
        static constexpr std::string_view line =
            "The quick brown fox jumps over the lazy dog, and then it does so again, ad libitum.\r\n";
        while (text_.size() + line.size() <= size) text_ += line;
        if (text_.size() + 2 <= size) text_ += std::string(size - text_.size() - 2, 'x') + "\r\n";
    }
    void append(std::string& out, const Campaign::Message& message) {
        char number[17];
        char time[21];
        std::snprintf(number, sizeof number, "%016llx", static_cast<unsigned long long>(message.id));
        std::snprintf(time, sizeof time, "%020llu", static_cast<unsigned long long>(message.due));
        text_.replace(id_field.size(), 16, number, 16);
        text_.replace(id_field.size() + 17, 20, time, 20);
        text_[id_field.size() + 16] = ' ';
        text_.replace(message_id_at_, 16, number, 16);
        out += text_;
        out += ".\r\n";
    }

  private:
    std::string text_;
    std::size_t message_id_at_ = 0;
};

class Connection {
  public:
    Connection(const Settings& settings, Campaign& campaign, Letter& letter, SSL_CTX* tls, int epoll)
        : settings_(settings), campaign_(campaign), letter_(letter), tls_(tls), epoll_(epoll) {
        open();
    }

    bool idle() const { return wire_ && state_ == State::ready && expected_.empty(); }

    /// Begins a message, which is due. Only while idle().
    void begin(std::uint64_t now) {
        commands(campaign_.take(now));
        flush();
    }

    void on_event() {
        if (!wire_) return;
        const Wire::Io io = wire_->read();
        if (digest() && io == Wire::Io::ok) {
            flush();
        } else {
            lost();
        }
    }

  private:
    enum class State { greeting, ehlo, starttls, ready, quitting };
    enum class Awaited { mail, rcpt, data, dot };
    struct Transaction {
        Campaign::Message message;
        bool dot_said = false;
        std::uint64_t dot_at = 0;  // when it left us; 0: not yet
        int refused = 0;           // the first reply that was no success
    };

    void open() {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) die("no socket left");
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (connect(fd, reinterpret_cast<const sockaddr*>(&settings_.target), sizeof settings_.target) != 0 &&
            errno != EINPROGRESS) {
            close(fd);
            die("connect failed");
        }
        wire_ = std::make_unique<Wire>(epoll_, fd, this);
        state_ = State::greeting;
        sent_here_ = 0;
        pipelining_ = false;
        offers_tls_ = false;
    }

    bool due(std::uint64_t now) const {
        const std::uint64_t at = campaign_.next_due();
        return at != 0 && at <= now && !spent();
    }
    bool spent() const { return settings_.per_connection != 0 && sent_here_ >= settings_.per_connection; }

    void quit() {
        state_ = State::quitting;
        wire_->out += "QUIT\r\n";
    }

    void lost() {
        wire_.reset();
        // a refused message whose transaction was ended by the server's close is counted by its reply
        for (const Transaction& transaction : open_)
            campaign_.failed(transaction.message, transaction.refused);
        const bool surprising = !open_.empty() || state_ != State::quitting;
        open_.clear();
        expected_.clear();
        if (surprising) campaign_.lost_connection();
        if (campaign_.next_due() != 0) open();
    }

    void flush() {
        if (wire_->flush() == Wire::Io::closed) {
            lost();
        } else if (wire_->out.empty()) {
            const std::uint64_t now = now_ns();
            for (Transaction& transaction : open_) {
                if (transaction.dot_said && transaction.dot_at == 0) transaction.dot_at = now;
            }
        }
    }

    void commands(const Campaign::Message& message) {
        ++sent_here_;
        std::string domain = "bench.test";
        if (settings_.domains > 0)
            domain = "d" + std::to_string(message.id % settings_.domains) + ".bench.test";
        mail_ = "MAIL FROM:<source@bench-source.test>\r\n";
        rcpt_ = "RCPT TO:<u@" + domain + ">\r\n";
        open_.push_back({message, false, 0, 0});
        wire_->out += mail_;
        expected_.push_back(Awaited::mail);
        if (!pipelining_) return;
        wire_->out += rcpt_;
        wire_->out += "DATA\r\n";
        expected_.push_back(Awaited::rcpt);
        expected_.push_back(Awaited::data);
    }

    /// Works off the replies that have arrived. False: the connection is of no use any more.
    bool digest() {
        std::string& in = wire_->in;
        std::size_t from = 0;
        bool alive = true;
        while (alive) {
            const std::size_t end = in.find('\n', from);
            if (end == std::string::npos) break;
            const std::string_view line(in.data() + from, end - from);
            from = end + 1;
            if (line.size() < 3) return false;
            int code = 0;
            std::from_chars(line.data(), line.data() + 3, code);
            if (state_ == State::ehlo) {
                if (line.find("PIPELINING") != std::string_view::npos) pipelining_ = true;
                if (line.find("STARTTLS") != std::string_view::npos) offers_tls_ = true;
            }
            if (line.size() > 3 && line[3] == '-') continue;
            alive = on_reply(code);
        }
        in.erase(0, from);
        return alive;
    }

    bool on_reply(int code) {
        switch (state_) {
            case State::greeting:
                if (code != 220) return false;
                wire_->out += "EHLO bench-source.test\r\n";
                state_ = State::ehlo;
                return true;
            case State::ehlo:
                if (code != 250) return false;
                if (settings_.tls && !wire_->encrypted()) {
                    if (!offers_tls_) die("the target does not offer STARTTLS");
                    wire_->out += "STARTTLS\r\n";
                    state_ = State::starttls;
                    return true;
                }
                if (settings_.pipelining == Pipelining::none) pipelining_ = false;
                campaign_.connected();
                state_ = State::ready;
                next();
                return true;
            case State::starttls:
                if (code != 220) return false;
                wire_->start_tls(tls_, false);
                pipelining_ = false;
                wire_->out += "EHLO bench-source.test\r\n";
                state_ = State::ehlo;
                return true;
            case State::ready:
                return on_answer(code);
            case State::quitting:
                return false;
        }
        return false;
    }

    bool on_answer(int code) {
        if (expected_.empty()) return false;  // a 421 while we had nothing to say
        const Awaited awaited = expected_.front();
        expected_.pop_front();
        Transaction& transaction = open_.front();
        const int wanted = awaited == Awaited::data ? 354 : 250;
        if (code != wanted && transaction.refused == 0) transaction.refused = code;
        if (code == 421) return false;
        switch (awaited) {
            case Awaited::mail:
            case Awaited::rcpt:
                if (pipelining_) return true;
                if (transaction.refused != 0) {
                    give_up();
                    return true;
                }
                wire_->out += awaited == Awaited::mail ? rcpt_ : "DATA\r\n";
                expected_.push_back(awaited == Awaited::mail ? Awaited::rcpt : Awaited::data);
                return true;
            case Awaited::data:
                if (code != 354) {
                    give_up();
                    return true;
                }
                if (transaction.refused != 0) {  // a server that takes data for no one: end it quickly
                    wire_->out += ".\r\n";
                } else {
                    letter_.append(wire_->out, transaction.message);
                }
                transaction.dot_said = true;
                expected_.push_back(Awaited::dot);
                if (settings_.pipelining == Pipelining::full && pipelining_) next();
                return true;
            case Awaited::dot:
                if (transaction.refused == 0) {
                    campaign_.accepted(transaction.dot_at, now_ns());
                } else {
                    campaign_.failed(transaction.message, transaction.refused);
                }
                open_.pop_front();
                if (open_.empty()) next();
                return true;
        }
        return false;
    }

    /// The transaction is refused before its data.
    void give_up() {
        campaign_.failed(open_.front().message, open_.front().refused);
        open_.pop_front();
        if (!pipelining_) {
            quit();  // simpler than to wait for the reply to a RSET
            return;
        }
        if (open_.empty()) next();
    }

    /// The next message's commands, if one is due, or QUIT where none will ever be.
    void next() {
        const std::uint64_t now = now_ns();
        if (due(now)) {
            commands(campaign_.take(now));
        } else if (open_.empty() && (campaign_.next_due() == 0 || spent())) {
            quit();
        }
    }

    const Settings& settings_;
    Campaign& campaign_;
    Letter& letter_;
    SSL_CTX* tls_;
    int epoll_;
    std::unique_ptr<Wire> wire_;
    State state_ = State::greeting;
    bool pipelining_ = false;
    bool offers_tls_ = false;
    std::uint64_t sent_here_ = 0;
    std::string mail_;
    std::string rcpt_;
    std::deque<Transaction> open_;
    std::deque<Awaited> expected_;
};

int run(const Settings& settings) {
    SSL_CTX* tls = nullptr;
    if (settings.tls) {
        tls = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_read_ahead(tls, 1);
    }
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    Campaign campaign(settings, now_ns());
    Letter letter(settings.size);
    std::vector<std::unique_ptr<Connection>> connections;
    for (std::uint64_t i = 0; i < std::min(settings.connections, settings.messages); ++i) {
        connections.push_back(std::make_unique<Connection>(settings, campaign, letter, tls, epoll));
    }
    std::vector<epoll_event> events(256);
    std::uint64_t progress = campaign.answered();
    std::uint64_t progress_at = now_ns();
    while (!campaign.done()) {
        std::uint64_t wait_ns = 1'000'000'000U;
        if (settings.rate != 0) {
            const std::uint64_t due = campaign.next_due();
            const std::uint64_t now = now_ns();
            if (due != 0) wait_ns = due > now ? std::min(due - now, wait_ns) : 0;
            const bool free = std::any_of(connections.begin(), connections.end(),
                                          [](const auto& connection) { return connection->idle(); });
            if (!free) wait_ns = 1'000'000'000U;
        }
        const timespec wait{static_cast<time_t>(wait_ns / 1'000'000'000U),
                            static_cast<long>(wait_ns % 1'000'000'000U)};
        const int count = epoll_pwait2(epoll, events.data(), static_cast<int>(events.size()), &wait, nullptr);
        if (count < 0 && errno != EINTR) die("epoll_pwait2 failed");
        const std::uint64_t now = now_ns();
        for (int i = 0; i < count; ++i) {
            static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr)->on_event();
        }
        if (settings.rate != 0) {
            for (const auto& connection : connections) {
                const std::uint64_t due = campaign.next_due();
                if (due == 0 || due > now) break;
                if (connection->idle()) connection->begin(now);
            }
        }
        if (campaign.answered() != progress) {
            progress = campaign.answered();
            progress_at = now;
        } else if (now - progress_at > settings.stall * 1'000'000'000U &&
                   (settings.rate == 0 || campaign.next_due() == 0 || campaign.next_due() < progress_at)) {
            campaign.print();
            die("bench-source: nothing was answered for " + std::to_string(settings.stall) + " s", 2);
        }
    }
    campaign.print();
    return campaign.all_accepted() ? 0 : 1;
}

}  // namespace
}  // namespace sternpost::bench

int main(int argc, char** argv) {
    using namespace sternpost::bench;
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
    Options options(argc, argv, usage);
    Settings settings;
    settings.target = address_of(options.text("--target", ""));
    settings.connections = std::max<std::uint64_t>(options.number("--connections", settings.connections), 1);
    settings.messages = options.number("--messages", settings.messages);
    settings.size = options.number("--size", settings.size);
    settings.tls = options.flag("--tls");
    settings.rate = options.number("--rate", settings.rate);
    settings.domains = options.number("--domains", settings.domains);
    settings.per_connection = options.number("--per-connection", settings.per_connection);
    settings.first_id = options.number("--first-id", settings.first_id);
    settings.stall = options.number("--stall", settings.stall);
    const std::string pipelining = options.text("--pipelining", "commands");
    if (pipelining == "none") {
        settings.pipelining = Pipelining::none;
    } else if (pipelining == "full") {
        settings.pipelining = Pipelining::full;
    } else if (pipelining != "commands") {
        die("--pipelining is none, commands or full, not " + pipelining, 64);
    }
    options.none_left();
    return run(settings);
}
