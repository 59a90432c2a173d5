// Which messages of a day's history have a name: an address or a Message-ID. Sorted runs of hashes with the
// messages that they lead to. Runs of a size are merged, so that a look-up reads few of them, and a message
// costs no more than a few octets of sequential writing.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "store/history.h"
#include "store/sqlite/database.h"

namespace sternpost::store::sqlite {

/// Makes the tables. `name`: blocks of entries, by the first entry in each. `name_run`: entries of each run.
extern const char* const history_name_tables;

struct NameEntry {
    std::int64_t hash = 0;  // of the name and of what it names; 63 bits
    std::uint64_t message = 0;
    auto operator<=>(const NameEntry&) const = default;
};

/// The same for names that differ in case alone.
std::int64_t hash_of(NameOf what, std::string_view name);

/// The names of a message, each once.
template <class Message>
std::vector<NameEntry> name_entries(const Message& message);

/// The writing end, of one day's file, inside its transactions.
class HistoryNames {
  public:
    explicit HistoryNames(Database& database);
    /// A run of its own, until there are sixteen of its size.
    void add(std::vector<NameEntry> entries);
    /// Learns again which runs there are: a transaction was rolled back.
    void read_runs();

  private:
    void put(std::int64_t run, std::vector<NameEntry>& block);
    void merge(const std::vector<std::int64_t>& runs);
    /// The first class of run size with enough runs to be merged; empty: none.
    std::vector<std::int64_t> crowded() const;

    Database& database_;
    Statement put_block_, put_run_, drop_blocks_, drop_run_;
    std::map<std::int64_t, std::uint64_t> runs_;  // entries of each
    std::int64_t next_ = 1;
};

/// Messages that may have the name, the newest first and at most `most`, none newer than `last`. A hash may
/// lead to a message with another name.
std::vector<std::uint64_t> look_up(Database& database, std::int64_t hash, MessageId last, std::size_t most);

}  // namespace sternpost::store::sqlite
