#include "store/sqlite/history_names.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <queue>
#include <set>
#include <string>

#include "util/text.h"

namespace sternpost::store::sqlite {

const char* const history_name_tables = R"sql(
CREATE TABLE name (
    run INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    message INTEGER NOT NULL,
    entries BLOB NOT NULL,
    PRIMARY KEY (run, hash, message)
) WITHOUT ROWID;
CREATE TABLE name_run (
    run INTEGER PRIMARY KEY,
    entries INTEGER NOT NULL
);
)sql";

namespace {

constexpr std::size_t block_entries = 240;         // with its key just within a page of 4,096 octets
constexpr std::size_t fan = 16;                    // runs of a size that are merged
constexpr std::uint64_t largest_merge = 4U << 20;  // entries: a larger run stays as it is
constexpr std::size_t entry_size = 16;

void put_number(std::string& out, std::uint64_t number) {
    for (int shift = 0; shift < 64; shift += 8) out += static_cast<char>(number >> shift & 0xffU);
}

std::uint64_t number_at(std::string_view octets, std::size_t at) {
    std::uint64_t out = 0;
    for (std::size_t n = 8; n-- > 0;) out = out << 8U | static_cast<unsigned char>(octets[at + n]);
    return out;
}

NameEntry entry_at(std::string_view block, std::size_t n) {
    return {static_cast<std::int64_t>(number_at(block, n * entry_size)),
            number_at(block, n * entry_size + 8)};
}

std::size_t size_class(std::uint64_t entries) {
    return std::size_t{std::bit_width(entries)} / std::bit_width(fan - 1);
}

// Reads one run from its beginning to its end.
class RunReader {
  public:
    RunReader(Database& database, std::int64_t run)
        : blocks_(database, "SELECT entries FROM name WHERE run = ?1 ORDER BY hash, message") {
        blocks_.with(run);
        next();
    }
    bool done() const { return done_; }
    const NameEntry& entry() const { return entry_; }
    void next() {
        while ((at_ + 1) * entry_size > block_.size()) {
            if (!blocks_.row()) {
                done_ = true;
                return;
            }
            block_ = blocks_.text(0);
            at_ = 0;
        }
        entry_ = entry_at(block_, at_++);
    }

  private:
    Statement blocks_;
    std::string block_;
    std::size_t at_ = 0;
    NameEntry entry_;
    bool done_ = false;
};

}  // namespace

// FNV-1a, and its bits mixed. It never changes: files keep what it gave.
std::int64_t hash_of(NameOf what, std::string_view name) {
    std::uint64_t hash = 14695981039346656037U;
    const auto add = [&hash](unsigned char octet) { hash = (hash ^ octet) * 1099511628211U; };
    add(static_cast<unsigned char>(what));
    for (const char c : name) add(static_cast<unsigned char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c));
    hash = (hash ^ hash >> 30U) * 0xbf58476d1ce4e5b9U;
    hash = (hash ^ hash >> 27U) * 0x94d049bb133111ebU;
    return static_cast<std::int64_t>((hash ^ hash >> 31U) >> 1U);
}

template <class Message>
std::vector<NameEntry> name_entries(const Message& message) {
    std::vector<NameEntry> out;
    for_each_name(message, [&](NameOf what, std::string_view name) {
        out.push_back({hash_of(what, name), message.id.value});
    });
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}
template std::vector<NameEntry> name_entries(const NewMessage& message);
template std::vector<NameEntry> name_entries(const StoredMessage& message);

HistoryNames::HistoryNames(Database& database)
    : database_(database),
      put_block_(database, "INSERT INTO name VALUES (?1, ?2, ?3, ?4)"),
      put_run_(database, "INSERT INTO name_run VALUES (?1, ?2)"),
      drop_blocks_(database, "DELETE FROM name WHERE run = ?1"),
      drop_run_(database, "DELETE FROM name_run WHERE run = ?1") {
    read_runs();
}

void HistoryNames::read_runs() {
    runs_.clear();
    Statement all(database_, "SELECT run, entries FROM name_run");
    while (all.row()) runs_[all.integer(0)] = all.id(1);
    next_ = runs_.empty() ? 1 : runs_.rbegin()->first + 1;
}

