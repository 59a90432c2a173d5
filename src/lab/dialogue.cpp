#include "lab/dialogue.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <memory>
#include <string_view>

#include "util/file.h"
#include "util/text.h"

namespace sternpost::lab {
namespace {

constexpr std::size_t max_reply = 65536;

class Peer {
  public:
    bool connect(std::uint16_t port) {
        socket_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const timeval limit{10, 0};
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return socket_ && ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
               ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    }

    void send(std::string_view octets) {
        if (tls_)
            (void)SSL_write(tls_.get(), octets.data(), static_cast<int>(octets.size()));
        else
            (void)::send(socket_.get(), octets.data(), octets.size(), MSG_NOSIGNAL);
    }

    // The lines of the next reply; fewer when the daemon says no more.
    std::vector<std::string> reply() {
        std::vector<std::string> lines;
        for (;;) {
            const auto end = in_.find("\r\n");
            if (end == std::string::npos) {
                if (in_.size() > max_reply || !receive()) return lines;
                continue;
            }
            lines.push_back(in_.substr(0, end));
            in_.erase(0, end + 2);
            if (lines.back().size() < 4 || lines.back()[3] != '-') return lines;
        }
    }

    bool start_tls() {
        context_.reset(SSL_CTX_new(TLS_client_method()));
        tls_.reset(SSL_new(context_.get()));
        if (!tls_ || SSL_set_fd(tls_.get(), socket_.get()) != 1) return false;
        return SSL_connect(tls_.get()) == 1;
    }

    bool closed() { return in_.empty() && !receive(); }

  private:
    bool receive() {
        std::array<char, 4096> chunk{};
        const auto got = tls_ ? SSL_read(tls_.get(), chunk.data(), static_cast<int>(chunk.size()))
                              : ::recv(socket_.get(), chunk.data(), chunk.size(), 0);
        if (got > 0) in_.append(chunk.data(), static_cast<std::size_t>(got));
        return got > 0;
    }

    struct Free {
        void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
        void operator()(SSL* tls) const { SSL_free(tls); }
    };
    util::Fd socket_;
    std::unique_ptr<SSL_CTX, Free> context_;
    std::unique_ptr<SSL, Free> tls_;
    std::string in_;
};

std::string joined(const std::vector<std::string>& lines) {
    std::string out;
    for (const auto& line : lines) out += (out.empty() ? "" : " | ") + printable(line);
    return out.empty() ? "nothing" : out;
}

// `wanted` is what stands behind `S: `.
bool fits(const std::vector<std::string>& lines, std::string_view wanted) {
    const auto any = [&](std::string_view word) {
        for (const auto& line : lines)
            if (line.find(word) != std::string::npos) return true;
        return false;
    };
    bool good = true;
    if (const auto has = wanted.find(" has "); has != std::string_view::npos) {
        good = any(wanted.substr(has + 5));
        wanted = wanted.substr(0, has);
    } else if (const auto lacks = wanted.find(" lacks "); lacks != std::string_view::npos) {
        good = !any(wanted.substr(lacks + 7));
        wanted = wanted.substr(0, lacks);
    }
    return good && !lines.empty() && lines.back().starts_with(wanted);
}

std::string play_line(Peer& peer, std::string_view line) {
    if (line.starts_with("C: ")) {
        peer.send(std::string(line.substr(3)) + "\r\n");
    } else if (line.starts_with("S: ")) {
        const auto lines = peer.reply();
        if (!fits(lines, line.substr(3))) return "the daemon said: " + joined(lines);
    } else if (line == "closed") {
        if (!peer.closed()) return "the daemon did not close";
    } else if (peer.start_tls() != (line == "TLS")) {
        return line == "TLS" ? "the handshake failed" : "the handshake went through";
    }
    return "";
}

}  // namespace

bool is_dialogue_line(std::string_view line) {
    return line.starts_with("C: ") || line.starts_with("S: ") || line == "closed" || line == "TLS" ||
           line == "no TLS";
}

std::string play_dialogue(const std::vector<std::string>& lines, std::uint16_t port) {
    Peer peer;
    if (!peer.connect(port)) return "expected the daemon to listen; it does not";
    for (const auto& line : lines)
        if (const std::string seen = play_line(peer, line); !seen.empty())
            return "expected \"" + printable(line) + "\" in the dialogue; " + seen;
    return "";
}

}  // namespace sternpost::lab
