#include "lab/mx.h"

#include <array>

#include "lab/mx_dialogue.h"

namespace sternpost::lab {
namespace {

constexpr auto longest_silence =
    std::chrono::minutes(10);                 // with a silent peer; longer than anyone sulks in a test
constexpr std::size_t max_kept_lines = 2000;  // of a session, kept

Deadline soon() {
    return std::chrono::steady_clock::now() + longest_silence;
}

class Session {
  public:
    Session(asio::ip::tcp::socket socket, const std::string& name, const MxHost& host, Identities& identities,
            Sightings& sightings, const std::function<void(const Mail&)>& on_mail)
        : connection_(std::move(socket)),
          name_(name),
          host_(host),
          identities_(identities),
          sightings_(sightings),
          on_mail_(on_mail),
          dialogue_(host, name) {
        SmtpSession begun;
        begun.began = SystemClock().wall();
        begun.mx = name;
        begun.client = connection_.client();
        seen_ = sightings_.begin(std::move(begun));
    }

    asio::awaitable<void> run() {
        for (;;) {
            Turn turn = dialogue_.next();
            note(dialogue_.take_lines());
            if (const auto* close = std::get_if<say::Close>(&turn)) {
                if (close->abrupt) connection_.abort();
                break;
            }
            if (std::holds_alternative<say::Hang>(turn)) {
                co_await connection_.sit_still(soon());
                break;
            }
            if (auto* message = std::get_if<say::Message>(&turn)) {
                keep(std::move(*message));
                continue;
            }
            bool good = false;
            if (auto* octets = std::get_if<say::Send>(&turn)) {
                good = (co_await connection_.write(octets->octets, soon())).has_value();
            } else if (std::holds_alternative<say::StartTls>(turn)) {
                good = co_await start_tls();
            } else {
                good = co_await receive();
            }
            if (!good) break;
        }
        co_await connection_.close();
    }

  private:
    void note(std::vector<std::string> lines) {
        for (auto& line : lines)
            if (seen_->lines.size() < max_kept_lines) seen_->lines.push_back(std::move(line));
    }
    void note(std::string line) {
        if (seen_->lines.size() < max_kept_lines) seen_->lines.push_back(std::move(line));
    }

    asio::awaitable<bool> receive() {
        const auto got = co_await connection_.read_some(chunk_, soon());
        if (!got) {
            note("-- the peer is gone: " + got.error().text);
            co_return false;
        }
        dialogue_.feed(std::string_view(chunk_.data(), *got));
        co_return true;
    }

    asio::awaitable<bool> start_tls() {
        if (host_.hello != Hello::usual) {
            note("-- the ClientHello is answered by: " +
                 std::string(words<Hello>()[static_cast<std::size_t>(host_.hello)]));
            co_await connection_.answer_hello(host_.hello, soon());
            co_return false;
        }
        auto context = identities_.context(name_, host_);
        if (!context) {
            note("-- " + context.error().text);
            co_return false;
        }
        std::shared_ptr<asio::ssl::context> held = *context;
        const auto shaken = co_await connection_.start_tls(std::move(held), soon());
        if (!shaken) {
            note("-- no TLS: " + shaken.error().text);
            co_return false;
        }
        seen_->tls = connection_.tls_version();
        seen_->sni = connection_.sni();
        note("-- offered: " + connection_.offered_ciphers());
        note("-- " + seen_->tls + (seen_->sni.empty() ? ", no SNI" : ", SNI " + seen_->sni));
        dialogue_.tls_started();
        co_return true;
    }

    void keep(say::Message message) {
        Mail mail;
        mail.arrived = SystemClock().wall();
        mail.mx = name_;
        mail.client = seen_->client;
        mail.helo = std::move(message.helo);
        mail.tls = seen_->tls;
        mail.sni = seen_->sni;
        mail.reverse_path = std::move(message.reverse_path);
        mail.parameters = std::move(message.parameters);
        mail.recipients = std::move(message.recipients);
        mail.octets = std::move(message.octets);
        sightings_.keep(std::move(mail));
        on_mail_(sightings_.mail().back());
    }

    Connection connection_;
    const std::string& name_;
    const MxHost& host_;
    Identities& identities_;
    Sightings& sightings_;
    const std::function<void(const Mail&)>& on_mail_;
    MxDialogue dialogue_;
    std::shared_ptr<SmtpSession> seen_;
    std::array<char, 65536> chunk_{};
};

}  // namespace

asio::awaitable<void> serve_mx(asio::ip::tcp::socket socket, const std::string& name, const MxHost& host,
                               Identities& identities, Sightings& sightings,
                               const std::function<void(const Mail&)>& on_mail) {
    const auto session =
        std::make_unique<Session>(std::move(socket), name, host, identities, sightings, on_mail);
    co_await session->run();
}

}  // namespace sternpost::lab
