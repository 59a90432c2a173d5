#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "store/engine/damage.h"
#include "store/engine/layout.h"
#include "store/journal/body.h"
#include "store/journal/codec.h"
#include "store/journal/journal.h"
#include "store/open.h"
#include "store/sqlite/database.h"
#include "store/sqlite/schema.h"
#include "util/file.h"

namespace sternpost::store::engine {
namespace {

constexpr int looks_while_running = 3;       // ours: what stays wrong so often is wrong
constexpr std::size_t most_findings = 1000;  // ours: of one rule; the rest is counted
constexpr std::uint64_t alignment = 8;

// What each hop's row is to say of those that wait for it (see doc/formats.md).
constexpr const char* wrong_hops =
    "SELECT h.name FROM hop h WHERE h.waiting <> "
    "(SELECT count(*) FROM recipient r WHERE r.hop = h.id AND r.state = 0) OR "
    "(h.waiting > 0 AND (h.due_at = 9223372036854775807) <> (NOT EXISTS "
    "(SELECT 1 FROM recipient r WHERE r.hop = h.id AND r.state = 0 AND r.tier < 2)))";
constexpr const char* mend_hops =
    "UPDATE hop SET waiting = (SELECT count(*) FROM recipient r WHERE r.hop = hop.id AND r.state = 0);"
    "UPDATE hop SET due_at = max(next_at, ifnull((SELECT min(CASE r.tier WHEN 0 THEN 0 ELSE r.next_at END) "
    "FROM recipient r WHERE r.hop = hop.id AND r.state = 0 AND r.tier < 2), 9223372036854775807))";

constexpr const char* wrong_messages =
    "SELECT m.id FROM message m WHERE m.unfinished <> "
    "(SELECT count(*) FROM recipient r WHERE r.message = m.id AND r.state = 0) OR m.unfinished = 0";
constexpr const char* mend_messages =
    "UPDATE message SET unfinished = (SELECT count(*) FROM recipient r WHERE r.message = message.id AND "
    "r.state = 0);"
    "DELETE FROM recipient WHERE message IN (SELECT id FROM message WHERE unfinished = 0);"
    "DELETE FROM message WHERE unfinished = 0";

constexpr const char* lost_recipients =
    "SELECT DISTINCT r.message FROM recipient r WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.id = "
    "r.message) "
    "OR NOT EXISTS (SELECT 1 FROM hop h WHERE h.id = r.hop)";
constexpr const char* mend_recipients =
    "DELETE FROM recipient WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.id = recipient.message)";

constexpr const char* wrong_segments =
    "SELECT s.id FROM segment s WHERE s.messages <> (SELECT count(*) FROM message m WHERE m.segment = s.id) "
    "OR "
    "s.recipients <> (SELECT total(unfinished) FROM message m WHERE m.segment = s.id) OR "
    "s.octets <> (SELECT total(size) FROM message m WHERE m.segment = s.id)";
constexpr const char* mend_segments =
    "UPDATE segment SET messages = (SELECT count(*) FROM message m WHERE m.segment = segment.id), "
    "recipients = (SELECT total(unfinished) FROM message m WHERE m.segment = segment.id), "
    "octets = (SELECT total(size) FROM message m WHERE m.segment = segment.id)";

// One look at everything.
class Look {
  public:
    Look(Disk& disk, std::string state_dir) : disk_(disk), state_dir_(std::move(state_dir)) {}

    Result<SpoolReport> run(bool mend);

  private:
    void say(const std::string& rule, std::string text, std::string repair = "", bool repaired = false);
    Result<void> index(sqlite::Database& database, bool mend);
    void rows(sqlite::Database& database, bool mend, const char* rule, const char* wrong, const char* what,
              const char* mend_sql, const char* repair);
    Result<void> places(sqlite::Database& database);
    Result<void> journal();
    void segment(std::uint64_t id, std::string_view octets, bool last);
    Result<void> files(bool mend);
    Result<void> history();

