#include "admin/spf.h"

#include <algorithm>
#include <optional>

#include "util/text.h"

namespace sternpost::admin {
namespace {

constexpr int most_look_ups = 10;       // RFC 7208 §4.6.4
constexpr int deepest = 10;             // ours: records within records
constexpr std::size_t most_hosts = 10;  // RFC 7208 §4.6.4: address look-ups of one mx

SpfResult result_of(char qualifier) {
    switch (qualifier) {
        case '-':
            return SpfResult::fail;
        case '~':
            return SpfResult::softfail;
        case '?':
            return SpfResult::neutral;
        default:
            return SpfResult::pass;
    }
}

struct Term {
    char qualifier = '+';
    std::string name;   // in lower case
    std::string value;  // behind ':' or '='; with its `/`, where there is no other
    bool modifier = false;
};

Term term_of(std::string_view text) {
    Term out;
    if (!text.empty() && std::string_view("+-~?").find(text.front()) != std::string_view::npos) {
        out.qualifier = text.front();
        text.remove_prefix(1);
    }
    const auto end = text.find_first_of(":/=");
    out.name = lowered(std::string(text.substr(0, end)));
    if (end == std::string_view::npos) return out;
    out.modifier = text[end] == '=';
    out.value = text[end] == '/' ? text.substr(end) : text.substr(end + 1);
    return out;
}

// `domain/24//64`, each part optional.
struct Target {
    std::string domain;
    unsigned bits4 = 32;
    unsigned bits6 = 128;
    bool sound = true;
};

Target target_of(const std::string& value) {
    Target out;
    const auto slash = value.find('/');
    out.domain = value.substr(0, slash);
    if (slash == std::string::npos) return out;
    std::string rest = value.substr(slash);
    const auto two = rest.find("//");
    const auto take = [&out](const std::string& text, unsigned most, unsigned& into) {
        const auto bits = decimal(text);
        out.sound = out.sound && bits && *bits <= most;
        if (out.sound) into = static_cast<unsigned>(*bits);
    };
    if (two != std::string::npos) {
        take(rest.substr(two + 2), 128, out.bits6);
        rest.resize(two);
    }
    if (!rest.empty()) take(rest.substr(1), 32, out.bits4);
    return out;
}

bool is_mechanism(const std::string& name) {
    for (const char* known : {"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"})
        if (name == known) return true;
    return false;
}

}  // namespace

std::string_view name_of(SpfResult result) {
    switch (result) {
        case SpfResult::pass:
            return "pass";
        case SpfResult::fail:
            return "fail";
        case SpfResult::softfail:
            return "softfail";
        case SpfResult::neutral:
            return "neutral";
        case SpfResult::none:
            return "none";
        case SpfResult::permerror:
            return "permerror";
        case SpfResult::temperror:
            return "temperror";
        case SpfResult::not_judged:
            return "not judged";
    }
    return "";
}

asio::awaitable<SpfAnswer> Spf::check(dns::Domain domain) {
    look_ups_ = 0;
    co_return co_await check(std::move(domain), 0);
}

asio::awaitable<SpfAnswer> Spf::check(dns::Domain domain, int depth) {
    SpfAnswer out;
    if (depth > deepest)
        co_return SpfAnswer{SpfResult::permerror, "", "records include each other too deeply"};
    const auto answer = co_await resolver_.txt(domain);
    if (!answer) co_return SpfAnswer{SpfResult::temperror, "", answer.error().text};
    std::vector<std::string> records;
    for (const auto& text : answer->records)
        if (iequals(text, "v=spf1") || lowered(text.substr(0, 7)) == "v=spf1 ") records.push_back(text);
    if (records.empty()) co_return SpfAnswer{SpfResult::none, "", domain.text() + " has no SPF record"};
    if (records.size() > 1)
        co_return SpfAnswer{SpfResult::permerror, records[0], domain.text() + " has several SPF records"};
    out.record = records[0];
    std::string redirect;
    for (const auto word : split(std::string_view(out.record).substr(6), ' ')) {
        if (word.empty()) continue;
        const Term term = term_of(word);
        if (term.modifier) {
            if (term.name == "redirect") redirect = term.value;
            continue;
        }
        if (!is_mechanism(term.name))
            co_return SpfAnswer{SpfResult::permerror, out.record,
                                "\"" + std::string(word) + "\" is no mechanism"};
        if (term.value.find('%') != std::string::npos)
            co_return SpfAnswer{
                SpfResult::not_judged, out.record,
                "\"" + std::string(word) + "\" has a macro, which the receiving host fills in"};
        if (term.name == "all") co_return SpfAnswer{result_of(term.qualifier), out.record, std::string(word)};
        const Matched matched = co_await matches(term.name, term.value, domain, depth);
        if (matched.error != SpfResult::pass) co_return SpfAnswer{matched.error, out.record, matched.text};
        if (matched.yes) co_return SpfAnswer{result_of(term.qualifier), out.record, std::string(word)};
    }
    if (redirect.empty())
        co_return SpfAnswer{SpfResult::neutral, out.record, "no term matches, and there is no \"all\""};
    const auto target = dns::Domain::parse(redirect);
    if (!target || ++look_ups_ > most_look_ups)
        co_return SpfAnswer{SpfResult::permerror, out.record, "redirect=" + redirect + " cannot be followed"};
    auto there = co_await check(*target, depth + 1);
    there.record = out.record;
    if (there.result == SpfResult::none) there.result = SpfResult::permerror;
    co_return there;
}

asio::awaitable<Spf::Matched> Spf::matches(std::string mechanism, std::string value, dns::Domain domain,
                                           int depth) {
    if (mechanism == "ip4" || mechanism == "ip6") {
        const auto network = dns::Network::parse(value);
        if (!network || network->address.is_v6() != (mechanism == "ip6"))
            co_return Matched{false, SpfResult::permerror, mechanism + ":" + value + " is no network"};
        co_return Matched{network->address.is_v6() == address_.is_v6() && network->contains(address_),
                          SpfResult::pass, ""};
    }
    if (++look_ups_ > most_look_ups)
        co_return Matched{false, SpfResult::permerror, "the record needs more than ten look-ups"};
    if (mechanism == "ptr")  // RFC 7208 §5.5: not to be used, and slow
        co_return Matched{false, SpfResult::pass, ""};
    const Target target = target_of(value);
    if (!target.sound)
        co_return Matched{false, SpfResult::permerror, mechanism + ":" + value + " is malformed"};
    if (!target.domain.empty()) {
        auto named = dns::Domain::parse(target.domain);
        if (!named)
            co_return Matched{false, SpfResult::permerror, mechanism + ":" + value + " names no domain"};
        domain = std::move(*named);
    }
    if (mechanism == "include") co_return co_await by_include(std::move(domain), depth);
    if (mechanism == "mx") co_return co_await by_mx(std::move(domain), target.bits4, target.bits6);
    if (mechanism == "exists") {
        const auto there = co_await resolver_.a(domain);
        if (!there) co_return Matched{false, SpfResult::temperror, there.error().text};
        co_return Matched{!there->records.empty(), SpfResult::pass, ""};
    }
    co_return co_await by_addresses(std::move(domain), target.bits4, target.bits6);
}

asio::awaitable<Spf::Matched> Spf::by_addresses(dns::Domain name, unsigned bits4, unsigned bits6) {
    const bool v6 = address_.is_v6();
    // named: g++ 12 frees what is made in an expression with co_await twice
    auto question = v6 ? resolver_.aaaa(name) : resolver_.a(name);
    const auto found = co_await std::move(question);
    if (!found) co_return Matched{false, SpfResult::temperror, found.error().text};
    for (const auto& one : found->records)
        if (one.is_v6() == v6 && address_.in(one, v6 ? bits6 : bits4))
            co_return Matched{true, SpfResult::pass, ""};
    co_return Matched{};
}

asio::awaitable<Spf::Matched> Spf::by_mx(dns::Domain name, unsigned bits4, unsigned bits6) {
    const auto found = co_await resolver_.mx(name);
    if (!found) co_return Matched{false, SpfResult::temperror, found.error().text};
    std::size_t hosts = 0;
    for (const auto& mx : found->records) {
        const auto host = dns::Domain::parse(mx.exchange);
        if (!host) continue;
        if (++hosts > most_hosts)
            co_return Matched{false, SpfResult::permerror, name.text() + " has more than ten MX hosts"};
        const auto matched = co_await by_addresses(*host, bits4, bits6);
        if (matched.yes || matched.error != SpfResult::pass) co_return matched;
    }
    co_return Matched{};
}

// RFC 7208 §5.2.
asio::awaitable<Spf::Matched> Spf::by_include(dns::Domain name, int depth) {
    const std::string text = name.text();
    const auto there = co_await check(std::move(name), depth + 1);
    switch (there.result) {
        case SpfResult::pass:
            co_return Matched{true, SpfResult::pass, ""};
        case SpfResult::fail:
        case SpfResult::softfail:
        case SpfResult::neutral:
            co_return Matched{};
        case SpfResult::none:
            co_return Matched{false, SpfResult::permerror, "include:" + text + " has no SPF record"};
        case SpfResult::permerror:
        case SpfResult::temperror:
        case SpfResult::not_judged:
            break;
    }
    co_return Matched{false, there.result, "include:" + text + ": " + there.text};
}

}  // namespace sternpost::admin
