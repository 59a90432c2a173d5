// DKIM's parsers and the canonical forms (RFC 6376 §3.2, §3.4). Input: an octet that chooses, then a key
// record, a key's file, or a message whose first octet says where it is cut.
#include <cstdlib>

#include "dkim/keys.h"
#include "util/text.h"

using namespace sternpost;

namespace {

const dkim::PrivateKey& key() {
    static const auto made = dkim::PrivateKey::generate(dkim::Algorithm::ed25519).value();
    return made;
}

void record(const std::string& text) {
    const auto tags = dkim::parse_tags(text);
    if (tags) {
        // What was read, written plainly, reads the same.
        std::string plain;
        for (const auto& [name, value] : *tags) plain += name + "=" + value + ";";
        if (dkim::parse_tags(plain) != tags) std::abort();
    }
    for (const bool reports : {false, true}) {
        const auto seen = dkim::compare({text}, key(), reports);
        if (seen.published == dkim::Published::yes &&
            text.find(key().public_text().substr(0, 8)) == std::string::npos)
            std::abort();
    }
}

void file(std::string_view text) {
    const auto parsed = dkim::parse_key_file("s._domainkey.example.com.pem", text);
    if (!parsed) return;
    const auto again = dkim::parse_key_file(parsed->file(), dkim::key_file(*parsed));
    if (!again || again->state != parsed->state || again->reports_only != parsed->reports_only) std::abort();
}

std::string hash(std::string_view body, dkim::Form form, std::size_t cut) {
    dkim::BodyHash out(form);
    out.feed(body.substr(0, cut));
    out.feed(body.substr(cut));
    const auto digest = out.finish();
    return {digest.begin(), digest.end()};
}

void message(std::string_view text) {
    if (text.empty()) return;
    const std::size_t cut = std::min<std::size_t>(static_cast<unsigned char>(text.front()), text.size() - 1);
    text.remove_prefix(1);
    for (const auto form : {dkim::Form::simple, dkim::Form::relaxed})
        if (hash(text, form, 0) != hash(text, form, cut)) std::abort();
    dkim::MessageHash whole;
    whole.feed(text);
    dkim::MessageHash pieces;
    pieces.feed(text.substr(0, cut));
    pieces.feed(text.substr(cut));
    const bool good = whole.finish().has_value();
    if (good != pieces.finish().has_value()) std::abort();
    if (!good) return;
    if (whole.body_hash() != pieces.body_hash()) std::abort();
    if (whole.header().fields.size() != pieces.header().fields.size()) std::abort();
    (void)dkim::author_domain(whole.header());
    const auto field =
        dkim::signature_field(whole, {dns::Domain::parse("example.com").value(), "s", key()}, {});
    if (!field || mail::read_header(*field).fields.size() != 1) std::abort();
    for (const auto line : split(*field, '\n'))
        if (line.size() > 78) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
    if (data[0] % 3 == 0)
        record(std::string(rest));
    else if (data[0] % 3 == 1)
        file(rest);
    else
        message(rest);
    return 0;
}
