#include "cmd/sternpost/dkim_verbs.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "admin/policies.h"
#include "cmd/sternpost/command.h"
#include "cmd/sternpost/show.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

using control::Answer;
namespace json = boost::json;

// What was signed on the last day of a key may be verified for some time yet (RFC 6376 §5.2: "a reasonable
// validation interval"). The length is ours.
constexpr auto retirement = std::chrono::days(7);

std::string shown(const dkim::StoredKey& key) {
    const auto& k = key.signer.key;
    return fmt::format("{}  {}{}  {}{}{}", key.name(), dkim::name_of(k.algorithm()),
                       k.algorithm() == dkim::Algorithm::rsa ? fmt::format(" {}", k.bits()) : "",
                       dkim::name_of(key.state),
                       key.since == WallTime{} ? "" : " since " + rfc3339(key.since),
                       key.reports_only ? "  for TLS reports alone" : "");
}

json::object to_json(const dkim::StoredKey& key) {
    json::object out;
    out["domain"] = key.signer.domain.text();
    out["selector"] = key.signer.selector;
    out["algorithm"] = dkim::name_of(key.signer.key.algorithm());
    out["bits"] = key.signer.key.bits();
    out["state"] = dkim::name_of(key.state);
    if (key.since != WallTime{}) out["since"] = rfc3339(key.since);
    out["service"] = key.reports_only ? "tlsrpt" : "*";
    out["file"] = key.file();
    out["name"] = key.name();
    out["record"] = dkim::record_text(key.signer.key, key.reports_only);
    out["zone_line"] = dkim::zone_line(key.name(), dkim::record_text(key.signer.key, key.reports_only));
    return out;
}

// Root makes files that the daemon's account can read: as the owner of the folder, or of what it is in.
std::string become_owner(const std::filesystem::path& folder) {
    if (::geteuid() != 0) return "";
    struct stat is = {};
    if (::stat(folder.c_str(), &is) != 0 && ::stat(folder.parent_path().c_str(), &is) != 0)
        return "neither " + folder.string() + " nor the folder that it is in is there: start the daemon once";
    if (::setegid(is.st_gid) != 0 || ::seteuid(is.st_uid) != 0)
        return "cannot act as the owner of " + folder.string();
    return "";
}

}  // namespace

void DkimVerbs::add(Command& command) {
    command_ = &command;
    const auto verb = [this, &command](CLI::App* parent, const char* name, const char* help,
                                       int (DkimVerbs::*action)()) {
        CLI::App* sub = parent->add_subcommand(name, help);
        command.add_json(sub);
        sub->callback([this, &command, action] { command.choose([this, action] { return run(action); }); });
        return sub;
    };
    auto* dkim =
        command.app().add_subcommand("dkim", "Makes, checks and rotates DKIM keys")->require_subcommand(1);
    auto* generate = verb(dkim, "generate", "Makes a key, and prints its DNS record", &DkimVerbs::generate);
    generate->add_option("DOMAIN", domain_, "the domain of the From fields that it signs for")->required();
    generate->add_option("--selector", selector_, "selector; default: made from the date");
    generate->add_option("--algorithm", algorithm_, "rsa, ed25519, or both: a key of each")
        ->check(CLI::IsMember({"rsa", "ed25519", "both"}))
        ->capture_default_str();
    generate->add_option("--bits", bits_, "size of an RSA key, 1024 to 4096")->capture_default_str();
    generate->add_flag("--report-only", reports_only_,
                       "sign only TLS reports with it; its record has s=tlsrpt");
    generate->add_flag("--active", active_, "sign at once, before the record is published");
    auto* list = verb(dkim, "list", "Lists keys and their problems", &DkimVerbs::list);
    list->add_option("DOMAIN", domain_, "only keys of this domain");
    auto* dns = verb(dkim, "dns", "Prints the DNS records to publish", &DkimVerbs::dns);
    dns->add_option("DOMAIN", domain_, "only keys of this domain");
    dns->add_option("--selector", selector_, "only the key with this selector");
    auto* check = verb(dkim, "check", "Compares the published records with the keys", &DkimVerbs::check);
    check->add_option("DOMAIN", domain_, "only keys of this domain");
    auto* rotate = verb(dkim, "rotate", "Takes the next step to a new key: make, activate, or remove",
                        &DkimVerbs::rotate);
    rotate->add_option("DOMAIN", domain_, "the domain of the keys")->required();
    rotate->add_flag("--force", force_, "activate without asking the DNS; remove without waiting");
}

