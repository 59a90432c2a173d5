#include "store/journal/accepted.h"

#include <algorithm>

namespace sternpost::store {
namespace {

enum BodyKind : std::uint8_t { in_record = 1, in_file = 2 };
constexpr std::size_t name_digits = 32;

}  // namespace

BodyRef ref_to(const JournalPlace& place) {
    return {in_record, {place.segment, place.offset}};
}

std::optional<BodyRef> ref_to_file(std::string_view name) {
    if (name.size() != name_digits) return std::nullopt;
    BodyRef ref{in_file, {}};
    for (std::size_t n = 0; n < name.size(); ++n) {
        const auto digit = std::string_view("0123456789abcdef").find(name[n]);
        if (digit == std::string_view::npos) return std::nullopt;
        std::uint64_t& half = ref.key[n / (name_digits / 2)];
        half = half << 4U | digit;
    }
    return ref;
}

std::optional<JournalPlace> place_of(const BodyRef& ref) {
    if (ref.kind != in_record) return std::nullopt;
    return JournalPlace{ref.key[0], ref.key[1]};
}

std::string file_of(const BodyRef& ref) {
    if (ref.kind != in_file) return "";
    std::string name;
    for (const std::uint64_t half : ref.key)
        for (unsigned shift = 64; shift > 0; shift -= 4)
            name += "0123456789abcdef"[half >> (shift - 4U) & 15U];
    return name;
}

bool has_file(const Body& body) {
    return body.ref.kind == in_file;
}

StoredMessage Accepted::stored() const {
    StoredMessage out = StoredMessage::of(message);
    if (!copied) return out;
    out.held = copied->held;
    out.warned = copied->warned;
    for (std::size_t n = 0; n < std::min(out.recipients.size(), copied->recipients.size()); ++n) {
        RecipientProgress& progress = out.recipients[n];
        progress = copied->recipients[n];
    }
    return out;
}

}  // namespace sternpost::store
