#include "dkim/key.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <limits>
#include <new>

#include "util/text.h"

namespace sternpost::dkim {
namespace {

constexpr std::size_t most_in_string = 255;  // octets of a character-string, RFC 1035 §3.3

struct FreeBio {
    void operator()(BIO* bio) const { BIO_free_all(bio); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;

struct FreePkeyContext {
    void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
};
using PkeyContext = std::unique_ptr<EVP_PKEY_CTX, FreePkeyContext>;

struct FreeMdContext {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using MdContext = std::unique_ptr<EVP_MD_CTX, FreeMdContext>;

// The oldest error of this thread's queue, which is emptied.
std::string openssl_text() {
    const unsigned long code = ERR_get_error();
    ERR_clear_error();
    char text[256] = "no reason given";
    if (code != 0) ERR_error_string_n(code, text, sizeof text);
    return text;
}

std::string octets_of(const std::vector<unsigned char>& octets) {
    return {octets.begin(), octets.end()};
}

// Never asks anybody for a passphrase.
int no_passphrase(char*, int, int, void*) {
    return 0;
}

bool fws(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

std::string_view without_outer_blanks(std::string_view text) {
    while (!text.empty() && fws(text.front())) text.remove_prefix(1);
    while (!text.empty() && fws(text.back())) text.remove_suffix(1);
    return text;
}

std::string without_blanks(std::string_view text) {
    std::string out;
    for (const char c : text)
        if (!fws(c)) out += c;
    return out;
}

// Whether one of the words between colons is `word` (RFC 6376 §3.6.1: h=, s=, t=).
bool lists(std::string_view value, std::string_view word) {
    const auto words = split(value, ':');
    return std::any_of(words.begin(), words.end(),
                       [&](std::string_view one) { return without_outer_blanks(one) == word; });
}

}  // namespace

std::string_view name_of(Algorithm algorithm) {
    return algorithm == Algorithm::rsa ? "rsa" : "ed25519";
}

std::string_view signature_name_of(Algorithm algorithm) {
    return algorithm == Algorithm::rsa ? "rsa-sha256" : "ed25519-sha256";
}

std::optional<Algorithm> algorithm_of(std::string_view name) {
    for (const auto one : {Algorithm::rsa, Algorithm::ed25519})
        if (name == name_of(one)) return one;
    return std::nullopt;
}

Result<PrivateKey> PrivateKey::adopt(EVP_PKEY* key) {
    std::shared_ptr<EVP_PKEY> owned(key, EVP_PKEY_free);
    const int type = EVP_PKEY_get_base_id(key);
    if (type == EVP_PKEY_ED25519) return PrivateKey(std::move(owned), Algorithm::ed25519);
    if (type != EVP_PKEY_RSA)
        return fail(Errc::unsupported, "DKIM signs with RSA and Ed25519 keys only (RFC 8463 §3)");
    PrivateKey out(std::move(owned), Algorithm::rsa);
    if (out.bits() < least_bits)
        return fail(Errc::too_weak, fmt::format("an RSA key of {} bits is refused by verifiers: at least {}, "
                                                "better {} (RFC 8301 §3.2)",
                                                out.bits(), least_bits, usual_bits));
    return out;
}

Result<PrivateKey> PrivateKey::generate(Algorithm algorithm, unsigned bits) {
    if (algorithm == Algorithm::rsa && bits < least_bits)
        return fail(Errc::too_weak, fmt::format("an RSA key has at least {} bits, better {} (RFC 8301 §3.2)",
                                                least_bits, usual_bits));
    if (algorithm == Algorithm::rsa && bits > largest_bits)
        return fail(Errc::malformed, fmt::format("verifiers need not take an RSA key of more than {} bits "
                                                 "(RFC 8301 §3.2)",
                                                 largest_bits));
    EVP_PKEY* made = algorithm == Algorithm::rsa
                         ? EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<std::size_t>(bits))
                         : EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
    if (made == nullptr) return fail(Errc::failed, "no key could be made: " + openssl_text());
    return adopt(made);
}

Result<PrivateKey> PrivateKey::parse(std::string_view pem) {
    if (pem.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
        return fail(Errc::malformed, "no private key in PEM");
    const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    EVP_PKEY* key = bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr) : nullptr;
    if (key == nullptr)
        return fail(Errc::malformed, "no private key in PEM without a passphrase: " + openssl_text());
    return adopt(key);
}

unsigned PrivateKey::bits() const {
    return static_cast<unsigned>(EVP_PKEY_get_bits(key_.get()));
}

std::string PrivateKey::pem() const {
    const Bio bio(BIO_new(BIO_s_mem()));
    if (!bio || PEM_write_bio_PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
        throw std::bad_alloc();
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

std::string PrivateKey::public_text() const {
    if (algorithm_ == Algorithm::ed25519) {
        std::vector<unsigned char> raw(32);
        std::size_t size = raw.size();
        if (EVP_PKEY_get_raw_public_key(key_.get(), raw.data(), &size) != 1) throw std::bad_alloc();
        raw.resize(size);
        return base64(octets_of(raw));
    }
    const int size = i2d_PUBKEY(key_.get(), nullptr);
    if (size <= 0) throw std::bad_alloc();
    std::vector<unsigned char> der(static_cast<std::size_t>(size));
    unsigned char* at = der.data();
    i2d_PUBKEY(key_.get(), &at);
    return base64(octets_of(der));
}

Result<std::string> PrivateKey::sign(const Digest& digest) const {
    std::vector<unsigned char> out(static_cast<std::size_t>(EVP_PKEY_get_size(key_.get())));
    std::size_t size = out.size();
    bool done = false;
    if (algorithm_ == Algorithm::ed25519) {
        const MdContext context(EVP_MD_CTX_new());
        done = context && EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1 &&
               EVP_DigestSign(context.get(), out.data(), &size, digest.data(), digest.size()) == 1;
    } else {
        const PkeyContext context(EVP_PKEY_CTX_new(key_.get(), nullptr));
        done = context && EVP_PKEY_sign_init(context.get()) == 1 &&
               EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING) == 1 &&
               EVP_PKEY_CTX_set_signature_md(context.get(), EVP_sha256()) == 1 &&
               EVP_PKEY_sign(context.get(), out.data(), &size, digest.data(), digest.size()) == 1;
    }
    if (!done) return fail(Errc::failed, "the key does not sign: " + openssl_text());
    out.resize(size);
    return octets_of(out);
}

Result<std::string> parse_selector(std::string_view text) {
    const auto refused = [&] {
        return fail(Errc::malformed, "\"" + printable(text) +
                                         "\" is no selector: letters, digits and hyphens, with dots between "
                                         "(RFC 6376 §3.1)");
    };
    if (text.empty() || text.size() > 120) return refused();
    for (const std::string_view label : split(text, '.')) {
        if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-')
            return refused();
        for (const char c : label)
            if (!(c == '-' || (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z')))
                return refused();
    }
    return lowered(text);
}

std::string record_text(const PrivateKey& key, bool reports_only) {
    return fmt::format("v=DKIM1; k={}; {}p={}", name_of(key.algorithm()), reports_only ? "s=tlsrpt; " : "",
                       key.public_text());
}

std::string record_name(std::string_view selector, const dns::Domain& domain) {
    return std::string(selector) + "._domainkey." + domain.text();
}

std::string zone_line(const std::string& name, std::string_view record) {
    std::string out = name + ". IN TXT (";
    while (!record.empty()) {
        out += " \"" + std::string(record.substr(0, most_in_string)) + "\"";
        record.remove_prefix(std::min(most_in_string, record.size()));
    }
    return out + " )";
}

std::optional<std::map<std::string, std::string>> parse_tags(std::string_view text) {
    std::map<std::string, std::string> out;
    auto parts = split(text, ';');
    if (!parts.empty() && without_outer_blanks(parts.back()).empty()) parts.pop_back();  // a `;` at the end
    for (const std::string_view part : parts) {
        const auto equals = part.find('=');
        if (equals == std::string_view::npos) return std::nullopt;
        const std::string_view name = without_outer_blanks(part.substr(0, equals));
        const bool good =
            !name.empty() && lower(name.front()) >= 'a' && lower(name.front()) <= 'z' &&
            std::all_of(name.begin(), name.end(), [](char c) {
                return c == '_' || (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z');
            });
        if (!good) return std::nullopt;
        const bool added =
            out.emplace(std::string(name), std::string(without_outer_blanks(part.substr(equals + 1)))).second;
        if (!added) return std::nullopt;
    }
    return out;
}

Comparison compare(const std::vector<std::string>& records, const PrivateKey& key, bool reports_only) {
    if (records.empty()) return {Published::no, "the record is not there"};
    if (records.size() > 1)  // RFC 6376 §3.6.2.2: what verifiers make of that is undefined
        return {Published::several,
                fmt::format("there are {} TXT records at the name; there must be one", records.size())};
    const std::string shown = printable(records.front(), 80);
    const auto tags = parse_tags(records.front());
    const auto value = [&](const char* tag, const char* usual) {
        const auto found = tags->find(tag);
        return found == tags->end() ? std::string(usual) : found->second;
    };
    if (!tags || !tags->contains("p") || value("v", "DKIM1") != "DKIM1")
        return {Published::malformed, "the record is no key record: \"" + shown + "\""};
    const std::string p = without_blanks(value("p", ""));
    if (p.empty()) return {Published::revoked, "the record says that the key is revoked (p= is empty)"};
    if (value("k", "rsa") != name_of(key.algorithm()))
        return {Published::different,
                fmt::format("the record says k={}, and the key is {}", printable(value("k", "rsa"), 40),
                            name_of(key.algorithm()))};
    if (p != key.public_text()) return {Published::different, "the record holds another public key"};
    if (tags->contains("h") && !lists(value("h", ""), "sha256"))
        return {Published::different, "the record does not allow sha256 (h=)"};
    const std::string service = value("s", "*");
    const bool mail = lists(service, "*") || lists(service, "email");
    const bool reports = lists(service, "*") || lists(service, "tlsrpt");  // RFC 8460 §3
    if (reports_only ? !reports : !mail)
        return {Published::different,
                fmt::format("the record is for other services (s={}), and the key is for {}",
                            printable(service, 40), reports_only ? "TLS reports" : "mail")};
    if (lists(value("t", ""), "y"))
        return {Published::yes, "the record says that the domain only tests DKIM (t=y)"};
    return {Published::yes, ""};
}

}  // namespace sternpost::dkim