int DkimVerbs::run(int (DkimVerbs::*verb)()) {
    auto loaded = command_->load();
    if (!loaded.errors.empty()) {
        for (const auto& error : loaded.errors) std::cerr << error << '\n';
        return static_cast<int>(ExitCode::no);
    }
    settings_ = std::move(loaded.settings);
    if (!domain_.empty()) {
        auto domain = dns::Domain::parse(domain_);
        if (!domain) return say(ExitCode::usage, domain.error().text);
        domain_ = domain->text();  // A-labels (RFC 6376 §3.5)
    }
    if (verb == &DkimVerbs::check) return check();
    folder_ = dkim::KeyFolder(config::dkim_folder(settings_));
    if (const auto trouble = become_owner(folder_.path()); !trouble.empty()) return refusal(trouble);
    keys_ = folder_.read();
    for (const auto& bad : keys_.bad)
        if (bad.file.empty())
            return say(bad.error.code == dkim::Errc::unreadable ? ExitCode::not_permitted : ExitCode::no,
                       bad.error.text);
    return (this->*verb)();
}

int DkimVerbs::say(ExitCode code, const std::string& text) const {
    std::cerr << "sternpost: " << text << '\n';
    return static_cast<int>(code);
}

int DkimVerbs::refusal(const std::string& text) const {
    return say(ExitCode::no, text);
}

int DkimVerbs::failed(const Error<dkim::Errc>& error) const {
    switch (error.code) {
        case dkim::Errc::unreadable:
            return say(ExitCode::not_permitted, error.text);
        case dkim::Errc::malformed:
        case dkim::Errc::too_weak:
        case dkim::Errc::unsupported:
            return say(ExitCode::usage, error.text);
        case dkim::Errc::failed:
            return say(ExitCode::internal, error.text);
        case dkim::Errc::not_found:
        case dkim::Errc::exists:
        case dkim::Errc::unsafe:
            break;
    }
    return refusal(error.text);
}

std::vector<const dkim::StoredKey*> DkimVerbs::chosen() const {
    std::vector<const dkim::StoredKey*> out;
    for (const auto& key : keys_.keys)
        if ((domain_.empty() || key.signer.domain.text() == domain_) &&
            (selector_.empty() || key.signer.selector == lowered(selector_)))
            out.push_back(&key);
    return out;
}

std::vector<const dkim::StoredKey*> DkimVerbs::of(const dns::Domain& domain, dkim::State state) const {
    std::vector<const dkim::StoredKey*> out;
    for (const auto& key : keys_.keys)
        if (key.signer.domain == domain && key.state == state) out.push_back(&key);
    return out;
}

// A running daemon takes over what has changed at once; else within seconds, or when it starts.
void DkimVerbs::told() {
    (void)ask_daemon(settings_, "dkim.reload", admin::NoRequest(), true);
}

Answer DkimVerbs::asked() {
    auto answer = ask_daemon(settings_, "dkim.check", admin::DomainRequest{domain_}, true);
    if (answer) return std::move(*answer);
    return {
        ExitCode::unavailable,
        "the daemon, which asks the DNS, does not answer at " + settings_.control_socket + ": is it running?",
        {}};
}

bool DkimVerbs::json() const {
    return command_->json();
}

void DkimVerbs::print_records(const std::vector<const dkim::StoredKey*>& keys) const {
    for (const auto* key : keys)
        tell("{}\n", dkim::zone_line(key->name(), dkim::record_text(key->signer.key, key->reports_only)));
}