    Disk& disk_;
    std::string state_dir_;
    SpoolReport report_;
    JournalPosition position_;
    std::map<std::string, std::uint64_t> body_sizes_;  // that messages have
    std::map<std::uint64_t, std::map<std::uint64_t, std::pair<std::uint64_t, std::uint64_t>>>
        wanted_;  // by segment and offset: id and size of the message that is to be there
    std::set<std::string> bodies_to_come_;  // of records that the index has not read
    std::map<std::string, std::size_t> said_;
    std::map<std::string, SpoolFinding> more_;  // by rule, one for all beyond the limit
};

// Those beyond the limit are one finding, which is repaired when each of them is.
void Look::say(const std::string& rule, std::string text, std::string repair, bool repaired) {
    const std::size_t count = ++said_[rule];
    if (count <= most_findings) {
        report_.findings.push_back({rule, std::move(text), std::move(repair), repaired});
        return;
    }
    const auto [more, first] = more_.try_emplace(rule);
    const bool all = repaired && (first || more->second.repaired);
    more->second = {rule, fmt::format("and {} more", count - most_findings), std::move(repair), all};
}

void Look::rows(sqlite::Database& database, bool mend, const char* rule, const char* wrong, const char* what,
                const char* mend_sql, const char* repair) {
    std::vector<SpoolFinding> found;
    std::size_t more = 0;
    {
        sqlite::Statement row(database, wrong);
        while (row.row()) {
            if (found.size() >= 20)
                ++more;
            else
                found.push_back({rule, fmt::format("{} {}", what, row.text(0)), repair, false});
        }
    }
    if (found.empty()) return;
    if (more > 0) found.push_back({rule, fmt::format("and {} more", more), repair, false});
    if (mend && mend_sql != nullptr) {
        const auto done = database.transaction([&] { database.run(mend_sql); });
        for (auto& finding : found) finding.repaired = done.has_value();
    }
    std::move(found.begin(), found.end(), std::back_inserter(report_.findings));
}

// Where the index says that messages are.
Result<void> Look::places(sqlite::Database& database) {
    sqlite::Statement row(database, "SELECT id, segment, offset, size, file FROM message");
    while (row.row()) {
        ++report_.messages;
        if (row.octets(4).empty())
            wanted_[row.id(1)][row.id(2)] = {row.id(0), row.id(3)};
        else
            body_sizes_[row.text(4)] = row.id(3);
    }
    sqlite::Statement position(database, "SELECT segment, offset, sequence FROM position");
    if (position.row()) position_ = {position.id(0), position.id(1), position.id(2)};
    position.reset();
    if (auto error = database.take_error()) return fail(std::move(*error));
    return {};
}

Result<void> Look::index(sqlite::Database& database, bool mend) {
    {
        sqlite::Statement sound(database, "PRAGMA quick_check(20)");
        while (sound.row())
            if (sound.octets(0) != "ok")
                say("index-damaged", "queue.db: " + sound.text(0),
                    "queue.db is set aside as queue.db.damaged; the next start rebuilds it from the journal "
                    "and holds "
                    "all mail until it is released");
    }
    if (auto error = database.take_error())
        say("index-damaged", "queue.db: " + error->text,
            "queue.db is set aside as queue.db.damaged; the next start rebuilds it from the journal and "
            "holds "
            "all mail "
            "until it is released");
    if (!report_.findings.empty()) return {};
    rows(database, mend, "index-recipients", lost_recipients,
         "a recipient has no message, or no next hop: message", mend_recipients,
         "recipients without a message are dropped");
    rows(database, mend, "index-messages", wrong_messages,
         "the count of unfinished recipients is wrong: message", mend_messages,
         "recounted; messages without an unfinished recipient are dropped");
    rows(database, mend, "index-segments", wrong_segments, "the count of what lives in it is wrong: segment",
         mend_segments, "recounted");
    rows(database, mend, "index-hops", wrong_hops,
         "the count of who waits for it, or when, is wrong: next hop", mend_hops, "recounted");
    return places(database);
}

// Every record up to the end, and the messages that are to be there.
void Look::segment(std::uint64_t id, std::string_view octets, bool last) {
    const std::string name = segment_name(id);
    auto wanted = wanted_.find(id);
    const auto header = decode_segment_header(octets, id);
    if (!header) {
        const bool needed = wanted != wanted_.end();
        if (needed || (!last && id < position_.segment))
            say("journal-header", name + ": its header is damaged" + (needed ? "; messages are in it" : ""));
        return;
    }
    std::uint64_t offset = records_begin;
    while (const auto record = decode_record(octets, offset, *header)) {
        ++report_.records;
        // Mail that the index has not heard of yet has its body all the same.
        const bool beyond = id > position_.segment || (id == position_.segment && offset >= position_.offset);
        if (beyond && static_cast<RecordType>(record->type) == RecordType::accept)
            if (const auto read = decode_message(record->fields); read && !read->body.file.empty())
                bodies_to_come_.insert(read->body.file);
        if (record->body_damaged)
            say("journal-body",
                fmt::format("{}: the text of the message at octet {} is damaged", name, offset));
        if (wanted != wanted_.end()) {
            const auto message = wanted->second.find(offset);
            if (message != wanted->second.end() &&
                static_cast<RecordType>(record->type) == RecordType::accept) {
                const auto read = decode_message(record->fields);
                if (read && read->id.value == message->second.first &&
                    read->body.size == message->second.second)
                    wanted->second.erase(message);
            }
        }
        offset += record->size;
    }
    // Behind the last record nothing sound may follow: it was acknowledged, and something before it is lost.
    for (std::uint64_t at = offset + alignment; at < octets.size(); at += alignment) {
        const auto record = decode_record(octets, at, *header);
        if (!record) continue;
        say("journal-gap",
            fmt::format("{}: octets {} to {} cannot be read, and sound records follow", name, offset, at));
        break;
    }
    if (id == position_.segment && position_.offset > offset)
        say("journal-short",
            fmt::format("{}: its records end at octet {}, but the index has read it up to {}", name, offset,
                        position_.offset));
}

Result<void> Look::journal() {
    const auto ids = segments(disk_);
    if (!ids) return fail(ids.error());
    for (const auto id : *ids) {
        const auto octets = read_all(disk_, segment_name(id));
        if (!octets && octets.error().code == Errc::not_found) continue;  // gone meanwhile
        if (!octets) return fail(octets.error());
        ++report_.segments;
        segment(id, *octets, id == ids->back());
    }
    for (const auto& [id, messages] : wanted_)
        for (const auto& [offset, message] : messages)
            say("message-place", fmt::format("message {} is to be at octet {} of {}, and is not there",
                                             MessageId{message.first}.text(), offset, segment_name(id)));
    return {};
}

// Bodies and done-files that nobody has, bodies that are not there.
Result<void> Look::files(bool mend) {
    const auto bodies = disk_.list("bodies");
    if (!bodies) return fail(bodies.error());
    const auto drop = [&](const std::string& rule, const std::string& path, std::string text) {
        const bool removed = mend && disk_.unlink(path).has_value();
        say(rule, std::move(text), "it is removed", removed);
    };
    for (const auto& name : *bodies) {
        ++report_.bodies;
        const auto wanted = body_sizes_.find(name);
        if (wanted == body_sizes_.end() && bodies_to_come_.contains(name)) continue;
        if (wanted == body_sizes_.end()) {
            drop("body-without-message", body_path(name),
                 body_path(name) + ": no message in the index has it");
            continue;
        }
        auto file = disk_.open(body_path(name), OpenMode::read);
        const auto size = file ? (*file)->size() : Result<std::uint64_t>(fail(file.error()));
        if (!size || *size != wanted->second)
            say("body-size", fmt::format("{}: {} octets are to be there{}", body_path(name), wanted->second,
                                         size ? fmt::format(", {} are", *size) : ", it cannot be read"));
        body_sizes_.erase(wanted);
    }
    for (const auto& [name, size] : body_sizes_)
        say("body-missing",
            body_path(name) + ": a message has it, and it is not there; its sender will be told");
    const auto names = disk_.list("journal");
    if (!names) return fail(names.error());
    for (const std::string& name : *names) {
        if (!name.ends_with(".done")) continue;
        const std::string of = name.substr(0, name.size() - 5) + ".seg";
        if (std::find(names->begin(), names->end(), of) == names->end())
            drop("done-without-segment", "journal/" + name, "journal/" + name + ": its segment is gone");
    }
    return {};
}

Result<void> Look::history() {
    const auto there = disk_.exists("history");
    if (!there || !*there) return {};
    const auto names = disk_.list("history");
    if (!names) return fail(names.error());
    for (const std::string& name : *names) {
        if (!name.ends_with(".db")) continue;
        auto database = sqlite::Database::open({state_dir_ + "/history/" + name, ""}, sqlite::Access::read);
        std::string wrong = database ? "" : database.error().text;
        if (database) {
            sqlite::Statement sound(**database, "PRAGMA quick_check(1)");
            if (sound.row() && sound.octets(0) != "ok") wrong = sound.text(0);
            sound.reset();
            if (auto error = (*database)->take_error()) wrong = error->text;
        }
        if (!wrong.empty())
            say("history-damaged",
                "history/" + name + ": " + wrong +
                    "; it is for people, no mail depends on it: move it away to be rid of it");
    }
    return {};
}

Result<SpoolReport> Look::run(bool mend) {
    const std::string path = state_dir_ + '/' + index_name;
    auto database = sqlite::Database::open({path, ""}, mend ? sqlite::Access::write : sqlite::Access::read);
    if (!database && database.error().code == Errc::not_found) {
        say("index-missing", path + " is not there",
            "nothing to do: the next start rebuilds it from the journal and holds all mail until it is "
            "released");
    } else if (!database) {
        if (database.error().code == Errc::io) return fail(std::move(database).error());
        say("index-damaged", database.error().text);
    } else {
        const auto empty = sqlite::check_schema(**database, path);
        if (!empty && empty.error().code == Errc::newer_schema) return fail(empty.error());
        if (!empty) say("index-damaged", empty.error().text);
        const auto version = (*database)->number("PRAGMA user_version");
        if (empty && !*empty && version != sqlite::newest_schema())
            return fail(
                Errc::busy,
                path + " was made by an earlier release: start the daemon once to bring it up to date");
        if (!mend) (*database)->run("BEGIN");
        if (empty && !*empty)
            if (auto done = index(**database, mend); !done) return fail(std::move(done).error());
        if (!mend) (*database)->run("COMMIT");
        const bool damaged = !report_.findings.empty() && report_.findings.front().rule == "index-damaged";
        database->reset();
        if (damaged && mend)
            for (const bool done = set_index_aside(disk_).has_value(); auto& finding : report_.findings)
                finding.repaired = done;
    }
    if (auto done = journal(); !done) return fail(std::move(done).error());
    const bool knows_bodies =
        report_.findings.empty() || !report_.findings.front().rule.starts_with("index-");
    if (auto done = files(mend && knows_bodies); !done) return fail(std::move(done).error());
    if (auto done = history(); !done) return fail(std::move(done).error());
    for (auto& [rule, more] : more_) report_.findings.push_back(std::move(more));
    return std::move(report_);
}

}  // namespace

}  // namespace sternpost::store::engine

