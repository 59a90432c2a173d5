#include "tlsrpt/record.h"

#include <algorithm>

#include "util/text.h"

namespace sternpost::tlsrpt {
namespace {

constexpr std::size_t max_uri = 2048;  // ours

// RFC 8460 §3: "v=TLSRPTv1" and a delimiter; blanks before the delimiter are in the grammar.
bool is_tlsrpt_record(std::string_view text) {
    constexpr std::string_view version = "v=TLSRPTv1";
    if (!text.starts_with(version)) return false;
    return trimmed(text.substr(version.size())).starts_with(';');
}

std::optional<unsigned> hex_digit(char c) {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    const char low = lower(c);
    if (low >= 'a' && low <= 'f') return static_cast<unsigned>(low - 'a') + 10;
    return std::nullopt;
}

// RFC 3986 §2.1. nullopt: a '%' without two digits behind it.
std::optional<std::string> percent_decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        if (i + 2 >= text.size()) return std::nullopt;
        const auto high = hex_digit(text[i + 1]);
        const auto low = hex_digit(text[i + 2]);
        if (!high || !low) return std::nullopt;
        out += static_cast<char>(*high * 16 + *low);
        i += 2;
    }
    return out;
}

// `a,b` is no dot-string: as a quoted string it is a local-part (RFC 5321 §4.1.2).
std::string quoted(std::string_view local_part) {
    std::string out = "\"";
    for (const char c : local_part) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + "\"";
}

tl::unexpected<Error<Errc>> unusable(std::string_view uri, const std::string& why) {
    return fail(Errc::bad_record, printable(uri, 120) + ": " + why);
}

// RFC 6068 §2; header fields behind '?' are for people's mail programs.
Result<Destination> parse_mailto(std::string_view uri, std::string_view rest) {
    const auto address = percent_decoded(rest.substr(0, rest.find('?')));
    if (!address) return unusable(uri, "not a URI: a % without two hex digits");
    auto mailbox = mail::Mailbox::parse(*address, true);
    if (!mailbox) {
        const auto at = address->rfind('@');
        if (at != std::string::npos && at > 0 && address->front() != '"')
            mailbox = mail::Mailbox::parse(
                quoted(std::string_view(*address).substr(0, at)) + address->substr(at), true);
    }
    if (!mailbox) return unusable(uri, "no mail address: " + mailbox.error().text);
    // ours: whoever publishes a record could choose a host inside of our network by it
    if (mailbox->is_literal()) return unusable(uri, "an address literal instead of a domain");
    return Destination{std::string(uri), std::move(*mailbox)};
}

Result<Destination> parse_https(std::string_view uri, std::string_view rest) {
    rest = rest.substr(0, rest.find('#'));
    const auto end = std::min(rest.find_first_of("/?"), rest.size());
    std::string_view authority = rest.substr(0, end);
    std::string path(rest.substr(end));
    if (!path.starts_with('/')) path.insert(0, "/");
    if (authority.find('@') != std::string_view::npos) return unusable(uri, "a user name stands in it");
    std::uint64_t port = 443;
    if (const auto colon = authority.rfind(':'); colon != std::string_view::npos) {
        const auto number = decimal(authority.substr(colon + 1));
        if (!number || *number == 0 || *number > 65535) return unusable(uri, "not a port");
        port = *number;
        authority = authority.substr(0, colon);
    }
    const bool plain = std::all_of(path.begin(), path.end(), [](char c) { return c > 32 && c < 127; });
    if (!plain) return unusable(uri, "characters that no URI has");
    if (dns::Address::parse(authority)) return unusable(uri, "an address instead of a host name");
    auto host = dns::Domain::parse(authority);
    if (!host || host->text().find('.') == std::string::npos) return unusable(uri, "not a host name");
    return Destination{std::string(uri),
                       HttpsPlace{std::move(*host), static_cast<std::uint16_t>(port), std::move(path)}};
}

bool has_other_port(const Destination& to) {
    const auto* place = std::get_if<HttpsPlace>(&to.place);
    return place != nullptr && place->port != 443;
}

