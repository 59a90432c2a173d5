#include "tls/dane.h"

#include <openssl/x509.h>

#include <algorithm>
#include <map>
#include <memory>

#include "util/text.h"

namespace sternpost::tls {
namespace {

constexpr std::uint8_t trust_anchor = 2;  // DANE-TA (RFC 7671 §5.2)
constexpr std::uint8_t end_entity = 3;    // DANE-EE (RFC 7671 §5.1)
constexpr std::uint8_t whole_certificate = 0;
constexpr std::uint8_t public_key = 1;
constexpr std::uint8_t full = 0;
constexpr std::uint8_t sha256 = 1;
constexpr std::uint8_t sha512 = 2;

// Decodable to the last octet.
bool is_certificate(const std::vector<std::uint8_t>& der) {
    const std::uint8_t* at = der.data();
    const std::unique_ptr<X509, void (*)(X509*)> read(d2i_X509(nullptr, &at, static_cast<long>(der.size())),
                                                      X509_free);
    return read && at == der.data() + der.size() && X509_get0_pubkey(read.get()) != nullptr;
}

bool is_key(const std::vector<std::uint8_t>& der) {
    const std::uint8_t* at = der.data();
    const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> read(
        d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())), EVP_PKEY_free);
    return read && at == der.data() + der.size();
}

}  // namespace

bool usable(const dns::Tlsa& record) {
    if (record.usage != trust_anchor && record.usage != end_entity) return false;
    if (record.selector != whole_certificate && record.selector != public_key) return false;
    switch (record.matching_type) {
        case full:
            return record.selector == whole_certificate ? is_certificate(record.data) : is_key(record.data);
        case sha256:
            return record.data.size() == 32;
        case sha512:
            return record.data.size() == 64;
        default:
            return false;
    }
}

std::vector<dns::Tlsa> usable_of(const std::vector<dns::Tlsa>& records) {
    std::vector<dns::Tlsa> out;
    std::map<std::pair<std::uint8_t, std::uint8_t>, std::uint8_t> strongest;
    for (const auto& record : records) {
        if (!usable(record)) continue;
        auto& best = strongest[{record.usage, record.selector}];
        best = std::max(best, record.matching_type);
        out.push_back(record);
    }
    std::erase_if(out, [&](const dns::Tlsa& r) {
        return r.matching_type != full && r.matching_type != strongest[{r.usage, r.selector}];
    });
    return out;
}

std::string text_of(const dns::Tlsa& record) {
    std::string digits = hex(record.data);
    std::transform(digits.begin(), digits.end(), digits.begin(),
                   [](char c) { return c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c; });
    return std::to_string(record.usage) + " " + std::to_string(record.selector) + " " +
           std::to_string(record.matching_type) + " " + digits;
}

std::string text_of(const std::vector<dns::Tlsa>& records) {
    std::vector<std::string> lines;
    lines.reserve(records.size());
    for (const auto& record : records) lines.push_back(text_of(record) + "\n");
    std::sort(lines.begin(), lines.end());
    std::string out;
    for (const auto& line : lines) out += line;
    return out;
}

}  // namespace sternpost::tls
