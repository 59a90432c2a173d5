// What source and sink share: a non-blocking connection that may turn into TLS, percentiles, options. Raw
// epoll and OpenSSL on the socket itself: whatever they cost is the floor that relays are measured against.
#pragma once

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

namespace sternpost::bench {

/// The field that names a message, right at the start of the header: 16 hex digits of its number, a blank,
/// and 20 digits of CLOCK_MONOTONIC in nanoseconds when the message was due.
inline constexpr std::string_view id_field = "X-Bench: ";
inline constexpr std::size_t id_value_octets = 16 + 1 + 20;

/// Nanoseconds of CLOCK_MONOTONIC: the same for all processes of a machine.
inline std::uint64_t now_ns() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(t.tv_nsec);
}

/// Ends the program: a bad option, or a machine that does not do what it must.
[[noreturn]] inline void die(const std::string& what, int code = 1) {
    std::fprintf(stderr, "%s\n", what.c_str());
    std::exit(code);
}

/// Every value is kept, so that a percentile is one of them.
class Latencies {
  public:
    void add(std::uint64_t ns) { values_.push_back(ns); }
    /// `{"count":…,"p50":…,"p90":…,"p99":…,"max":…}`, milliseconds; zeros without a value.
    std::string json() {
        std::sort(values_.begin(), values_.end());
        char text[160];
        std::snprintf(text, sizeof text, R"({"count":%zu,"p50":%.3f,"p90":%.3f,"p99":%.3f,"max":%.3f})",
                      values_.size(), at(50), at(90), at(99), at(100));
        return text;
    }

  private:
    double at(unsigned percent) const {  // nearest rank
        if (values_.empty()) return 0;
        const std::size_t rank = (values_.size() * percent + 99) / 100;
        return static_cast<double>(values_[std::max<std::size_t>(rank, 1) - 1]) / 1e6;
    }
    std::vector<std::uint64_t> values_;
};

/// One connection. Owns its socket and its TLS. Level-triggered epoll with `this`'s owner as the event's
/// data.
class Wire {
  public:
    enum class Io { ok, closed };

    Wire(int epoll, int fd, void* owner) : epoll_(epoll), fd_(fd), owner_(owner) {
        epoll_event event{};
        event.events = EPOLLIN | EPOLLOUT;
        event.data.ptr = owner_;
        wants_out_ = true;
        if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd_, &event) != 0) die("epoll_ctl failed");
    }
    Wire(const Wire&) = delete;
    Wire& operator=(const Wire&) = delete;
    ~Wire() {
        if (ssl_ != nullptr) SSL_free(ssl_);
        close(fd_);
    }

    bool encrypted() const { return ssl_ != nullptr; }
    bool resumed() const { return ssl_ != nullptr && SSL_session_reused(ssl_) == 1; }
    /// From here on octets are TLS's. The handshake goes on by itself within read() and flush().
    void start_tls(SSL_CTX* context, bool server) {
        ssl_ = SSL_new(context);
        if (ssl_ == nullptr || SSL_set_fd(ssl_, fd_) != 1) die("SSL_new failed");
        if (server) {
            SSL_set_accept_state(ssl_);
        } else {
            SSL_set_connect_state(ssl_);
        }
    }

    /// Appends what has arrived to `in`, 1 MiB at most (epoll tells again of the rest; TLS is emptied).
    Io read() {
        static thread_local std::vector<char> chunk(std::size_t{256} * 1024);
        for (std::size_t total = 0; total < (std::size_t{1} << 20) || ssl_ != nullptr;) {
            ssize_t got = 0;
            if (ssl_ == nullptr) {
                got = recv(fd_, chunk.data(), chunk.size(), 0);
                if (got < 0) return errno == EAGAIN || errno == EINTR ? Io::ok : Io::closed;
            } else {
                ERR_clear_error();
                got = SSL_read(ssl_, chunk.data(), static_cast<int>(chunk.size()));
                if (got <= 0) {
                    const int why = SSL_get_error(ssl_, static_cast<int>(got));
                    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? Io::ok : Io::closed;
                }
            }
            if (got == 0) return Io::closed;
            in.append(chunk.data(), static_cast<std::size_t>(got));
            total += static_cast<std::size_t>(got);
            if (ssl_ == nullptr && static_cast<std::size_t>(got) < chunk.size()) break;
        }
        return Io::ok;
    }

    /// Sends as much of `out` as goes; asks epoll for the rest.
    Io flush() {
        bool blocked = false;
        while (sent_ < out.size()) {
            const char* from = out.data() + sent_;
            const std::size_t left = out.size() - sent_;
            ssize_t put = 0;
            if (ssl_ == nullptr) {
                put = send(fd_, from, left, MSG_NOSIGNAL);
                if (put < 0 && errno != EAGAIN && errno != ENOTCONN) return Io::closed;
            } else {
                ERR_clear_error();
                put = SSL_write(ssl_, from, static_cast<int>(std::min<std::size_t>(left, 1U << 20)));
                if (put <= 0) {
                    const int why = SSL_get_error(ssl_, static_cast<int>(put));
                    if (why == SSL_ERROR_WANT_READ) {  // the handshake: read() will find it
                        watch(false);
                        return Io::ok;
                    }
                    if (why != SSL_ERROR_WANT_WRITE) return Io::closed;
                    put = -1;
                }
            }
            if (put < 0) {
                blocked = true;
                break;
            }
            sent_ += static_cast<std::size_t>(put);
        }
        if (!blocked) {
            out.clear();
            sent_ = 0;
        }
        watch(blocked);
        return Io::ok;
    }

    std::string in;   // to be read by the owner, who erases what it has used
    std::string out;  // to be sent by flush(); only appended to

  private:
    void watch(bool for_out) {
        if (for_out == wants_out_) return;
        wants_out_ = for_out;
        epoll_event event{};
        event.events = for_out ? EPOLLIN | EPOLLOUT : EPOLLIN;
        event.data.ptr = owner_;
        epoll_ctl(epoll_, EPOLL_CTL_MOD, fd_, &event);
    }

    int epoll_;
    int fd_;
    void* owner_;
    SSL* ssl_ = nullptr;
    std::size_t sent_ = 0;
    bool wants_out_ = false;
};

