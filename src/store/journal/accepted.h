// An accepted message as the journal holds it: where its octets are, and what had become of it when its
// record was copied forward.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/message.h"

namespace sternpost::store {

/// Where the journal holds an accept record, and with it a small body.
struct JournalPlace {
    std::uint64_t segment = 0;
    std::uint64_t offset = 0;  // of the record's header in the segment's file
    auto operator<=>(const JournalPlace&) const = default;
};

// What a BodyRef says here: a small body is in its accept record, a large one in a file under `bodies/`.
BodyRef ref_to(const JournalPlace& place);
/// nullopt: `name` is not that of a body's file, which is the text of a SubmissionId.
std::optional<BodyRef> ref_to_file(std::string_view name);
/// nullopt: it is not in the journal.
std::optional<JournalPlace> place_of(const BodyRef& ref);
/// The file's name; empty: it has none.
std::string file_of(const BodyRef& ref);
bool has_file(const Body& body);

/// What had become of a message when its accept record was copied forward in the journal.
struct CopiedState {
    bool held = false;
    bool warned = false;
    std::vector<RecipientProgress> recipients;  // in the message's order
    bool operator==(const CopiedState&) const = default;
};

/// A message that the journal holds. Its body's octets are not kept here.
struct Accepted {
    NewMessage message;                   // body.ref is set
    std::optional<CopiedState> copied{};  // of a copy; its recipients' next hops are those of then

    /// The message as it stood when its record was written.
    StoredMessage stored() const;
};

}  // namespace sternpost::store
