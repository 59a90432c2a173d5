// bench-sink: takes mail as fast as it comes, keeps nothing but which numbers arrived and when. One thread.
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/signalfd.h>

#include <csignal>
#include <memory>
#include <unordered_set>

#include "wire.h"

namespace sternpost::bench {
namespace {

const char* const usage =
    "usage: bench-sink --listen ADDRESS:PORT [--listen ...] [OPTION...]\n"
    "  --certificate FILE   offer STARTTLS with this certificate (PEM, with its chain) ...\n"
    "  --key FILE           ... and its private key\n"
    "  --no-pipelining      do not offer PIPELINING\n"
    "  --refuse CODE        answer MAIL so instead of 250, for instance 451\n"
    "  --count N            end when N different messages have arrived; 0: at SIGTERM only (0)\n"
    "  --linger MS          then wait so long for duplicates (0)\n"
    "  --expect N           the numbers 0 to N-1 are expected: say which are missing (--count)\n"
    "At the end JSON on standard output: times in milliseconds, end to end is from when a message was due at "
    "the\n"
    "source to our reply to its final dot. Messages without a line of bench-source count as strangers.\n";

struct Settings {
    std::vector<std::string> listen;
    SSL_CTX* tls = nullptr;
    bool pipelining = true;
    std::uint64_t refuse = 0;
    std::uint64_t count = 0;
    std::uint64_t linger_ms = 0;
    std::uint64_t expect = 0;
};

/// What arrived.
class Ledger {
  public:
    void message(std::uint64_t id, std::uint64_t due, std::uint64_t now) {
        ++messages_;
        if (!seen(id)) {
            ++duplicates_;
            return;
        }
        ++unique_;
        if (first_ == 0) first_ = now;
        last_ = now;
        if (due < now) end_to_end_.add(now - due);
    }
    void stranger() { ++strangers_; }
    void octets(std::size_t count) { octets_ += count; }
    void connected() { ++connections_; }
    void encrypted() { ++handshakes_; }
    void resumed() { ++resumptions_; }
    void refused() { ++refused_; }
    std::uint64_t unique() const { return unique_; }

    void print(std::uint64_t expect) {
        std::string missing;
        std::uint64_t missing_count = 0;
        for (std::uint64_t id = 0; id < expect; ++id) {
            if (id < present_.size() && present_[id]) continue;
            ++missing_count;
            if (missing_count <= 1000) missing += (missing.empty() ? "" : ",") + std::to_string(id);
        }
        const double seconds = static_cast<double>(last_ - first_) / 1e9;
        std::printf(
            R"({"messages":%llu,"unique":%llu,"duplicates":%llu,"missing_count":%llu,"missing":[%s],)"
            R"("strangers":%llu,"refused":%llu,"connections":%llu,"handshakes":%llu,"resumptions":%llu,)"
            R"("octets":%llu,"first_ns":%llu,"last_ns":%llu,"seconds":%.4f,"end_to_end_ms":%s})"
            "\n",
            ull(messages_), ull(unique_), ull(duplicates_), ull(missing_count), missing.c_str(),
            ull(strangers_), ull(refused_), ull(connections_), ull(handshakes_), ull(resumptions_),
            ull(octets_), ull(first_), ull(last_), seconds, end_to_end_.json().c_str());
        std::fflush(stdout);
    }

  private:
    static unsigned long long ull(std::uint64_t value) { return value; }

    /// Marks the number; false: it was there.
    bool seen(std::uint64_t id) {
        constexpr std::uint64_t dense = 64U << 20;  // a bit each; what is beyond, a set
        if (id >= dense) return sparse_.insert(id).second;
        if (id >= present_.size()) present_.resize(std::max<std::size_t>(id + 1, present_.size() * 2));
        if (present_[id]) return false;
        present_[id] = true;
        return true;
    }

    std::vector<bool> present_;
    std::unordered_set<std::uint64_t> sparse_;
    std::uint64_t messages_ = 0;
    std::uint64_t unique_ = 0;
    std::uint64_t duplicates_ = 0;
    std::uint64_t strangers_ = 0;
    std::uint64_t refused_ = 0;
    std::uint64_t connections_ = 0;
    std::uint64_t handshakes_ = 0;
    std::uint64_t resumptions_ = 0;
    std::uint64_t octets_ = 0;
    std::uint64_t first_ = 0;
    std::uint64_t last_ = 0;
    Latencies end_to_end_;
};

class Session {
  public:
    Session(const Settings& settings, Ledger& ledger, int epoll, int fd)
        : settings_(settings), ledger_(ledger), wire_(epoll, fd, this) {
        wire_.out += "220 sink.bench.test ESMTP\r\n";
    }

