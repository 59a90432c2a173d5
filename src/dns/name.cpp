#include "dns/name.h"

#include <idn2.h>

#include <memory>

#include "util/text.h"

namespace sternpost::dns {
namespace {

Result<std::string> to_a_labels(std::string_view text) {
    char* out = nullptr;
    const std::string input(text);
    const int rc = idn2_to_ascii_8z(input.c_str(), &out, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
    const std::unique_ptr<char, void (*)(void*)> owned(out, idn2_free);
    if (rc != IDN2_OK)
        return fail(Errc::bad_name, "not a domain name: " + printable(text) + ": " + idn2_strerror(rc));
    return std::string(out);
}

bool label_octet(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

}  // namespace

Result<Domain> Domain::parse(std::string_view text) {
    if (text.ends_with('.')) text.remove_suffix(1);
    std::string name;
    if (is_ascii(text)) {
        name = lowered(text);
    } else {
        if (text.size() > 1000 || text.find('\0') != std::string_view::npos)
            return fail(Errc::bad_name, "not a domain name: " + printable(text));
        auto converted = to_a_labels(text);
        if (!converted) return fail(std::move(converted).error());
        name = lowered(*converted);
    }
    if (name.empty() || name.size() > 253)
        return fail(Errc::bad_name, "a domain name has 1 to 253 octets: " + printable(text));
    for (const auto label : split(name, '.')) {
        if (label.empty() || label.size() > 63)
            return fail(Errc::bad_name, "a label has 1 to 63 octets: " + printable(text));
        if (label.front() == '-' || label.back() == '-')
            return fail(Errc::bad_name, "a label neither begins nor ends with a hyphen: " + printable(text));
        for (const char c : label)
            if (!label_octet(c)) return fail(Errc::bad_name, "not a domain name: " + printable(text));
    }
    return Domain(std::move(name));
}

Result<Domain> Domain::under(std::string_view labels) const {
    return parse(std::string(labels) + "." + text_);
}

}  // namespace sternpost::dns