/// `192.0.2.1:25`. Ends the program (64) for anything else.
inline sockaddr_in address_of(const std::string& text) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    const std::size_t colon = text.rfind(':');
    unsigned port = 0;
    if (colon == std::string::npos ||
        inet_pton(AF_INET, text.substr(0, colon).c_str(), &address.sin_addr) != 1 ||
        std::from_chars(text.data() + colon + 1, text.data() + text.size(), port).ptr !=
            text.data() + text.size() ||
        port == 0 || port > 65535) {
        die("not ADDRESS:PORT (IPv4): " + text, 64);
    }
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    return address;
}

/// `--name value` pairs and lone `--flags`, in any order; ends the program (64) for what it does not know.
class Options {
  public:
    Options(int argc, char** argv, std::string usage) : usage_(std::move(usage)) {
        for (int i = 1; i < argc; ++i) words_.emplace_back(argv[i]);
        if (flag("--help")) {
            std::printf("%s", usage_.c_str());
            std::exit(0);
        }
    }
    bool flag(std::string_view name) {
        const auto at = std::find(words_.begin(), words_.end(), name);
        if (at == words_.end()) return false;
        words_.erase(at);
        return true;
    }
    /// The values of every `name`, in order.
    std::vector<std::string> all(std::string_view name) {
        std::vector<std::string> found;
        for (auto at = std::find(words_.begin(), words_.end(), name); at != words_.end();
             at = std::find(words_.begin(), words_.end(), name)) {
            if (at + 1 == words_.end()) die(std::string(name) + " needs a value\n" + usage_, 64);
            found.push_back(*(at + 1));
            words_.erase(at, at + 2);
        }
        return found;
    }
    std::string text(std::string_view name, std::string otherwise) {
        auto found = all(name);
        return found.empty() ? std::move(otherwise) : std::move(found.back());
    }
    std::uint64_t number(std::string_view name, std::uint64_t otherwise) {
        const auto found = all(name);
        if (found.empty()) return otherwise;
        std::uint64_t value = 0;
        const std::string& given = found.back();
        const auto parsed = std::from_chars(given.data(), given.data() + given.size(), value);
        if (parsed.ec != std::errc{} || parsed.ptr != given.data() + given.size()) {
            die(std::string(name) + " needs a number, not " + given, 64);
        }
        return value;
    }
    /// To be called when all options were asked for.
    void none_left() const {
        if (!words_.empty()) die("unknown: " + words_.front() + "\n" + usage_, 64);
    }

  private:
    std::vector<std::string> words_;
    std::string usage_;
};

}  // namespace sternpost::bench