int DkimVerbs::make(const dns::Domain& domain, const std::vector<dkim::Algorithm>& algorithms,
                    dkim::State state, bool reports_only) {
    std::string given;
    if (!selector_.empty()) {
        auto parsed = dkim::parse_selector(selector_);
        if (!parsed) return failed(parsed.error());
        given = std::move(*parsed);
    }
    const WallTime now = SystemClock().wall();
    std::string today = rfc3339(now).substr(0, 10);
    std::erase(today, '-');
    std::vector<dkim::StoredKey> made;
    for (const auto algorithm : algorithms) {
        // A name of the DNS has one key record (RFC 6376 §3.6.2.2): each key gets a selector of its own.
        const std::string ending = "-" + std::string(dkim::name_of(algorithm));
        std::string selector = given.empty()           ? today + ending
                               : algorithms.size() > 1 ? given + ending
                                                       : given;
        for (char letter = 'b'; given.empty() && keys_.find(domain, selector) != nullptr && letter <= 'z';
             ++letter)
            selector = today + letter + ending;
        if (!dns::Domain::parse(dkim::record_name(selector, domain)))
            return say(ExitCode::usage, "selector and domain together are too long for a name of the DNS");
        auto key = dkim::PrivateKey::generate(
            algorithm, static_cast<unsigned>(std::min<std::uint64_t>(bits_, 1U << 20U)));
        if (!key) return failed(key.error());
        made.push_back({{domain, std::move(selector), std::move(*key)},
                        state,
                        std::chrono::floor<std::chrono::seconds>(now),
                        reports_only});
    }
    for (const auto& key : made)
        if (auto done = folder_.write(key, true); !done) return failed(done.error());
    told();
    std::vector<const dkim::StoredKey*> keys;
    json::array list;
    for (const auto& key : made) {
        keys.push_back(&key);
        list.push_back(to_json(key));
    }
    if (json()) {
        std::cout << printable_json(json::serialize(json::object{{"made", std::move(list)}})) << '\n';
        return 0;
    }
    for (const auto* key : keys) tell("made: {}\n", shown(*key));
    tell("\nPublish:\n\n");
    print_records(keys);
    if (state == dkim::State::active)
        tell("\n{} signed from now on; \"sternpost dkim check {}\" says whether the world sees the record.\n",
             reports_only ? "TLS reports are" : "Mail is", domain.text());
    else
        tell(
            "\nThen \"sternpost dkim rotate {}\" looks whether the world sees it, and signs with it from "
            "then "
            "on.\n",
            domain.text());
    return 0;
}

int DkimVerbs::generate() {
    std::vector<dkim::Algorithm> algorithms;
    if (algorithm_ != "ed25519") algorithms.push_back(dkim::Algorithm::rsa);
    if (algorithm_ != "rsa") algorithms.push_back(dkim::Algorithm::ed25519);
    return make(dns::Domain::parse(domain_).value(), algorithms,
                active_ ? dkim::State::active : dkim::State::next, reports_only_);
}

int DkimVerbs::list() {
    const auto keys = chosen();
    if (json()) {
        json::array good;
        json::array bad;
        for (const auto* key : keys) good.push_back(to_json(*key));
        for (const auto& one : keys_.bad)
            if (domain_.empty() || !one.domain || one.domain->text() == domain_)
                bad.push_back(json::object{{"file", one.file}, {"text", one.error.text}});
        std::cout << json::serialize(json::object{{"keys", std::move(good)}, {"bad", std::move(bad)}})
                  << '\n';
    }
    bool wrong = false;
    for (const auto* key : keys) {
        if (json()) break;
        tell("{}\n", shown(*key));
        if (key->signer.key.weak())
            tell("    weak: {} bits are the least that should be used (RFC 8301 §3.2)\n", dkim::usual_bits);
    }
    for (const auto& bad : keys_.bad) {
        if (!domain_.empty() && bad.domain && bad.domain->text() != domain_) continue;
        wrong = true;
        if (!json()) tell("{}  CANNOT BE USED: {}\n", bad.file, printable(bad.error.text, 1000));
    }
    if (!json() && keys.empty() && !wrong) tell("There is no key.\n");
    return static_cast<int>(wrong ? ExitCode::no : ExitCode::done);
}

int DkimVerbs::dns() {
    const auto keys = chosen();
    if (keys.empty()) return refusal("there is no such key");
    if (json()) {
        json::array all;
        for (const auto* key : keys) all.push_back(to_json(*key));
        std::cout << printable_json(json::serialize(all)) << '\n';
        return 0;
    }
    for (const auto* key : keys) {
        tell("; {}\n", dkim::name_of(key->state));
        print_records({key});
    }
    return 0;
}

int DkimVerbs::check() {
    const Answer answer = asked();
    if (!answer.data.is_object()) return say(answer.code, answer.text);
    return command_->finish(answer, [&] {
        const auto seen = control::from_json<admin::PublishedKeys>(answer.data);
        for (const auto& key : seen.keys)
            tell("{}  {}  {}{}\n", key.name, key.state,
                 key.published == "yes" ? "published" : "NOT PUBLISHED",
                 key.text.empty() ? "" : ": " + printable(key.text, 1000));
        for (const auto& bad : seen.bad)
            tell("{}  CANNOT BE USED: {}\n", bad.file, printable(bad.text, 1000));
    });
}

