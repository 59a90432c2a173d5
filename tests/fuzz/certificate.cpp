// A host's certificate: its names, dates and key (RFC 8461 §4.2, RFC 9525 §6.3). Input: DER.
#include <openssl/x509.h>

#include <cstdlib>
#include <memory>

#include "tls/verify.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace sternpost;
    const std::uint8_t* at = data;
    const std::unique_ptr<X509, void (*)(X509*)> leaf(d2i_X509(nullptr, &at, static_cast<long>(size)),
                                                      X509_free);
    if (!leaf) return 0;
    for (const char* name : {"mx.d.test", "a.b.d.test", "d.test"}) {
        tls::Evidence evidence;
        tls::read_leaf(leaf.get(), dns::Domain::parse(name).value(), evidence);
        if (evidence.names.size() > 20) std::abort();
        for (const auto& one : evidence.names)
            for (const char c : one)
                if (static_cast<unsigned char>(c) < ' ') std::abort();
        if (evidence.name_matches && evidence.names.empty()) std::abort();  // never by the CN
    }
    tls::Evidence evidence;
    tls::read_leaf(leaf.get(), std::nullopt, evidence);
    if (evidence.name_matches) std::abort();
    return 0;
}
