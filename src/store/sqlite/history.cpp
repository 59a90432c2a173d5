#include "store/sqlite/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "store/journal/codec.h"
#include "store/sqlite/history_layout.h"
#include "store/sqlite/history_names.h"

namespace sternpost::store::sqlite {
namespace {

constexpr int history_id = 0x53505148;  // "SPQH"
constexpr int history_schema = 2;
constexpr const char* tables = R"sql(
-- Messages accepted on this day. hops: the names of the next hops with a blank before and behind each. head: fields
-- (HeadTag). attempt and hop: by the number of the record in the journal; `what` is one field, its tag the
-- record's type.
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    hops TEXT NOT NULL,
    head BLOB NOT NULL
);
CREATE TABLE attempt (
    message INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    what BLOB NOT NULL,
    PRIMARY KEY (message, sequence)
) WITHOUT ROWID;
CREATE TABLE hop (
    name TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    what BLOB NOT NULL,
    PRIMARY KEY (name, sequence)
) WITHOUT ROWID;
)sql";

std::string what_of(RecordType type, const std::string& fields) {
    FieldWriter out;
    out.octets(static_cast<std::uint64_t>(type), fields);
    return out.take();
}

std::optional<NewMessage> message_of_head(std::string_view head) {
    FieldReader fields(head);
    while (const auto field = fields.next())
        if (field->tag == head_message)
            if (auto message = decode_message(field->octets)) return std::move(*message);
    return std::nullopt;
}

std::string hops_of(const NewMessage& message) {
    std::set<std::string_view> names;
    for (const auto& recipient : message.recipients) names.insert(recipient.next_hop);
    std::string out = " ";
    for (const auto name : names) out += std::string(name) + ' ';
    return out;
}

// Files of the first schema have no names.
void name_messages(Database& database) {
    std::vector<NameEntry> names;
    Statement all(database, "SELECT head FROM message");
    while (all.row())
        if (const auto message = message_of_head(all.octets(0)))
            for (const auto& entry : name_entries(*message)) names.push_back(entry);
    HistoryNames(database).add(std::move(names));
}

}  // namespace

HistoryPlace HistoryPlace::beside(Disk& disk, const DatabasePlace& index) {
    const auto slash = index.path.rfind('/');
    const std::string base = slash == std::string::npos ? std::string() : index.path.substr(0, slash + 1);
    return {&disk, base + folder_name + '/', index.vfs};
}

struct HistoryFiles::Day {
    explicit Day(std::unique_ptr<Database> opened)
        : database(std::move(opened)),
          add_message(*database, "INSERT OR IGNORE INTO message VALUES (?1, ?2, ?3)"),
          get_head(*database, "SELECT head FROM message WHERE id = ?1"),
          set_head(*database, "UPDATE message SET head = ?2 WHERE id = ?1"),
          add_attempt(*database, "INSERT OR REPLACE INTO attempt VALUES (?1, ?2, ?3)"),
          add_hop(*database, "INSERT OR REPLACE INTO hop VALUES (?1, ?2, ?3)"),
          names(*database) {}

    std::unique_ptr<Database> database;
    /// False: it was there already.
    bool add(const NewMessage& message, const std::string& entries);

    Statement add_message, get_head, set_head, add_attempt, add_hop;
    HistoryNames names;
    bool unsynced = true;
};

struct HistoryFiles::Rows {
    struct Message {
        const NewMessage* message = nullptr;
        std::string entries;  // those that go into its row
    };
    struct Entry {
        std::uint64_t sequence = 0;
        std::string what;
    };
    std::map<std::uint64_t, Message> messages;
    std::map<std::uint64_t, std::vector<Entry>> attempts;
    std::map<std::string, std::vector<Entry>> hops;
};

// A row that is there already is of an earlier time when the journal was read. It may hold entries that the
// journal has no more, and may lack some that went with the power.
bool HistoryFiles::Day::add(const NewMessage& message, const std::string& entries) {
    FieldWriter first;
    first.octets(head_message, encode_for_history(message));
    const std::string head = first.take() + entries;
    if (add_message.with(message.id.value, hops_of(message), Blob{head}).changed()) return true;
    std::string known;
    if (get_head.with(message.id.value).row()) known = get_head.text(0);
    get_head.reset();
    if (known.find(entries) == std::string::npos)
        set_head.with(message.id.value, Blob{known + entries}).run();
    return false;
}

HistoryFiles::HistoryFiles(HistoryPlace place, std::chrono::days kept)
    : place_(std::move(place)), kept_(kept) {}
HistoryFiles::~HistoryFiles() = default;

Result<HistoryFiles::Day*> HistoryFiles::open(Days day) {
    if (const auto it = open_.find(day); it != open_.end()) return it->second.get();
    if (!folder_made_) {
        if (auto made = place_.disk->make_dir(folder_name); !made) return fail(std::move(made).error());
        folder_made_ = true;
    }
    const std::string name = file_name(day);
    // Made here and not by SQLite, so that no one else may read it.
    if (auto file = place_.disk->open(std::string(folder_name) + '/' + name, OpenMode::create); !file)
        return fail(std::move(file).error());
    entries_unsynced_ = true;
    auto database = Database::open({place_.folder + name, place_.vfs}, Access::write);
    if (!database) return fail(std::move(database).error());
    const auto version = (*database)->number("PRAGMA user_version");
    if (version > history_schema)
        return fail(Errc::newer_schema, name + " was made by a later release of Sternpost");
    if (version < history_schema) {
        const auto made = (*database)->transaction([&] {
            if (version == 0) (*database)->run(tables);
            (*database)->run(history_name_tables);
            if (version == 1) name_messages(**database);
            (*database)->run(fmt::format("PRAGMA application_id = {}", history_id).c_str());
            (*database)->run(fmt::format("PRAGMA user_version = {}", history_schema).c_str());
        });
        if (!made) return fail(made.error());
    }
    auto opened = std::make_unique<Day>(std::move(*database));
    if (auto error = opened->database->take_error()) return fail(std::move(*error));
    return open_.emplace(day, std::move(opened)).first->second.get();
}