    /// False: it is over.
    bool on_event() {
        const Wire::Io io = wire_.read();
        const bool go_on = digest();
        if (wire_.flush() == Wire::Io::closed) return false;
        return go_on && io == Wire::Io::ok;
    }

  private:
    static constexpr std::size_t head_max = std::size_t{64} * 1024;  // the number is looked for so far

    bool digest() {
        std::string& in = wire_.in;
        std::size_t from = 0;
        bool go_on = true;
        while (go_on && from < in.size()) {
            if (in_data_) {
                if (!data(from)) break;
                continue;
            }
            const std::size_t end = in.find('\n', from);
            if (end == std::string::npos) break;
            std::string_view line(in.data() + from, end - from);
            if (line.ends_with('\r')) line.remove_suffix(1);
            from = end + 1;
            go_on = command(line);
            if (starting_tls_) {
                if (from != in.size()) return false;  // octets in clear behind STARTTLS
                starting_tls_ = false;
                if (wire_.flush() == Wire::Io::closed) return false;
                wire_.start_tls(settings_.tls, true);
                ledger_.encrypted();
            }
        }
        in.erase(0, from);
        return go_on;
    }

    /// Reads on in the message; false when more octets are needed. Leaves what may be the start of the end.
    bool data(std::size_t& from) {
        static constexpr std::string_view end_mark = "\r\n.\r\n";
        const std::string_view rest = std::string_view(wire_.in).substr(from);
        std::size_t end = std::string_view::npos;
        std::size_t used = 0;
        if (at_start_) {
            if (rest.size() < 3) return false;
            at_start_ = false;
            if (rest.starts_with(".\r\n")) end = used = 3;
        }
        if (end == std::string_view::npos) {
            end = rest.find(end_mark);
            used = end == std::string_view::npos ? rest.size() - std::min(rest.size(), end_mark.size() - 1)
                                                 : end + end_mark.size();
        }
        if (!found_) look_for_id(rest.substr(0, used));
        octets_ += used;
        from += used;
        if (end == std::string_view::npos) return false;
        in_data_ = false;
        ledger_.octets(octets_);
        if (found_) {
            ledger_.message(id_, due_, now_ns());
        } else {
            ledger_.stranger();
        }
        wire_.out += "250 2.0.0 taken\r\n";
        return true;
    }

    void look_for_id(std::string_view octets) {
        std::string_view where = octets;
        if (!head_.empty()) {
            head_ += octets;
            where = head_;
        }
        std::size_t at = where.starts_with(id_field) ? 0 : where.find(line_and_field);
        if (at != std::string_view::npos) {
            if (where[at] == '\n') ++at;
            at += id_field.size();
            if (where.size() >= at + id_value_octets) {
                const char* const number = where.data() + at;
                found_ = std::from_chars(number, number + 16, id_, 16).ptr == number + 16 &&
                         std::from_chars(number + 17, number + 37, due_).ptr == number + 37;
                if (found_) return;
            }
        }
        if (head_.empty() && octets.size() < head_max) head_ = octets;  // it may be cut in two
        if (head_.size() > head_max) head_.clear();
    }

    bool command(std::string_view line) {
        std::string verb(line.substr(0, 4));
        for (char& c : verb) {
            if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
        }
        std::string& out = wire_.out;
        if (verb == "MAIL") {
            if (settings_.refuse != 0) {
                ledger_.refused();
                out += std::to_string(settings_.refuse) + " " + std::to_string(settings_.refuse / 100) +
                       ".3.0 not now\r\n";
                refused_ = true;
                return true;
            }
            out += "250 2.1.0 ok\r\n";
        } else if (verb == "RCPT") {
            out += refused_ ? "503 5.5.1 no MAIL\r\n" : "250 2.1.5 ok\r\n";
        } else if (verb == "DATA") {
            if (refused_) {
                out += "503 5.5.1 no MAIL\r\n";
                refused_ = false;
                return true;
            }
            out += "354 go on\r\n";
            in_data_ = true;
            at_start_ = true;
            found_ = false;
            octets_ = 0;
            head_.clear();
        } else if (verb == "EHLO") {
            ledger_greets();
            out += "250-sink.bench.test\r\n";
            if (settings_.pipelining) out += "250-PIPELINING\r\n";
            if (settings_.tls != nullptr && !wire_.encrypted()) out += "250-STARTTLS\r\n";
            out += "250 8BITMIME\r\n";
        } else if (verb == "HELO" || verb == "RSET" || verb == "NOOP") {
            refused_ = false;
            out += "250 2.0.0 ok\r\n";
        } else if (verb == "STAR" && settings_.tls != nullptr && !wire_.encrypted()) {
            out += "220 2.0.0 go on\r\n";
            starting_tls_ = true;
        } else if (verb == "QUIT") {
            out += "221 2.0.0 bye\r\n";
            return false;
        } else {
            out += "502 5.5.1 what\r\n";
        }
        return true;
    }

