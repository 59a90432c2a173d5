#include "store/journal/accepted.h"

#include <algorithm>
#include <cstring>

namespace sternpost::store {
namespace {

enum BodyKind : std::uint8_t { in_record = 1, in_file = 2 };

}  // namespace

BodyRef ref_to(const JournalPlace& place) {
    return {in_record, {place.segment, place.offset}};
}

std::optional<BodyRef> ref_to_file(std::string_view name) {
    const auto id = SubmissionId::parse(name);
    if (!id || id->text() != name) return std::nullopt;
    BodyRef ref{in_file, {}};
    static_assert(sizeof(ref.key) == sizeof(id->octets));
    std::memcpy(ref.key.data(), id->octets.data(), sizeof(ref.key));
    return ref;
}

std::optional<JournalPlace> place_of(const BodyRef& ref) {
    if (ref.kind != in_record) return std::nullopt;
    return JournalPlace{ref.key[0], ref.key[1]};
}

std::string file_of(const BodyRef& ref) {
    if (ref.kind != in_file) return "";
    SubmissionId id;
    std::memcpy(id.octets.data(), ref.key.data(), sizeof(ref.key));
    return id.text();
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