Result<void> HistoryFiles::write(Days day, const Rows& rows) {
    auto opened = open(day);
    if (!opened) return fail(std::move(opened).error());
    Day& file = **opened;
    file.unsynced = true;
    auto done = file.database->transaction([&] {
        std::vector<NameEntry> names;
        for (const auto& [id, message] : rows.messages)
            if (file.add(*message.message, message.entries))
                for (const auto& entry : name_entries(*message.message)) names.push_back(entry);
        file.names.add(std::move(names));
        for (const auto& [id, entries] : rows.attempts)
            for (const auto& entry : entries)
                file.add_attempt.with(id, entry.sequence, Blob{entry.what}).run();
        for (const auto& [name, entries] : rows.hops)
            for (const auto& entry : entries) file.add_hop.with(name, entry.sequence, Blob{entry.what}).run();
    });
    sync_failed_ = sync_failed_ || file.database->sync_failed();
    if (!done) file.names.read_runs();
    return done;
}

Result<void> HistoryFiles::apply(std::span<const JournalEntry> entries, WallTime now) {
    const Days oldest = day_of(now) - kept_;
    std::map<Days, Rows> days;
    const auto rows_at = [&](WallTime at) -> Rows* {
        const Days day = day_of(at);
        return day > oldest ? &days[day] : nullptr;
    };
    const auto add = [&](MessageId message, WallTime at, std::uint64_t sequence, std::string what) {
        Rows* rows = rows_at(at);
        if (rows == nullptr) return;
        const auto fresh = rows->messages.find(message.value);
        if (fresh == rows->messages.end()) {
            rows->attempts[message.value].push_back({sequence, std::move(what)});
            return;
        }
        FieldWriter one;
        one.number(head_sequence, sequence);
        one.octets(head_what, what);
        fresh->second.entries += one.take();
    };
    for (const auto& entry : entries) {
        if (const auto* accepted = std::get_if<Accepted>(&entry.what)) {
            if (accepted->copied) continue;  // known, and nothing happened to it
            if (Rows* rows = rows_at(accepted->message.arrived))
                rows->messages[accepted->message.id.value].message = &accepted->message;
        } else if (const auto* result = std::get_if<DeliveryResult>(&entry.what)) {
            add(result->message, result->at, entry.sequence,
                what_of(RecordType::result, encode(*result, WithOutcomes::no)));
        } else if (const auto* act = std::get_if<Act>(&entry.what)) {
            add(act->message, act->at, entry.sequence, what_of(RecordType::act, encode(*act)));
        } else if (const auto* hop = std::get_if<HopState>(&entry.what)) {
            if (Rows* rows = rows_at(hop->at))
                rows->hops[hop->next_hop].push_back(
                    {entry.sequence, what_of(RecordType::hop, encode(*hop, WithOutcomes::no))});
        }
    }
    Result<void> out;
    for (const auto& [day, rows] : days)
        if (auto written = write(day, rows); !written) out = std::move(written);
    return out;
}

Result<bool> HistoryFiles::checkpoint(WallTime now) {
    bool whole = true;
    for (auto it = open_.begin(); it != open_.end();) {
        Day& file = *it->second;
        if (file.unsynced) {
            const auto done = file.database->checkpoint(false);
            sync_failed_ = sync_failed_ || file.database->sync_failed();
            if (!done) return fail(done.error());
            file.unsynced = !*done;
        }
        whole = whole && !file.unsynced;
        it = !file.unsynced && it->first < day_of(now) ? open_.erase(it) : std::next(it);
    }
    if (whole && entries_unsynced_) {
        auto synced = place_.disk->sync_dir(folder_name);
        if (synced) synced = place_.disk->sync_dir("");
        if (!synced) {
            sync_failed_ = true;
            return fail(std::move(synced).error());
        }
        entries_unsynced_ = false;
    }
    return whole;
}

Result<void> HistoryFiles::forget(WallTime now) {
    const Days oldest = day_of(now) - kept_;
    const auto days = days_kept(*place_.disk);
    if (!days) return fail(days.error());
    for (const Days day : *days) {
        if (day > oldest) continue;
        open_.erase(day);
        const std::string name = std::string(folder_name) + '/' + file_name(day);
        // The WAL first: without its database it would be taken for that of the next one of this name.
        for (const char* suffix : {"-wal", "-shm", ""}) {
            const auto there = place_.disk->exists(name + suffix);
            if (!there) return fail(there.error());
            if (!*there) continue;
            if (auto removed = place_.disk->unlink(name + suffix); !removed) return removed;
        }
    }
    return {};
}

int HistoryFiles::wal_pages() const {
    int pages = 0;
    for (const auto& [day, file] : open_) pages += file->database->wal_pages();
    return pages;
}

}  // namespace sternpost::store::sqlite