    void ledger_greets() {
        if (!greeted_) ledger_.connected();
        greeted_ = true;
        if (wire_.resumed()) ledger_.resumed();
    }

    static constexpr std::string_view line_and_field = "\nX-Bench: ";

    const Settings& settings_;
    Ledger& ledger_;
    Wire wire_;
    bool greeted_ = false;
    bool refused_ = false;
    bool starting_tls_ = false;
    bool in_data_ = false;
    bool at_start_ = false;
    bool found_ = false;
    std::uint64_t id_ = 0;
    std::uint64_t due_ = 0;
    std::size_t octets_ = 0;
    std::string head_;
};

int listen_on(const std::string& text) {
    const sockaddr_in address = address_of(text);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(fd, 1024) != 0) {
        die("cannot listen on " + text);
    }
    return fd;
}

int run(const Settings& settings) {
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    std::vector<int> listeners;
    for (const std::string& text : settings.listen) listeners.push_back(listen_on(text));
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    const int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    // events of sessions carry their address; those of listeners and signals the address of our own number
    const auto watch = [epoll](int& fd) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.ptr = &fd;
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl failed");
    };
    int stop = signal_fd;
    watch(stop);
    for (int& listener : listeners) watch(listener);

    Ledger ledger;
    std::unordered_set<Session*> sessions;
    std::vector<epoll_event> events(256);
    bool stopping = false;
    std::uint64_t end_at = 0;  // when --linger is over; 0: --count is not reached
    while (!stopping) {
        if (settings.count != 0 && end_at == 0 && ledger.unique() >= settings.count) {
            end_at = now_ns() + settings.linger_ms * 1'000'000U;
        }
        const std::uint64_t now = now_ns();
        if (end_at != 0 && now >= end_at) break;
        const int wait_ms = end_at == 0 ? -1 : static_cast<int>((end_at - now) / 1'000'000U + 1);
        const int count = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), wait_ms);
        if (count < 0 && errno != EINTR) die("epoll_wait failed");
        for (int i = 0; i < count; ++i) {
            void* const who = events[static_cast<std::size_t>(i)].data.ptr;
            if (who == &stop) {
                stopping = true;
                continue;
            }
            const auto listener = std::find_if(listeners.begin(), listeners.end(),
                                               [who](const int& candidate) { return &candidate == who; });
            if (listener == listeners.end()) {
                auto* const session = static_cast<Session*>(who);
                if (!session->on_event()) {
                    sessions.erase(session);
                    delete session;
                }
                continue;
            }
            for (;;) {
                const int fd = accept4(*listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0) break;
                const int on = 1;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                sessions.insert(new Session(settings, ledger, epoll, fd));
            }
        }
    }
    for (Session* const session : sessions) delete session;
    ledger.print(settings.expect);
    return 0;
}

SSL_CTX* tls_context(const std::string& certificate, const std::string& key) {
    SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
        die("cannot use " + certificate + " with " + key);
    }
    return context;
}

}  // namespace
}  // namespace sternpost::bench

int main(int argc, char** argv) {
    using namespace sternpost::bench;
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
    Options options(argc, argv, usage);
    Settings settings;
    settings.listen = options.all("--listen");
    if (settings.listen.empty()) die(std::string("--listen is needed\n") + usage, 64);
    const std::string certificate = options.text("--certificate", "");
    const std::string key = options.text("--key", "");
    settings.pipelining = !options.flag("--no-pipelining");
    settings.refuse = options.number("--refuse", 0);
    settings.count = options.number("--count", 0);
    settings.linger_ms = options.number("--linger", 0);
    settings.expect = options.number("--expect", settings.count);
    options.none_left();
    if (!certificate.empty()) settings.tls = tls_context(certificate, key);
    return run(settings);
}
