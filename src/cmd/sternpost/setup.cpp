// `sternpost setup`: the few things that a new relay must be told, asked and written down, and what to
// publish in the DNS.
#include <fmt/format.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include <boost/asio.hpp>
#include <boost/describe/class.hpp>
#include <memory>

#include "admin/records.h"
#include "cmd/reach.h"
#include "cmd/sternpost/command.h"
#include "cmd/sternpost/run_here.h"
#include "cmd/tell.h"
#include "config/edit.h"
#include "dkim/keys.h"
#include "util/file.h"
#include "util/random.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr const char* header =
    "# The configuration of Sternpost, written by \"sternpost setup\". sternpost.toml(5) explains every "
    "option.\n\n";

struct SetupRequest {
    std::string hostname;
    std::string admin;
    std::string organization;
    std::string contact;
    std::vector<std::string> networks;
    std::vector<std::string> addresses;
    bool yes = false;
    bool dry_run = false;
};

struct SetupAnswer {
    std::string file;
    bool changed = false;
    std::vector<std::string> key_files;  // DKIM keys that were made
    std::vector<admin::RecordRow> records;
};
BOOST_DESCRIBE_STRUCT(SetupAnswer, (), (file, changed, key_files, records))

/// One thing to ask about. Throws away nothing that was given: an answer that is no good is asked for again.
class Questions {
  public:
    explicit Questions(bool ask) : ask_(ask) {}

    std::string text(const std::string& question, std::string given, const std::string& known,
                     const std::function<bool(const std::string&)>& good) const {
        if (!given.empty() || !ask_) return given.empty() ? known : given;
        for (;;) {
            std::cerr << question << (known.empty() ? "" : " [" + known + "]") << ": " << std::flush;
            std::string answer;
            if (!std::getline(std::cin, answer)) return known;
            if (answer.empty()) answer = known;
            if (answer.empty() || good(answer)) return answer;
            std::cerr << "  " << printable(answer, 200) << " is none.\n";
        }
    }

  private:
    bool ask_;
};

bool is_hostname(const std::string& text) {
    return dns::Domain::parse(text) && text.find('.') != std::string::npos;
}
bool is_mailbox(const std::string& text) {
    return mail::Mailbox::parse(text, true).has_value();
}
bool are_networks(const std::string& text) {
    for (const auto word : split(text, ' '))
        if (!word.empty() && !dns::Network::parse(word)) return false;
    return true;
}

// This machine's addresses that the Internet can reach.
std::vector<dns::Address> public_addresses() {
    std::vector<dns::Address> out;
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) return out;
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> all(list, ::freeifaddrs);
    for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
        if (one->ifa_addr == nullptr) continue;
        std::optional<dns::Address> address;
        if (one->ifa_addr->sa_family == AF_INET) {
            std::array<std::uint8_t, 4> octets{};
            std::memcpy(octets.data(), &reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr, 4);
            address = dns::Address::v4(octets);
        } else if (one->ifa_addr->sa_family == AF_INET6) {
            std::array<std::uint8_t, 16> octets{};
            std::memcpy(octets.data(), &reinterpret_cast<const sockaddr_in6*>(one->ifa_addr)->sin6_addr, 16);
            address = dns::Address::v6(octets);
        }
        if (address && !address->is_special()) out.push_back(*address);
    }
    return out;
}

bool has_network(const config::Settings& settings, const std::string& text) {
    const auto wanted = dns::Network::parse(text);
    for (const auto& client : settings.clients)
        if (wanted && client.network == *wanted) return true;
    return false;
}

// The configuration with what is new in it.
std::string edited(std::string text, const config::Settings& settings, const SetupRequest& wanted) {
    const auto set = [&text](std::string_view name, const std::string& value, const std::string& before) {
        if (!value.empty() && value != before)
            text = config::with_option(text, name, config::toml_text(value));
    };
    set("hostname", wanted.hostname, settings.hostname);
    set("admin_address", wanted.admin, settings.admin_address);
    set("tlsrpt.organization", wanted.organization, settings.tlsrpt_organization);
    set("tlsrpt.contact", wanted.contact, settings.tlsrpt_contact);
    for (const auto& network : wanted.networks)
        if (!has_network(settings, network))
            text += "\n[[client]]\nnetwork = " + config::toml_text(network) + "\nrole = \"originate\"\n";
    return text;
}