// Whether the world sees the records of the next keys: 0, or the exit code after it was told.
int DkimVerbs::wait_for_records(const std::vector<const dkim::StoredKey*>& next) {
    const Answer answer = asked();
    if (!answer.data.is_object()) return say(answer.code, answer.text);
    for (const auto& key : control::from_json<admin::PublishedKeys>(answer.data).keys) {
        if (key.state != "next" || key.published == "yes") continue;
        if (!json()) print_records(next);
        return say(key.published == "unanswered" ? ExitCode::unanswered : ExitCode::no,
                   key.name + " is not put into use: " + key.text);
    }
    return 0;
}

dkim::Result<void> DkimVerbs::put_into_use(const dns::Domain& domain,
                                           const std::vector<const dkim::StoredKey*>& next, WallTime now,
                                           json::array& names) {
    // First the new ones, so that mail is signed throughout.
    for (const auto* key : next) {
        dkim::StoredKey changed = *key;
        changed.state = dkim::State::active;
        changed.since = now;
        if (auto done = folder_.write(changed, false); !done) return done;
        if (!json()) tell("signs from now on: {}\n", shown(changed));
        names.emplace_back(key->name());
    }
    for (const auto* key : of(domain, dkim::State::active)) {
        const bool replaced = std::any_of(next.begin(), next.end(), [&](const dkim::StoredKey* one) {
            return one->reports_only == key->reports_only;
        });
        if (!replaced) continue;
        dkim::StoredKey changed = *key;
        changed.state = dkim::State::retired;
        changed.since = now;
        if (auto done = folder_.write(changed, false); !done) return done;
        if (!json())
            tell("signs no more: {}; leave its record in the DNS until {}\n", key->name(),
                 rfc3339(now + retirement));
    }
    return {};
}

// One step a call: retired keys go when their time is over; then the next keys are put into use, if the world
// sees their records; then, if none is left to wait for, new ones are made.
int DkimVerbs::rotate() {
    const auto domain = dns::Domain::parse(domain_).value();
    const WallTime now = std::chrono::floor<std::chrono::seconds>(SystemClock().wall());
    json::array removed;
    const dkim::StoredKey* waits = nullptr;
    for (const auto* key : of(domain, dkim::State::retired)) {
        if (!force_ && now - key->since < retirement) {
            if (waits == nullptr || waits->since < key->since) waits = key;
            continue;
        }
        if (auto done = folder_.remove(*key); !done) return failed(done.error());
        if (!json()) tell("removed: {}; its record can be taken out of the DNS\n", key->name());
        removed.emplace_back(key->name());
    }
    if (!removed.empty()) told();
    const auto finish = [&](const char* step, json::array names) {
        if (json()) {
            json::object out;
            out["step"] = step;
            out["keys"] = std::move(names);
            out["removed"] = removed;
            std::cout << printable_json(json::serialize(out)) << '\n';
        }
        return 0;
    };

    const auto next = of(domain, dkim::State::next);
    if (!next.empty()) {
        if (const int code = force_ ? 0 : wait_for_records(next); code != 0) return code;
        json::array names;
        if (auto done = put_into_use(domain, next, now, names); !done) return failed(done.error());
        told();
        return finish("activated", std::move(names));
    }
    if (waits != nullptr)
        return refusal(
            fmt::format("{} signs no more, and its record is to stay in the DNS until {}; then "
                        "\"sternpost dkim rotate {}\" removes it (--force: now)",
                        waits->name(), rfc3339(waits->since + retirement), domain.text()));
    if (!removed.empty()) return finish("removed", {});
    const auto active = of(domain, dkim::State::active);
    if (active.empty())
        return refusal("there is no key of " + domain.text() + ": \"sternpost dkim generate " +
                       domain.text() + "\" makes one");
    std::vector<dkim::Algorithm> algorithms;
    const bool reports_only =
        std::all_of(active.begin(), active.end(), [](const auto* key) { return key->reports_only; });
    for (const auto* key : active) {
        if (key->reports_only != reports_only) continue;
        if (std::find(algorithms.begin(), algorithms.end(), key->signer.key.algorithm()) == algorithms.end())
            algorithms.push_back(key->signer.key.algorithm());
        if (key->signer.key.algorithm() == dkim::Algorithm::rsa)
            bits_ = std::max<std::uint64_t>(bits_, key->signer.key.bits());
    }
    return make(domain, algorithms, dkim::State::next, reports_only);
}

}  // namespace sternpost::cmd