// What was meant for rua, where something was.
std::string nearly_rua(std::string_view record) {
    for (const auto raw : split(record, ';')) {
        const std::string_view field = trimmed(raw);
        const std::string_view name = field.substr(0, field.find('='));
        if (!iequals(trimmed(name), "rua")) continue;
        return name == trimmed(name)
                   ? ": the name of `" + printable(field, 60) + "` must be in small letters: `rua`"
                   : ": a blank stands before the `=` of `" + printable(field, 60) + "`";
    }
    return "";
}

}  // namespace

Result<Destination> Destination::parse(std::string_view uri) {
    if (uri.size() > max_uri) return unusable(uri, "longer than 2048 octets");
    constexpr std::string_view mailto = "mailto:";
    constexpr std::string_view https = "https://";
    if (istarts_with(uri, mailto)) return parse_mailto(uri, uri.substr(mailto.size()));
    if (istarts_with(uri, https)) return parse_https(uri, uri.substr(https.size()));
    return unusable(uri, "neither mailto: nor https:");  // RFC 8460 §3: others are passed over
}

Result<std::optional<Record>> parse_record(const std::vector<std::string>& texts, bool other_ports) {
    std::vector<std::string_view> ours;
    for (const auto& text : texts)
        if (is_tlsrpt_record(text)) ours.push_back(text);
    if (ours.empty()) return std::optional<Record>();
    if (ours.size() > 1)
        return fail(Errc::bad_record,
                    std::to_string(ours.size()) + " TLSRPTv1 records stand at the name; exactly one may");
    std::optional<std::string_view> rua;
    for (const auto raw : split(ours[0], ';')) {
        const std::string_view field = trimmed(raw);
        constexpr std::string_view key = "rua=";
        if (!rua && field.starts_with(key)) rua = field.substr(key.size());
    }
    if (!rua) return fail(Errc::bad_record, "the record has no rua" + nearly_rua(ours[0]));
    Record out;
    for (const auto raw : split(*rua, ',')) {
        const std::string_view uri = trimmed(raw);
        if (uri.empty()) continue;
        const auto same = [uri](const Destination& known) { return known.uri == uri; };
        if (std::any_of(out.destinations.begin(), out.destinations.end(), same)) continue;
        auto destination = Destination::parse(uri);
        if (destination && !other_ports && has_other_port(*destination))
            out.passed_over.push_back(printable(uri, 120) + ": a port other than 443 is not used");
        else if (destination)
            out.destinations.push_back(std::move(*destination));
        else
            out.passed_over.push_back(destination.error().text);
    }
    if (!out.destinations.empty()) return std::optional<Record>(std::move(out));
    return fail(Errc::bad_record, out.passed_over.empty()
                                      ? std::string("the record's rua is empty")
                                      : "no URI of the record's rua can be used: " + out.passed_over.front());
}

std::vector<std::string> problems_of(const std::string& name, const std::vector<std::string>& texts,
                                     bool other_ports) {
    std::vector<std::string> out;
    const auto record = parse_record(texts, other_ports);
    if (!record)
        out.push_back(name + ": " + record.error().text + "; no sender can send a report");
    else if (*record)
        for (const auto& one : (*record)->passed_over)
            out.push_back(name + ": part of rua cannot be used: " + one);
    for (const auto& text : texts) {
        if (!istarts_with(text, "v=tlsrptv1")) continue;
        const std::string shown = name + ": \"" + printable(text, 80) + "\"";
        if (!is_tlsrpt_record(text))
            out.push_back(shown + " must begin with `v=TLSRPTv1;`, in just these letters: no sender uses it");
        else if (!text.starts_with("v=TLSRPTv1;"))
            out.push_back(shown + " has blanks before the first `;`: some senders pass over it");
        if (text.ends_with(' ') || text.ends_with('\t'))
            out.push_back(shown + " ends with a blank: some senders pass over it");
        const auto fields = split(text, ';');
        const auto count = std::count_if(fields.begin(), fields.end(),
                                         [](auto field) { return istarts_with(trimmed(field), "rua="); });
        if (count > 1)
            out.push_back(shown +
                          " has `rua` more than once: the first one counts, and some senders pass over the "
                          "record; put all places into one, with commas between");
    }
    return out;
}

}  // namespace sternpost::tlsrpt