void HistoryNames::put(std::int64_t run, std::vector<NameEntry>& block) {
    if (block.empty()) return;
    std::string octets;
    octets.reserve(block.size() * entry_size);
    for (const auto& entry : block) {
        put_number(octets, static_cast<std::uint64_t>(entry.hash));
        put_number(octets, entry.message);
    }
    put_block_.with(run, block.front().hash, block.front().message, Blob{octets}).run();
    block.clear();
}

void HistoryNames::add(std::vector<NameEntry> entries) {
    if (entries.empty()) return;
    std::sort(entries.begin(), entries.end());
    const std::int64_t run = next_++;
    std::vector<NameEntry> block;
    for (const auto& entry : entries) {
        block.push_back(entry);
        if (block.size() == block_entries) put(run, block);
    }
    put(run, block);
    put_run_.with(run, std::uint64_t{entries.size()}).run();
    runs_[run] = entries.size();
    for (auto full = crowded(); !full.empty() && !database_.failed(); full = crowded()) merge(full);
}

std::vector<std::int64_t> HistoryNames::crowded() const {
    std::map<std::size_t, std::vector<std::int64_t>> classes;
    for (const auto& [run, entries] : runs_)
        if (entries <= largest_merge) classes[size_class(entries)].push_back(run);
    for (auto& [size, runs] : classes)
        if (runs.size() >= fan) return std::move(runs);
    return {};
}

void HistoryNames::merge(const std::vector<std::int64_t>& runs) {
    std::vector<std::unique_ptr<RunReader>> readers;
    const auto later = [&readers](std::size_t a, std::size_t b) {
        return readers[a]->entry() > readers[b]->entry();
    };
    std::priority_queue<std::size_t, std::vector<std::size_t>, decltype(later)> first(later);
    for (const std::int64_t run : runs) {
        readers.push_back(std::make_unique<RunReader>(database_, run));
        if (!readers.back()->done()) first.push(readers.size() - 1);
    }
    const std::int64_t into = next_++;
    std::uint64_t count = 0;
    std::vector<NameEntry> block;
    while (!first.empty()) {
        const std::size_t n = first.top();
        first.pop();
        block.push_back(readers[n]->entry());
        ++count;
        if (block.size() == block_entries) put(into, block);
        readers[n]->next();
        if (!readers[n]->done()) first.push(n);
    }
    readers.clear();
    put(into, block);
    put_run_.with(into, count).run();
    for (const std::int64_t run : runs) {
        drop_blocks_.with(run).run();
        drop_run_.with(run).run();
        runs_.erase(run);
    }
    runs_[into] = count;
}

std::vector<std::uint64_t> look_up(Database& database, std::int64_t hash, MessageId last, std::size_t most) {
    std::vector<std::int64_t> runs;
    Statement all(database, "SELECT run FROM name_run");
    while (all.row()) runs.push_back(all.integer(0));
    Statement blocks(database,
                     "SELECT hash, entries FROM name WHERE run = ?1 AND (hash, message) <= (?2, ?3) "
                     "ORDER BY hash DESC, message DESC");
    std::set<std::uint64_t, std::greater<>> found;
    for (const std::int64_t run : runs) {
        std::size_t of_run = 0;
        blocks.with(run, hash, last.value);
        bool more = true;
        while (more && blocks.row()) {
            const std::string_view block = blocks.octets(1);
            const std::size_t size = block.size() / entry_size;
            for (std::size_t n = size; n-- > 0 && of_run < most;) {
                const NameEntry entry = entry_at(block, n);
                if (entry.hash != hash || entry.message > last.value) continue;
                found.insert(entry.message);
                ++of_run;
            }
            // What has the hash can be in the block before this one if this one begins with it.
            more = blocks.integer(0) == hash && of_run < most;
        }
        blocks.reset();
    }
    std::vector<std::uint64_t> out(found.begin(), found.end());
    if (out.size() > most) out.resize(most);
    return out;
}

}  // namespace sternpost::store::sqlite
