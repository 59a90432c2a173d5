#include "sts/policy.h"

#include <algorithm>
#include <optional>
#include <set>

#include "dns/record.h"
#include "util/text.h"

namespace sternpost::sts {
namespace {

Result<MxPattern> parse_pattern(std::string_view value) {
    const bool wildcard = value.starts_with("*.");
    const std::string_view name = wildcard ? value.substr(2) : value;
    if (!is_ascii(name))
        return fail(Errc::bad_policy, "an mx pattern is not in A-label form: " + printable(value));
    if (dns::Address::parse(name))
        return fail(Errc::bad_policy, "an mx pattern is an IP address: " + printable(value));
    auto domain = dns::Domain::parse(name);
    if (!domain) return fail(Errc::bad_policy, "not an mx pattern: " + printable(value));
    return MxPattern{wildcard, std::move(*domain)};
}

// sts-policy-ext-name of RFC 8461 §3.2.
bool is_key(std::string_view text) {
    const auto alnum = [](char c) { return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z'); };
    return !text.empty() && text.size() <= 32 && alnum(text[0]) &&
           std::all_of(text.begin(), text.end(),
                       [&](char c) { return alnum(c) || c == '_' || c == '-' || c == '.'; });
}

}  // namespace

std::string_view name_of(Mode mode) {
    switch (mode) {
        case Mode::none:
            return "none";
        case Mode::testing:
            return "testing";
        case Mode::enforce:
            return "enforce";
    }
    return "?";
}

bool MxPattern::matches(const dns::MxHost& host) const {
    if (!wildcard) return host.name() == domain;
    const auto dot = host.text().find('.');
    return dot != std::string::npos && std::string_view(host.text()).substr(dot + 1) == domain.text();
}

Result<Policy> Policy::parse(std::string_view text) {
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // one BOM (D-05)
    std::optional<std::string_view> version;
    std::optional<std::string_view> mode;
    std::optional<std::string_view> max_age;
    std::string other_case;  // a key that would be known in small letters
    Policy out;
    std::set<std::string_view> read;
    std::set<std::string> listed;  // as they are compared
    std::size_t number = 0;
    for (std::string_view line : split(text, '\n')) {
        ++number;
        const auto where = [&] { return "line " + std::to_string(number) + ": "; };
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.find('\r') != std::string_view::npos)
            return fail(Errc::bad_policy, where() + "a bare CR is no line end");
        if (trimmed(line).empty()) continue;  // D-05
        const auto colon = line.find(':');
        const std::string_view key = line.substr(0, colon);
        if (colon == std::string_view::npos || !is_key(key))
            return fail(Errc::bad_policy, where() + "not `key: value`: " + printable(line, 80));
        const std::string_view value = trimmed(line.substr(colon + 1));
        const auto first_wins = [&](std::optional<std::string_view>& field) {  // STS-37
            if (!field) field = value;
        };
        if (key == "version") {
            first_wins(version);
        } else if (key == "mode") {
            first_wins(mode);
        } else if (key == "max_age") {
            first_wins(max_age);
        } else if (key == "mx") {
            if (!read.insert(value).second) continue;  // soon done, for a policy may say it 8,000 times
            auto pattern = parse_pattern(value);
            if (!pattern) return fail(Errc::bad_policy, where() + pattern.error().text);
            if (listed.insert(pattern->text()).second) out.mx.push_back(std::move(*pattern));
        } else if (other_case.empty()) {
            for (const auto* known : {"version", "mode", "max_age", "mx"})
                if (iequals(key, known))
                    other_case = where() + "the key `" + std::string(key) + "` must be in small letters: `" +
                                 known + "`";
        }
    }
    const auto missing = [&](const char* what) {
        return fail(Errc::bad_policy, other_case.empty() ? std::string(what) : other_case);
    };
    if (!version) return missing("there is no `version` field");
    if (version != "STSv1") return fail(Errc::bad_policy, "version is not STSv1");
    if (!mode) return missing("there is no `mode` field");
    if (mode == "enforce")
        out.mode = Mode::enforce;
    else if (mode == "testing")
        out.mode = Mode::testing;
    else if (mode == "none")
        out.mode = Mode::none;
    else
        return fail(Errc::bad_policy, "mode is not enforce, testing or none");
    if (!max_age) return missing("there is no `max_age` field");
    if (max_age->size() > 10 || !decimal(*max_age))
        return fail(Errc::bad_policy, "max_age is not a number of 1 to 10 digits");
    out.max_age = std::chrono::seconds(std::min(*decimal(*max_age), longest_max_age));
    if (out.mx.empty() && out.mode != Mode::none)
        return missing(("mode " + std::string(name_of(out.mode)) + " needs an `mx` field").c_str());
    return out;
}

bool Policy::allows(const dns::MxHost& host) const {
    return std::any_of(mx.begin(), mx.end(), [&](const MxPattern& p) { return p.matches(host); });
}

std::string Policy::mx_text() const {
    std::string out;
    for (const auto& pattern : mx) out += (out.empty() ? "" : ", ") + pattern.text();
    return out;
}

}  // namespace sternpost::sts
