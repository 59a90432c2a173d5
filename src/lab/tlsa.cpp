#include "lab/tlsa.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <span>
#include <vector>

#include "util/text.h"

namespace sternpost::lab {
namespace {

using Octets = std::vector<unsigned char>;

std::vector<std::string_view> words_of(std::string_view text) {
    std::vector<std::string_view> out;
    for (const auto word : split(text, ' '))
        if (!word.empty()) out.push_back(word);
    return out;
}

// The whole certificate, or its SubjectPublicKeyInfo (RFC 6698 §2.1.2), DER.
Octets selected(const std::string& pem, std::uint8_t selector) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
        BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(
        PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free);
    if (!certificate) return {};
    unsigned char* der = nullptr;
    const int size = selector == 0 ? i2d_X509(certificate.get(), &der)
                                   : i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate.get()), &der);
    if (size <= 0) return {};
    Octets out(der, der + size);
    OPENSSL_free(der);
    return out;
}

}  // namespace

std::optional<TlsaWish> TlsaWish::read(std::string_view text) {
    const auto words = words_of(text);
    if (words.size() < 3) return std::nullopt;
    TlsaWish wish;
    std::uint8_t* const numbers[] = {&wish.usage, &wish.selector, &wish.matching};
    for (std::size_t i = 0; i < 3; ++i) {
        const auto number = decimal(words[i]);
        if (!number || *number > 255) return std::nullopt;
        *numbers[i] = static_cast<std::uint8_t>(*number);
    }
    if (wish.usage == 0 || wish.usage == 2) wish.about = About::issuer;  // an authority's
    for (const auto word : std::span(words).subspan(3)) {
        if (word == "match" || word == "mismatch")
            wish.match = word == "match";
        else if (word == "leaf")
            wish.about = About::leaf;
        else if (word == "issuer")
            wish.about = About::issuer;
        else if (word == "root")
            wish.about = About::root;
        else if (word.find('.') != std::string_view::npos && word == words.back())
            wish.host = lowered(word);
        else
            return std::nullopt;
    }
    return wish;
}

util::Result<std::string> tlsa_rdata(const TlsaWish& wish, const Identity& identity) {
    const std::string* pem = &identity.certificate;
    if (wish.about != TlsaWish::About::leaf && !identity.issuers.empty())
        pem = wish.about == TlsaWish::About::root ? &identity.issuers.back() : &identity.issuers.front();
    Octets data = selected(*pem, wish.selector);
    if (wish.matching == 1 || wish.matching == 2) {  // RFC 6698 §2.1.3
        Octets digest(EVP_MAX_MD_SIZE);
        unsigned size = 0;
        if (EVP_Digest(data.data(), data.size(), digest.data(), &size,
                       wish.matching == 1 ? EVP_sha256() : EVP_sha512(), nullptr) != 1)
            return fail(util::Errc::malformed, "no digest");
        digest.resize(size);
        data = std::move(digest);
    }
    if (data.empty()) return fail(util::Errc::malformed, "there is no such certificate");
    return fmt::format("{} {} {} {:02x}", wish.usage, wish.selector, wish.matching, fmt::join(data, ""));
}

}  // namespace sternpost::lab
