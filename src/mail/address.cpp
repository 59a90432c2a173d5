#include "mail/address.h"

#include "util/text.h"

namespace sternpost::mail {
namespace {

// What everybody must support (RFC 5321 §4.5.3.1.1, §4.5.3.1.3: 64 and 256 octets) is no limit; these are
// ours.
constexpr std::size_t max_local_part = 255;
constexpr std::size_t max_domain = 255;  // RFC 5321 §4.5.3.1.2
constexpr std::size_t max_path = 510;    // 512 with the angle brackets

bool atext(char c, bool utf8) {  // RFC 5322 §3.2.3, RFC 6531 §3.3
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
    if (static_cast<unsigned char>(c) >= 0x80) return utf8;
    return std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
}

// The length of the local-part at the front: a dot-string or a quoted-string; 0 when there is none.
std::size_t local_part_length(std::string_view text, bool utf8) {
    if (text.empty()) return 0;
    if (text[0] == '"') {  // Quoted-string of RFC 5321 §4.1.2
        for (std::size_t i = 1; i < text.size(); ++i) {
            const auto c = static_cast<unsigned char>(text[i]);
            if (c == '"') return i + 1;
            if (c == '\\') {
                if (++i == text.size() || text[i] < 32 || text[i] > 126) return 0;
            } else if (c < 32 || c == 127 || (c >= 0x80 && !utf8)) {
                return 0;
            }
        }
        return 0;
    }
    std::size_t i = 0;
    bool atom = false;
    for (; i < text.size(); ++i) {
        if (atext(text[i], utf8)) {
            atom = true;
        } else if (text[i] == '.' && atom) {
            atom = false;
        } else {
            break;
        }
    }
    return atom ? i : 0;
}

// RFC 5321 Appendix C: `@one,@two:` in front of a mailbox is a source route, accepted and dropped.
std::string_view without_source_route(std::string_view text) {
    if (!text.starts_with('@')) return text;
    const auto colon = text.find(':');
    return colon == std::string_view::npos ? text : text.substr(colon + 1);
}

}  // namespace

Result<Mailbox> Mailbox::parse(std::string_view text, bool utf8) {
    if (text.size() > max_path) return fail(Errc::too_long, "a path has at most 512 octets");
    if (!is_ascii(text)) {
        if (!valid_utf8(text)) return fail(Errc::bad_address, "not valid UTF-8: " + printable(text));
        if (!utf8) return fail(Errc::needs_utf8, "an address with UTF-8 needs SMTPUTF8: " + printable(text));
    }
    const std::size_t n = local_part_length(text, utf8);
    if (n == 0 || n == text.size() || text[n] != '@')
        return fail(Errc::bad_address, "not a mailbox: " + printable(text));
    if (n > max_local_part) return fail(Errc::too_long, "a local-part has at most 255 octets");
    const std::string_view host = text.substr(n + 1);
    if (host.size() > max_domain) return fail(Errc::too_long, "a domain has at most 255 octets");
    std::string local(text.substr(0, n));
    if (host.starts_with('[') && host.ends_with(']')) {  // RFC 5321 §4.1.3
        std::string_view inside = host.substr(1, host.size() - 2);
        const bool tagged = istarts_with(inside, "IPv6:");
        if (tagged) inside.remove_prefix(5);
        auto address = dns::Address::parse(inside);
        if (!address || address->is_v6() != tagged)
            return fail(Errc::bad_domain, "not an address literal: " + printable(host));
        return Mailbox(std::move(local), *address, address->literal());
    }
    auto domain = dns::Domain::parse(host);
    if (!domain) return fail(Errc::bad_domain, std::move(domain.error().text));
    std::string written(host.ends_with('.') ? host.substr(0, host.size() - 1) : host);
    return Mailbox(std::move(local), std::move(*domain), std::move(written));
}

std::string Mailbox::host() const {
    return is_literal() ? address().literal() : domain().text();
}

std::string Mailbox::a_label_text() const {
    return is_ascii(written_) ? text() : local_ + "@" + host();
}

bool Mailbox::ascii() const {
    return is_ascii(local_);
}

Result<ReversePath> ReversePath::parse(std::string_view text, bool utf8) {
    if (text.empty()) return ReversePath();
    auto mailbox = Mailbox::parse(without_source_route(text), utf8);
    if (!mailbox) return fail(std::move(mailbox).error());
    return ReversePath(std::move(*mailbox));
}

Result<ForwardPath> ForwardPath::parse(std::string_view text, bool utf8) {
    auto mailbox = Mailbox::parse(without_source_route(text), utf8);
    if (!mailbox) return fail(std::move(mailbox).error());
    return ForwardPath(std::move(*mailbox));
}

bool ForwardPath::is_postmaster(std::string_view text) {
    return iequals(text, "postmaster");
}

}  // namespace sternpost::mail