// A key for the domain, where it has none; its record is to be published before it signs.
dkim::Result<std::vector<std::string>> make_key(const config::Settings& settings, const dns::Domain& domain) {
    const dkim::KeyFolder folder{config::dkim_folder(settings)};
    for (const auto& key : folder.read().keys)
        if (key.signer.domain == domain) return std::vector<std::string>();
    auto made = dkim::PrivateKey::generate(dkim::Algorithm::rsa, dkim::usual_bits);
    if (!made) return fail(made.error());
    const WallTime now = SystemClock().wall();
    std::string selector = rfc3339(now).substr(0, 10) + "-rsa";
    std::erase(selector, '-');
    selector.insert(8, "-");
    const dkim::StoredKey key{{domain, std::move(selector), std::move(*made)},
                              dkim::State::next,
                              std::chrono::floor<std::chrono::seconds>(now),
                              false};
    if (auto written = folder.write(key, true); !written) return fail(written.error());
    return std::vector{key.file()};
}

std::vector<admin::RecordRow> look_up(const config::Settings& settings, const SetupRequest& wanted) {
    admin::CheckedHost host;
    host.hostname = config::effective_hostname(settings);
    std::vector<admin::KeyRecord> keys;
    if (const auto mailbox = admin_of(settings)) {
        host.admin_domain = mailbox->domain();
        for (const auto& key : dkim::KeyFolder(config::dkim_folder(settings)).read().keys)
            if (key.signer.domain == *host.admin_domain && key.state != dkim::State::retired)
                keys.push_back({key.name(), dkim::record_text(key.signer.key, key.reports_only)});
    }
    for (const auto& text : wanted.addresses)
        if (const auto address = dns::Address::parse(text)) host.own.push_back(*address);
    if (host.own.empty()) host.own = public_addresses();
    asio::io_context context{1};
    const SystemClock clock;
    SystemRandom random;
    dns::LdnsResolver resolver(context.get_executor(), resolver_of(settings), clock, random);
    const admin::CheckSources sources{
        resolver, [&resolver](dns::Address address) { return resolver.ptr(std::move(address)); }, nullptr};
    return run_here(
        context, admin::wanted_records(std::move(host), std::move(keys), settings.tlsrpt_contact, sources));
}

void show_setup(const SetupAnswer& answer, const std::string& text, bool dry_run) {
    if (dry_run)
        tell("{} would be:\n\n{}\n", answer.file, text);
    else
        tell("{} {}.\n", answer.file, answer.changed ? "is written" : "is as it was");
    for (const auto& file : answer.key_files)
        tell("A DKIM key was made: {}. It signs once \"sternpost dkim rotate\" sees its record.\n", file);
    tell("\nWhat to publish in the DNS:\n\n");
    std::size_t missing = 0;
    for (const auto& row : answer.records) {
        const bool seen = row.seen == "yes";
        if (!seen) ++missing;
        tell("{:<8} {} {}\n         {}\n", seen ? "seen" : "MISSING", row.name, row.type,
             printable(row.value, 2000));
        if (!seen && !row.found.empty()) tell("         there is instead: {}\n", printable(row.found, 2000));
        if (!seen) tell("         ({})\n", row.why);
    }
    if (answer.records.empty())
        tell("This machine has no public address that is known: say it with --address.\n");
    tell("\n{} of {} records are seen. Then: systemctl restart sternpost, and \"sternpost doctor\".\n",
         answer.records.size() - missing, answer.records.size());
}