namespace sternpost::store {

Result<SpoolReport> check_spool(const std::string& state_dir, bool repair,
                                const std::function<void()>& between_looks) {
    using namespace engine;
    RealDisk disk(state_dir);
    const auto there = disk.exists("journal");
    if (!there) return fail(there.error());
    if (!*there) return fail(Errc::not_found, state_dir + " holds no queue");
    auto lock = util::lock_file(state_dir + '/' + lock_name);
    const bool runs = !lock && lock.error().code == util::Errc::busy;
    if (!lock && !runs) return fail(Errc::io, lock.error().text);
    if (repair && runs)
        return fail(Errc::busy, "a daemon has " + state_dir + ": stop it before its spool is repaired");
    Result<SpoolReport> out;
    std::set<std::string> before;
    for (int look = 0; look < (runs ? looks_while_running : 1); ++look) {
        if (look > 0) between_looks();
        out = Look(disk, state_dir).run(repair);
        if (!out) return out;
        out->daemon_runs = runs;
        // What was not said in the look before is what the daemon was about.
        if (look > 0)
            std::erase_if(out->findings,
                          [&](const SpoolFinding& finding) { return !before.contains(finding.text); });
        before.clear();
        for (const auto& finding : out->findings) before.insert(finding.text);
        if (before.empty()) break;
    }
    return out;
}

}  // namespace sternpost::store
