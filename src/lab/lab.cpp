#include "lab/lab.h"

#include <fmt/format.h>

#include "lab/mx.h"
#include "lab/policy_host.h"
#include "lab/tlsa.h"
#include "util/file.h"
#include "util/text.h"

namespace sternpost::lab {
namespace {

using control::Answer;
using control::ExitCode;

constexpr const char* dns_address = "127.0.0.53";

std::string text(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

json::array list(const std::vector<std::string>& texts) {
    json::array out;
    for (const auto& text : texts) out.emplace_back(text);
    return out;
}

json::object to_json(const Mail& mail, bool with_octets) {
    json::object out{{"id", mail.id},
                     {"arrived", rfc3339(mail.arrived)},
                     {"mx", mail.mx},
                     {"client", mail.client},
                     {"helo", mail.helo},
                     {"tls", mail.tls},
                     {"sni", mail.sni},
                     {"reverse_path", mail.reverse_path},
                     {"parameters", printable(mail.parameters)},
                     {"size", mail.octets.size()}};
    out["recipients"] = list(mail.recipients);
    if (with_octets)
        out["text"] = valid_utf8(mail.octets) ? mail.octets : printable(mail.octets, mail.octets.size());
    return out;
}

json::object to_json(const SmtpSession& session) {
    json::object out{{"began", rfc3339(session.began)},
                     {"mx", session.mx},
                     {"client", session.client},
                     {"tls", session.tls},
                     {"sni", session.sni}};
    out["lines"] = list(session.lines);
    return out;
}

json::object to_json(const DnsQuestion& question) {
    return {{"asked", rfc3339(question.asked)},
            {"name", printable(question.name)},
            {"type", question.type},
            {"answer", question.answer}};
}

json::object to_json(const HttpsRequest& request) {
    return {{"asked", rfc3339(request.asked)}, {"host", request.host}, {"sni", printable(request.sni)},
            {"request", request.request},      {"head", request.head}, {"answer", request.answer}};
}

}  // namespace

Lab::Lab(asio::io_context& context, Scenario scenario, Authority authority, std::filesystem::path folder,
         Log& log, std::function<void()> on_stop)
    : context_(context),
      scenario_(std::move(scenario)),
      identities_(std::move(authority)),
      folder_(std::move(folder)),
      log_(log),
      on_stop_(std::move(on_stop)),
      on_mail_([this](const Mail& mail) { on_mail(mail); }),
      control_(
          context, {},
          [this](json::object request, control::Caller caller) { return answer(std::move(request), caller); },
          log) {}

util::Result<void> Lab::start(Ports ports) {
    ports_ = ports;
    dns_ = std::make_unique<DnsServer>(
        context_, asio::ip::udp::endpoint(asio::ip::make_address(dns_address), ports.dns), scenario_.world,
        sightings_, log_);
    if (auto opened = dns_->open(); !opened) return opened;
    if (auto done = refresh(); !done) return done;

    Places places;
    places.folder = folder_;
    places.resolver = fmt::format("{}:{}", dns_address, ports.dns);
    places.smtp_port = ports.smtp;
    places.https_port = ports.https;
    for (const char* name : {"state", "maildrop", "mail"}) {
        std::error_code ec;
        std::filesystem::create_directories(folder_ / name, ec);
        if (ec) return fail(util::Errc::io, "cannot make " + (folder_ / name).string() + ": " + ec.message());
    }
    if (auto done = util::write_file(folder_ / "ca.pem", identities_.authority().root()); !done) return done;
    if (auto done = util::write_file(folder_ / "sternpost.toml", daemon_config(places, scenario_.sternpost));
        !done)
        return done;
    return control_.listen((folder_ / socket_name).string());
}

asio::awaitable<void> Lab::stop() {
    co_await control_.stop();
    for (auto& [name, door] : mx_doors_) co_await door->stop();
    for (auto& [name, door] : policy_doors_) co_await door->stop();
    if (dns_) co_await dns_->stop();
}

util::Result<void> Lab::refresh_door(std::map<std::string, std::unique_ptr<Door>>& doors,
                                     const std::string& name, const std::string& address, std::uint16_t port,
                                     bool listening, Door::Serve serve) {
    auto& door = doors[name];
    if (!door)
        door = std::make_unique<Door>(
            context_, asio::ip::tcp::endpoint(asio::ip::make_address(address), port), std::move(serve), log_);
    if (listening) return door->open();
    door->shut();
    return {};
}

util::Result<void> Lab::refresh() {
    for (const auto& [host_name, settings] : scenario_.world.mx) {
        auto serve = [this, name = &host_name, host = &settings](asio::ip::tcp::socket socket) {
            return serve_mx(std::move(socket), *name, *host, identities_, sightings_, on_mail_);
        };
        auto done = refresh_door(mx_doors_, host_name, settings.address, ports_.smtp, settings.listening,
                                 std::move(serve));
        if (!done) return done;
    }
    World& world = scenario_.world;
    world.smtp_port = ports_.smtp;
    world.tlsa_rdata.clear();
    for (const auto& [host, text] : world.tlsa_wishes()) {
        const auto found = world.mx.find(host);
        if (found == world.mx.end()) return fail(util::Errc::malformed, "TLSA: there is no MX host " + host);
        TlsServer stranger;  // whose certificate a record is of that is not to match
        stranger.certificate = CertificateKind::selfsigned;
        const auto wish = *TlsaWish::read(text);
        const auto identity = wish.match ? identities_.identity(host, found->second)
                                         : identities_.identity("stranger." + host, stranger);
        if (!identity) return fail(identity.error());
        auto rdata = tlsa_rdata(wish, **identity);
        if (!rdata) return fail(util::Errc::malformed, text + ": " + rdata.error().text);
        world.tlsa_rdata[{host, text}] = std::move(*rdata);
    }
    for (const auto& [host_name, settings] : scenario_.world.policy_hosts) {
        auto serve = [this, name = &host_name](asio::ip::tcp::socket socket) {
            return serve_policy(std::move(socket), *name, scenario_.world, identities_, sightings_);
        };
        auto done = refresh_door(policy_doors_, host_name, settings.address, ports_.https, settings.listening,
                                 std::move(serve));
        if (!done) return done;
    }
    return {};
}

void Lab::on_mail(const Mail& mail) {
    Event(log_, Level::info, "mail")
        .kv("id", mail.id)
        .kv("mx", mail.mx)
        .address("from", mail.reverse_path)
        .kv("nrcpt", mail.recipients.size())
        .kv("size", mail.octets.size())
        .kv("tls", mail.tls.empty() ? "none" : mail.tls);
    if (!scenario_.world.general.keep_files) return;
    const auto path = folder_ / "mail" / fmt::format("{:06}.eml", mail.id);
    if (const auto written = util::write_file(path, mail.octets); !written)
        Event(log_, Level::error, "mail").reason(written.error().text);
}

// ---- the control socket

asio::awaitable<Answer> Lab::answer(json::object request, control::Caller caller) {
    const std::string verb = text(request, "verb");
    Answer out;
    if (verb == "show") {
        out = show(request);
    } else if (!caller.admin) {
        out.code = ExitCode::not_permitted;
        out.text = "only root and the user who started this lab may change it";
    } else if (verb == "set") {
        out = set_value(request);
    } else if (verb == "stop") {
        asio::post(context_, on_stop_);
    } else {
        out.code = ExitCode::usage;
        out.text = "unknown verb";
    }
    co_return out;
}

Answer Lab::set_value(const json::object& request) {
    Answer out;
    const auto changed = set(scenario_.world, text(request, "path"), text(request, "value"));
    if (!changed) {
        out.code = ExitCode::no;
        out.text = changed.error().text;
    } else if (const auto done = refresh(); !done) {
        out.code = ExitCode::internal;
        out.text = done.error().text;
    }
    return out;
}

Answer Lab::show(const json::object& request) const {
    const std::string what = text(request, "what");
    Answer out;
    json::array all;
    if (what == "mail") {
        const auto id = decimal(text(request, "id"));
        for (const auto& mail : sightings_.mail())
            if (!id || mail.id == *id) all.push_back(to_json(mail, id.has_value()));
        if (id && all.empty()) {
            out.code = ExitCode::no;
            out.text = fmt::format("there is no message {} here", *id);
        }
    } else if (what == "sessions") {
        for (const auto& session : sightings_.sessions()) all.push_back(to_json(*session));
    } else if (what == "dns") {
        for (const auto& question : sightings_.dns()) all.push_back(to_json(question));
    } else if (what == "https") {
        for (const auto& seen : sightings_.https()) all.push_back(to_json(seen));
    } else {
        out.code = ExitCode::usage;
        out.text = "there are mail, sessions, dns, https";
    }
    out.data = std::move(all);
    return out;
}

}  // namespace sternpost::lab
