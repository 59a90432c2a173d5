#include "store/sqlite/index_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "store/sqlite/schema.h"

namespace sternpost::store::sqlite {
namespace {

constexpr std::size_t most_rows = 20;  // ours: of one rule; the rest is counted

// What SQLite itself finds wrong with the file, `most` sentences of it. Errors: io.
Result<std::vector<std::string>> quick_check(Database& database, std::size_t most) {
    std::vector<std::string> out;
    {
        Statement row(database, fmt::format("PRAGMA quick_check({})", most).c_str());
        while (row.row())
            if (row.octets(0) != "ok") out.push_back(row.text(0));
    }
    if (auto error = database.take_error()) {
        if (error->code != Errc::damaged) return fail(std::move(*error));
        out.push_back(error->text);
    }
    return out;
}

}  // namespace

// What rows must say of one another (see doc/formats.md).
struct IndexCheck::Rule {
    const char* name;
    const char* wrong_sql;  // selects what is wrong
    const char* text;       // before what is wrong
    const char* mend_sql;
    const char* repair;
};

Result<IndexCheck> IndexCheck::open(const DatabasePlace& place, bool mend) {
    auto database = Database::open(place, mend ? Access::write : Access::read);
    if (!database) return fail(std::move(database).error());
    const auto empty = check_schema(**database, place.path);
    if (!empty) return fail(empty.error());
    if (!*empty && (*database)->number("PRAGMA user_version") != schema_version)
        return fail(
            Errc::busy,
            place.path + " was made by an earlier release: start the daemon once to bring it up to date");
    if (!mend) (*database)->run("BEGIN");
    return IndexCheck(std::move(*database), *empty, mend);
}

std::vector<std::string> IndexCheck::damage() {
    auto wrong = quick_check(*database_, most_rows);
    return wrong ? std::move(*wrong) : std::vector<std::string>{wrong.error().text};
}

std::vector<SpoolFinding> IndexCheck::wrong_rows() {
    static constexpr Rule rules[] = {
        {"index-recipients",
         "SELECT DISTINCT r.message FROM recipient r WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.id = "
         "r.message) OR NOT EXISTS (SELECT 1 FROM hop h WHERE h.id = r.hop)",
         "a recipient has no message, or no next hop: message",
         "DELETE FROM recipient WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.id = recipient.message)",
         "recipients without a message are dropped"},
        {"index-messages",
         "SELECT m.id FROM message m WHERE m.unfinished <> (SELECT count(*) FROM recipient r WHERE "
         "r.message = m.id AND r.state = 0) OR m.unfinished = 0",
         "the count of unfinished recipients is wrong: message",
         "UPDATE message SET unfinished = (SELECT count(*) FROM recipient r WHERE r.message = message.id AND "
         "r.state = 0);"
         "DELETE FROM recipient WHERE message IN (SELECT id FROM message WHERE unfinished = 0);"
         "DELETE FROM message WHERE unfinished = 0",
         "recounted; messages without an unfinished recipient are dropped"},
        {"index-segments",
         "SELECT s.id FROM segment s WHERE s.messages <> (SELECT count(*) FROM message m WHERE m.segment = "
         "s.id) OR s.recipients <> (SELECT total(unfinished) FROM message m WHERE m.segment = s.id) OR "
         "s.octets <> (SELECT total(size) FROM message m WHERE m.segment = s.id)",
         "the count of what lives in it is wrong: segment",
         "UPDATE segment SET messages = (SELECT count(*) FROM message m WHERE m.segment = segment.id), "
         "recipients = (SELECT total(unfinished) FROM message m WHERE m.segment = segment.id), "
         "octets = (SELECT total(size) FROM message m WHERE m.segment = segment.id)",
         "recounted"},
        {"index-hops",
         "SELECT h.name FROM hop h WHERE h.waiting <> (SELECT count(*) FROM recipient r WHERE "
         "r.hop = h.id AND r.state = 0) OR (h.waiting > 0 AND (h.due_at = 9223372036854775807) <> (NOT "
         "EXISTS "
         "(SELECT 1 FROM recipient r WHERE r.hop = h.id AND r.state = 0 AND r.tier < 2)))",
         "the count of who waits for it, or when, is wrong: next hop",
         "UPDATE hop SET waiting = (SELECT count(*) FROM recipient r WHERE r.hop = hop.id AND r.state = 0);"
         "UPDATE hop SET due_at = max(next_at, ifnull((SELECT min(CASE r.tier WHEN 0 THEN 0 ELSE "
         "r.next_at END) FROM recipient r WHERE r.hop = hop.id AND r.state = 0 AND r.tier < 2), "
         "9223372036854775807))",
         "recounted"},
    };
    std::vector<SpoolFinding> findings;
    if (empty_) return findings;
    for (const Rule& rule : rules) look(rule, findings);
    return findings;
}

void IndexCheck::look(const Rule& rule, std::vector<SpoolFinding>& findings) {
    std::vector<SpoolFinding> found;
    std::size_t more = 0;
    {
        Statement row(*database_, rule.wrong_sql);
        while (row.row()) {
            if (found.size() >= most_rows)
                ++more;
            else
                found.push_back(
                    {rule.name, fmt::format("{} {}", rule.text, row.text(0)), rule.repair, false});
        }
    }
    if (found.empty()) return;
    if (more > 0) found.push_back({rule.name, fmt::format("and {} more", more), rule.repair, false});
    if (mend_) {
        const auto done = database_->transaction([&] { database_->run(rule.mend_sql); });
        for (auto& finding : found) finding.repaired = done.has_value();
    }
    std::move(found.begin(), found.end(), std::back_inserter(findings));
}

Result<IndexContents> IndexCheck::contents() {
    IndexContents out;
    if (empty_) return out;
    Statement row(*database_, "SELECT id, segment, offset, size, file FROM message");
    while (row.row()) {
        ++out.messages;
        if (row.octets(4).empty())
            out.in_journal[row.id(1)][row.id(2)] = {MessageId{row.id(0)}, row.id(3)};
        else
            out.body_sizes[row.text(4)] = row.id(3);
    }
    Statement position(*database_, "SELECT segment, offset, sequence FROM position");
    if (position.row()) out.position = {position.id(0), position.id(1), position.id(2)};
    position.reset();
    if (auto error = database_->take_error()) return fail(std::move(*error));
    return out;
}

bool is_damaged(const DatabasePlace& index) {
    auto database = Database::open(index, Access::read);
    if (!database) return database.error().code == Errc::damaged;
    const auto schema = check_schema(**database, index.path);
    if (!schema) return schema.error().code == Errc::damaged;
    const auto wrong = quick_check(**database, 1);
    return wrong && !wrong->empty();
}

std::string damage_of(const DatabasePlace& place) {
    auto database = Database::open(place, Access::read);
    if (!database) return database.error().text;
    const auto wrong = quick_check(**database, 1);
    if (!wrong) return wrong.error().text;
    return wrong->empty() ? "" : wrong->front();
}

}  // namespace sternpost::store::sqlite