int write(const std::string& path, const std::string& text) {
    struct stat is {};
    const unsigned mode = ::stat(path.c_str(), &is) == 0 ? is.st_mode & 07777U : 0644U;
    const auto done = util::write_file(path, text, mode);
    if (done) return 0;
    std::cerr << "sternpost: " << path << ": " << done.error().text << '\n';
    return static_cast<int>(ExitCode::not_permitted);
}

int run_setup(const Command& command, SetupRequest wanted) {
    const std::string path = command.config_file();
    const auto before = util::read_file(path, 1U << 20U);
    if (!before && before.error().code != util::Errc::not_found) {
        std::cerr << "sternpost: " << before.error().text << '\n';
        return static_cast<int>(ExitCode::not_permitted);
    }
    std::string text = before ? *before : header;
    const auto loaded = config::read_text(text, path);
    if (!loaded.errors.empty()) {
        for (const auto& error : loaded.errors) std::cerr << error << '\n';
        return static_cast<int>(ExitCode::no);
    }
    const config::Settings& settings = loaded.settings;
    const Questions ask(!wanted.yes && ::isatty(STDIN_FILENO) != 0);
    wanted.hostname = ask.text("Fully qualified name of this host, as its PTR record says", wanted.hostname,
                               config::effective_hostname(settings), is_hostname);
    wanted.admin = ask.text("Your mailbox, at another host: it gets alarms and mail for root", wanted.admin,
                            settings.admin_address, is_mailbox);
    if (wanted.networks.empty()) {
        const std::string networks = ask.text(
            "Networks that may send through this host, with blanks between them", "", "", are_networks);
        for (const auto word : split(networks, ' '))
            if (!word.empty()) wanted.networks.emplace_back(word);
    }
    wanted.organization = ask.text("Your organization's name, for the daily TLS reports", wanted.organization,
                                   settings.tlsrpt_organization, [](const std::string&) { return true; });
    wanted.contact =
        ask.text("Mailbox that people may write to about these reports", wanted.contact,
                 settings.tlsrpt_contact.empty() ? wanted.admin : settings.tlsrpt_contact, is_mailbox);

    SetupAnswer answer;
    answer.file = path;
    const std::string after = edited(text, settings, wanted);
    const auto checked = config::read_text(after, path);
    if (!checked.errors.empty()) {
        for (const auto& error : checked.errors) std::cerr << error << '\n';
        return static_cast<int>(ExitCode::usage);
    }
    answer.changed = !before || after != *before;
    if (!wanted.dry_run) {
        if (answer.changed)
            if (const int code = write(path, after); code != 0) return code;
        if (const auto mailbox = admin_of(checked.settings)) {
            auto made = make_key(checked.settings, mailbox->domain());
            if (!made)
                std::cerr << "sternpost: no DKIM key: " << made.error().text << '\n';
            else
                answer.key_files = std::move(*made);
        }
    }
    answer.records = look_up(checked.settings, wanted);
    return command.finish({ExitCode::done, "", control::to_json(answer)},
                          [&] { show_setup(answer, after, wanted.dry_run); });
}

}  // namespace

void add_setup(Command& command) {
    auto* setup = command.app().add_subcommand(
        "setup", "Asks for the essential options, writes them, and lists the DNS records to publish");
    auto request = std::make_shared<SetupRequest>();
    setup->add_option("--hostname", request->hostname, "this host's fully qualified name");
    setup->add_option("--admin", request->admin, "mailbox at another host, for alarms and mail for root");
    setup->add_option("--network", request->networks,
                      "network that may send through this host; can be repeated");
    setup->add_option("--organization", request->organization, "organization that sends the TLS reports");
    setup->add_option("--contact", request->contact, "mailbox for questions about TLS reports");
    setup->add_option("--address", request->addresses,
                      "public address of this host, as behind NAT; can be repeated");
    setup->add_flag("--yes", request->yes, "do not ask questions");
    setup->add_flag("--dry-run", request->dry_run, "write nothing, and show what would be written");
    command.add_json(setup);
    setup->callback([&command, request] {
        command.choose([&command, request] { return run_setup(command, *request); });
    });
}

}  // namespace sternpost::cmd
