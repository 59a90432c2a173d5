// Whether the index is sound and its rows agree with one another, and what mends them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "store/journal/segment.h"
#include "store/open.h"
#include "store/sqlite/database.h"

namespace sternpost::store::sqlite {

/// Where the index says that messages are, and how far it has read the journal.
struct IndexContents {
    struct Expected {
        MessageId id;
        std::uint64_t size = 0;  // of its body
    };
    std::uint64_t messages = 0;
    std::map<std::uint64_t, std::map<std::uint64_t, Expected>> in_journal;  // by segment and offset
    std::map<std::string, std::uint64_t> body_sizes;  // of messages whose body is a file, by its name
    JournalPosition position;
};

/// One look at an index. With `mend` it changes what it can, each rule in a transaction of its own; without,
/// it sees one moment of a running daemon.
class IndexCheck {
  public:
    /// Errors: not_found, newer_schema, busy (an earlier release has made it), damaged, io.
    static Result<IndexCheck> open(const DatabasePlace& place, bool mend);

    /// What SQLite finds wrong with the file, a sentence each, at most 20. Empty: it is sound. Reads all of
    /// it, some seconds for a gigabyte. An index that cannot be read counts as damaged.
    std::vector<std::string> damage();
    /// Rows that contradict each other, at most 20 of a rule and the number of the rest.
    std::vector<SpoolFinding> wrong_rows();
    /// Errors: damaged, io.
    Result<IndexContents> contents();

  private:
    struct Rule;
    IndexCheck(std::unique_ptr<Database> database, bool empty, bool mend)
        : database_(std::move(database)), empty_(empty), mend_(mend) {}
    void look(const Rule& rule, std::vector<SpoolFinding>& findings);

    std::unique_ptr<Database> database_;
    bool empty_;  // it has no tables yet
    bool mend_;
};

/// Whether it is the index that is damaged, and not the journal. Reads all of it.
bool is_damaged(const DatabasePlace& index);
/// What is wrong with a database file of any kind, in a sentence; empty: nothing. Reads all of it.
std::string damage_of(const DatabasePlace& place);

}  // namespace sternpost::store::sqlite
