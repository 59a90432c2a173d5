#include "store/sqlite/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "store/hop_group.h"
#include "store/journal/codec.h"
#include "store/sqlite/history_names.h"
#include "util/text.h"

namespace sternpost::store::sqlite {
namespace {

using Days = std::chrono::sys_days;

constexpr const char* folder_name = "history";
constexpr std::chrono::days a_clock_may_err(1);  // ours: an attempt is at most so long before its message
constexpr int history_id = 0x53505148;           // "SPQH"
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

// Fields of `head`: the message, and the entries that came with it (number, what).
enum HeadTag : std::uint64_t { head_message = 1, head_sequence = 2, head_what = 3 };

Days day_of(WallTime time) {
    return std::chrono::floor<std::chrono::days>(time);
}

std::string file_name(Days day) {
    const std::chrono::year_month_day date(day);
    return fmt::format("{:04}-{:02}-{:02}.db", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

std::optional<Days> day_of_file(std::string_view name) {
    if (name.size() != 13 || !name.ends_with(".db")) return std::nullopt;
    const auto year = decimal(name.substr(0, 4));
    const auto month = decimal(name.substr(5, 2));
    const auto day = decimal(name.substr(8, 2));
    if (!year || !month || !day) return std::nullopt;
    const std::chrono::year_month_day date(std::chrono::year(static_cast<int>(*year)),
                                           std::chrono::month(static_cast<unsigned>(*month)),
                                           std::chrono::day(static_cast<unsigned>(*day)));
    if (!date.ok() || file_name(Days(date)) != name) return std::nullopt;
    return Days(date);
}

// The days that have a file, the latest first.
Result<std::vector<Days>> days_kept(Disk& disk) {
    const auto there = disk.exists(folder_name);
    if (!there) return fail(there.error());
    std::vector<Days> out;
    if (!*there) return out;
    const auto names = disk.list(folder_name);
    if (!names) return fail(names.error());
    for (const auto& name : *names)
        if (const auto day = day_of_file(name)) out.push_back(*day);
    std::sort(out.rbegin(), out.rend());
    return out;
}

std::string what_of(RecordType type, const std::string& fields) {
    FieldWriter out;
    out.octets(static_cast<std::uint64_t>(type), fields);
    return out.take();
}

// nullopt: of a type that a later release has made, or damaged.
std::optional<HistoryEntry> entry_of(std::uint64_t sequence, std::string_view what) {
    const auto field = FieldReader(what).next();
    if (!field) return std::nullopt;
    HistoryEntry out;
    out.sequence = sequence;
    const auto take = [&](auto value) {
        if (!value) return false;
        out.at = value->at;
        out.what = std::move(*value);
        return true;
    };
    bool known = false;
    if (field->tag == static_cast<std::uint64_t>(RecordType::result))
        known = take(decode<DeliveryResult>(field->octets));
    if (field->tag == static_cast<std::uint64_t>(RecordType::act)) known = take(decode<Act>(field->octets));
    if (field->tag == static_cast<std::uint64_t>(RecordType::hop))
        known = take(decode<HopState>(field->octets));
    return known ? std::optional(std::move(out)) : std::nullopt;
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

bool has_hop(const StoredMessage& message, const std::string& name) {
    return std::any_of(message.recipients.begin(), message.recipients.end(),
                       [&](const StoredRecipient& r) { return r.address.next_hop == name; });
}

std::optional<MessageId> message_of(const HistoryEntry& entry) {
    if (const auto* result = std::get_if<DeliveryResult>(&entry.what)) return result->message;
    if (const auto* act = std::get_if<Act>(&entry.what)) return act->message;
    return std::nullopt;
}

}  // namespace

HistoryPlace HistoryPlace::beside(Disk& disk, const DatabasePlace& index) {
    const auto slash = index.path.rfind('/');
    const std::string base = slash == std::string::npos ? std::string() : index.path.substr(0, slash + 1);
    return {&disk, base + folder_name + '/', index.vfs};
}

// ---- writing

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

// ---- reading

void HistoryOverlay::add(const JournalEntry& entry) {
    HistoryEntry out;
    out.sequence = entry.sequence;
    if (const auto* accepted = std::get_if<Accepted>(&entry.what)) {
        if (accepted->copied) return;
        messages_.push_back(StoredMessage::of(accepted->message));
        return;
    }
    if (const auto* result = std::get_if<DeliveryResult>(&entry.what)) {
        out.at = result->at;
        out.what = *result;
        std::get<DeliveryResult>(out.what).detail.outcomes.clear();
    } else if (const auto* act = std::get_if<Act>(&entry.what)) {
        out.at = act->at;
        out.what = *act;
    } else if (const auto* hop = std::get_if<HopState>(&entry.what)) {
        out.at = hop->at;
        out.what = *hop;
        std::get<HopState>(out.what).detail.outcomes.clear();
    } else {
        return;
    }
    entries_.push_back(std::move(out));
}

// One answer in the making: what is in several places counts once.
class HistoryAnswer {
  public:
    explicit HistoryAnswer(const HistoryFilter& filter) : filter_(filter) {}

    Result<void> read(const HistoryPlace& place, const HistoryOverlay* beyond);
    History take();

  private:
    bool wanted(const StoredMessage& message) const;
    bool full() const { return messages_.size() >= filter_.limit; }
    void add_message(StoredMessage message);
    void add_head(MessageId id, std::string_view head);
    void add_entry(HistoryEntry entry) { entries_.insert_or_assign(entry.sequence, std::move(entry)); }
    void read_heads(Database& database);
    void read_named(Database& database);
    void read_entries(Database& database, Days day);
    void apply(const HistoryEntry& entry);
    bool at_next_hop(const HistoryEntry& entry) const;
    bool shown(const HistoryEntry& entry) const;

    const HistoryFilter& filter_;
    std::optional<MessageId> id_;
    std::map<MessageId, StoredMessage> messages_;
    std::set<std::string> hops_;
    std::map<std::uint64_t, HistoryEntry> entries_;
    WallTime waited_until_{};
};

bool HistoryAnswer::wanted(const StoredMessage& message) const {
    if (id_ && message.id != *id_) return false;
    return (filter_.next_hop.empty() || has_hop(message, filter_.next_hop)) && has_name(message, filter_);
}

void HistoryAnswer::add_message(StoredMessage message) {
    if (!wanted(message) || message.arrived > filter_.to) return;
    if (id_)
        for (std::size_t n = 0; n < message.recipients.size(); ++n) hops_.insert(hop_of(message, n));
    const MessageId id = message.id;
    messages_.try_emplace(id, std::move(message));
}

void HistoryAnswer::add_head(MessageId id, std::string_view head) {
    FieldReader fields(head);
    std::uint64_t sequence = 0;
    while (const auto field = fields.next()) {
        if (field->tag == head_message) {
            auto message = decode_message(field->octets);
            if (message) add_message(StoredMessage::of(*message));
            if (!messages_.contains(id)) return;
        } else if (field->tag == head_sequence) {
            sequence = field->number().value_or(0);
        } else if (field->tag == head_what) {
            if (auto entry = entry_of(sequence, field->octets)) add_entry(std::move(*entry));
        }
    }
}

void HistoryAnswer::read_heads(Database& database) {
    if (id_) {
        Statement one(database, "SELECT id, head FROM message WHERE id = ?1");
        one.with(id_->value);
        while (one.row()) add_head(MessageId{one.id(0)}, one.octets(1));
        return;
    }
    if (!filter_.name.empty() && database.number("PRAGMA user_version") >= 2) return read_named(database);
    Statement all(
        database,
        "SELECT id, head FROM message WHERE ?1 = '' OR instr(hops, ' ' || ?1 || ' ') > 0 ORDER BY id DESC");
    all.with(filter_.next_hop);
    while (!full() && all.row()) add_head(MessageId{all.id(0)}, all.octets(1));
}

void HistoryAnswer::read_named(Database& database) {
    const MessageId newest =
        filter_.to == WallTime::max() ? MessageId{INT64_MAX} : MessageId::last_at(filter_.to);
    std::set<std::uint64_t, std::greater<>> ids;
    for (const NameOf what : {NameOf::recipient, NameOf::sender, NameOf::message_id})
        if (!filter_.name_of || filter_.name_of == what)
            for (const auto id : look_up(database, hash_of(what, filter_.name), newest, filter_.limit))
                ids.insert(id);
    Statement one(database, "SELECT head FROM message WHERE id = ?1");
    for (const auto id : ids) {
        if (full()) return;
        one.with(id);
        while (one.row()) add_head(MessageId{id}, one.octets(0));
    }
}

void HistoryAnswer::read_entries(Database& database, Days day) {
    Statement attempts(database, "SELECT sequence, what FROM attempt WHERE message = ?1");
    Statement hops(database, "SELECT sequence, what FROM hop WHERE name = ?1");
    const auto take = [&](Statement& rows) {
        while (rows.row())
            if (auto entry = entry_of(rows.id(0), rows.octets(1))) add_entry(std::move(*entry));
    };
    if (id_) take(attempts.with(id_->value));
    for (const auto& [id, message] : messages_)
        if (!id_ && day_of(message.arrived) - a_clock_may_err <= day) take(attempts.with(id.value));
    for (const auto& name : hops_) take(hops.with(name));
}

Result<void> HistoryAnswer::read(const HistoryPlace& place, const HistoryOverlay* beyond) {
    if (!filter_.id.empty()) {
        id_ = MessageId::parse(filter_.id);
        if (!id_) return {};
    }
    if (!filter_.next_hop.empty()) hops_.insert(filter_.next_hop);
    if (beyond != nullptr)
        for (auto it = beyond->messages_.rbegin(); it != beyond->messages_.rend() && !full(); ++it)
            add_message(*it);
    const auto days = days_kept(*place.disk);
    if (!days) return fail(days.error());
    std::vector<std::pair<Days, std::unique_ptr<Database>>> opened;  // the latest first
    for (const Days day : *days) {
        // Nothing was done with a message before it was there.
        if (id_ && day < day_of(id_->time()) - a_clock_may_err) break;
        if (auto database = Database::open({place.folder + file_name(day), place.vfs}, Access::read))
            opened.emplace_back(day, std::move(*database));
    }
    for (const auto& [day, database] : opened) {
        if (full()) break;
        read_heads(*database);
    }
    for (const auto& [day, database] : opened) read_entries(*database, day);
    if (beyond == nullptr) return {};
    for (const auto& entry : beyond->entries_) {
        const auto message = message_of(entry);
        const auto* hop = std::get_if<HopState>(&entry.what);
        if ((message && (messages_.contains(*message) || message == id_)) ||
            (hop != nullptr && hops_.contains(hop->next_hop)))
            add_entry(entry);
    }
    return {};
}

// The recipients as the entries, in the order of the journal, leave them.
void HistoryAnswer::apply(const HistoryEntry& entry) {
    const auto id = message_of(entry);
    const auto it = id ? messages_.find(*id) : messages_.end();
    if (it == messages_.end()) return;
    StoredMessage& message = it->second;
    if (const auto* act = std::get_if<Act>(&entry.what)) {
        if (act->kind == ActKind::hold || act->kind == ActKind::release)
            message.held = act->kind == ActKind::hold;
        for (auto& recipient : message.recipients) {
            if (recipient.state != RecipientState::queued) continue;
            if (act->kind == ActKind::remove) recipient.state = RecipientState::deleted;
            if (act->kind != ActKind::reroute) continue;
            if (!act->from.empty() && recipient.address.next_hop != act->from) continue;
            recipient.address.next_hop = act->to;
            recipient.move_on(act->at);
        }
        return;
    }
    const auto& result = std::get<DeliveryResult>(entry.what);
    if (result.recipient >= message.recipients.size()) return;
    auto& recipient = message.recipients[result.recipient];
    if (recipient.state != RecipientState::queued) return;
    RecipientProgress& progress = recipient;
    progress = RecipientProgress::after(result);
}

// An attempt for the next hop that is asked for; what is no attempt passes.
bool HistoryAnswer::at_next_hop(const HistoryEntry& entry) const {
    const auto* result = std::get_if<DeliveryResult>(&entry.what);
    if (result == nullptr || filter_.next_hop.empty()) return true;
    const auto message = messages_.find(result->message);
    return message == messages_.end() || result->recipient >= message->second.recipients.size() ||
           message->second.recipients[result->recipient].address.next_hop == filter_.next_hop;
}

bool HistoryAnswer::shown(const HistoryEntry& entry) const {
    if (entry.at < filter_.from || entry.at > filter_.to) return false;
    if (!std::holds_alternative<HopState>(entry.what) || !id_) return true;
    // Of its next hops what was while it waited.
    const auto message = messages_.find(*id_);
    return message != messages_.end() && entry.at >= message->second.arrived && entry.at <= waited_until_;
}

History HistoryAnswer::take() {
    std::set<std::uint64_t> at_hop;  // of each entry the next hop that was waited for then counts
    for (const auto& [sequence, entry] : entries_) {
        if (at_next_hop(entry)) at_hop.insert(sequence);
        apply(entry);
        if (id_ && message_of(entry) == id_) waited_until_ = std::max(waited_until_, entry.at);
    }
    if (const auto message = id_ ? messages_.find(*id_) : messages_.end(); message != messages_.end()) {
        const auto& recipients = message->second.recipients;
        const bool waits = std::any_of(recipients.begin(), recipients.end(), [](const StoredRecipient& r) {
            return r.state == RecipientState::queued;
        });
        if (waits) waited_until_ = WallTime::max();
    }
    History out;
    for (const auto& [sequence, entry] : entries_)
        if (at_hop.contains(sequence) && shown(entry)) out.entries.push_back(entry);
    std::stable_sort(out.entries.begin(), out.entries.end(),
                     [](const HistoryEntry& a, const HistoryEntry& b) { return a.at < b.at; });
    if (out.entries.size() > filter_.entry_limit)
        out.entries.erase(out.entries.begin(),
                          out.entries.end() - static_cast<std::ptrdiff_t>(filter_.entry_limit));
    std::set<MessageId> spoken_of;
    for (const auto& entry : out.entries)
        if (const auto message = message_of(entry)) spoken_of.insert(*message);
    for (auto& [id, message] : messages_)
        if (id_ || message.arrived >= filter_.from || spoken_of.contains(id))
            out.messages.push_back(std::move(message));
    return out;
}

Result<History> read_history(const HistoryPlace& place, const HistoryFilter& filter,
                             const HistoryOverlay* beyond) {
    HistoryAnswer answer(filter);
    if (auto read = answer.read(place, beyond); !read) return fail(std::move(read).error());
    return answer.take();
}

}  // namespace sternpost::store::sqlite
