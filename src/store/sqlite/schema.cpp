#include "store/sqlite/schema.h"

#include <fmt/format.h>

#include <array>
#include <utility>
#include <vector>

#include "store/hop_group.h"
#include "store/journal/codec.h"

namespace sternpost::store::sqlite {
namespace {

// Entry n leads from schema n to n + 1: `before`, then `step`, then `after`. Never changed once released; a
// new schema is a new entry.
struct Migration {
    const char* before;
    void (*step)(Database&) = nullptr;
    const char* after = "";
};

void group_next_hops(Database& database);
void gather_kept(Database& database);

constexpr std::array migrations{
    Migration{R"sql(
-- How far the journal is in these tables. The same transaction that adds to them moves it: each record counts once.
-- complete 0: what the journal held before these tables were made is not in them yet.
CREATE TABLE position (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    segment INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    newest_message INTEGER NOT NULL,
    complete INTEGER NOT NULL
);
INSERT INTO position VALUES (1, 0, 0, 1, 0, 0);

-- What lives in a segment of the journal: it may go when that is nothing. The ids bound the accept records in it.
CREATE TABLE segment (
    id INTEGER PRIMARY KEY,
    messages INTEGER NOT NULL,
    recipients INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    min_message INTEGER NOT NULL,
    max_message INTEGER NOT NULL
);

-- Messages with a recipient that is not finished. `file`: of a large body, else empty. `reverse_path`: '<>' when null.
-- `head` is the accept record's fields without recipients.
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    segment INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    size INTEGER NOT NULL,
    unfinished INTEGER NOT NULL,
    held INTEGER NOT NULL,
    damaged INTEGER NOT NULL,
    file TEXT NOT NULL,
    reverse_path TEXT NOT NULL,
    head BLOB NOT NULL
);
CREATE INDEX message_by_file ON message (file) WHERE file <> '';

CREATE TABLE recipient (
    message INTEGER NOT NULL,
    n INTEGER NOT NULL,
    hop INTEGER NOT NULL,
    state INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    forward_path TEXT NOT NULL,
    notify INTEGER NOT NULL,
    orcpt TEXT NOT NULL,
    status TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (message, n)
) WITHOUT ROWID;
CREATE INDEX recipient_by_hop ON recipient (hop, message);

CREATE TABLE hop (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT '',
    text TEXT NOT NULL DEFAULT ''
);

CREATE TABLE submission (
    id BLOB PRIMARY KEY,
    message INTEGER NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX submission_by_time ON submission (at);

-- A policy's text stands once, however many domains share it.
CREATE TABLE policy_text (
    id INTEGER PRIMARY KEY,
    hash INTEGER NOT NULL,
    text BLOB NOT NULL
);
CREATE INDEX policy_text_by_hash ON policy_text (hash);
CREATE TABLE policy (
    domain TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    text INTEGER NOT NULL,
    fetched INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    checked INTEGER NOT NULL,
    fingerprint TEXT NOT NULL
) WITHOUT ROWID;
)sql"},
    Migration{R"sql(
-- Why a blocked next hop is blocked, for `why`: fields of an attempt's detail, without outcomes.
ALTER TABLE hop ADD COLUMN reason_code TEXT NOT NULL DEFAULT '';
ALTER TABLE hop ADD COLUMN detail BLOB NOT NULL DEFAULT x'';

-- How far the journal is in the synced files under history/.
CREATE TABLE history (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    segment INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    sequence INTEGER NOT NULL
);
INSERT INTO history SELECT 1, segment, offset, sequence FROM position;

-- A version of a policy is an id with a text. A text goes when nothing here refers to it any more.
CREATE TABLE policy_version (
    domain TEXT NOT NULL,
    id TEXT NOT NULL,
    text INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    PRIMARY KEY (domain, id, text)
) WITHOUT ROWID;
CREATE INDEX policy_version_by_text ON policy_version (text);
CREATE INDEX policy_version_by_time ON policy_version (last_seen);
CREATE INDEX policy_by_text ON policy (text);
INSERT INTO policy_version SELECT domain, id, text, fingerprint, fetched, max(fetched, checked) FROM policy;

CREATE TABLE discovery (
    domain TEXT PRIMARY KEY,
    unknown_since INTEGER NOT NULL,
    failed_id TEXT NOT NULL,
    failed_at INTEGER NOT NULL,
    mailed INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE override (
    scope TEXT PRIMARY KEY,
    level TEXT NOT NULL,
    reason TEXT NOT NULL,
    author TEXT NOT NULL,
    set_at INTEGER NOT NULL,
    expires INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE alarm (
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    text TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID;

-- TLS outcomes by UTC day (days since 1970-01-01) and domain. policy: the text, 0 for none. alike: fields of an
-- outcome without these and without its time.
CREATE TABLE tls_outcome (
    day INTEGER NOT NULL,
    domain TEXT NOT NULL,
    policy INTEGER NOT NULL,
    alike BLOB NOT NULL,
    n INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (day, domain, policy, alike)
) WITHOUT ROWID;
-- Which texts tls_outcome refers to, so that nobody has to read all of it to know.
CREATE TABLE tls_policy (
    text INTEGER NOT NULL,
    day INTEGER NOT NULL,
    PRIMARY KEY (text, day)
) WITHOUT ROWID;

-- What sessions showed of MX hosts; a time of 0: never.
CREATE TABLE tls_host (
    name TEXT PRIMARY KEY,
    tls_sessions INTEGER NOT NULL,
    last_tls INTEGER NOT NULL,
    last_clear INTEGER NOT NULL,
    last_dane INTEGER NOT NULL
) WITHOUT ROWID;
)sql"},
    Migration{R"sql(
-- 1: the sender was told that the message is delayed.
ALTER TABLE message ADD COLUMN warned INTEGER NOT NULL DEFAULT 0;
)sql"},
    Migration{R"sql(
-- What sleeps here and is due is found by next hop. tier 0: not tried yet, next_at is its place in the line
-- (store/fair_order); 1: tried, due at next_at; 2: on hold, next_at is kept. A hop is a group (store/hop_group).
ALTER TABLE recipient ADD COLUMN tier INTEGER NOT NULL DEFAULT 0;
UPDATE recipient SET tier = CASE WHEN (SELECT held FROM message WHERE id = message) THEN 2
                                 WHEN tries > 0 OR status <> '' THEN 1 ELSE 0 END;
CREATE INDEX recipient_due ON recipient (hop, tier, next_at) WHERE state = 0;
-- waiting: recipients that do; due_at: when the first of them may be tried, no sooner than the hop's next_at.
ALTER TABLE hop ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hop ADD COLUMN due_at INTEGER NOT NULL DEFAULT 9223372036854775807;
CREATE INDEX hop_due ON hop (due_at) WHERE waiting > 0;
CREATE INDEX hop_waiting ON hop (waiting) WHERE waiting > 0;

-- kind 0: a next hop, 1: a sender.
CREATE TABLE suspension (
    kind INTEGER NOT NULL,
    scope TEXT NOT NULL,
    reason TEXT NOT NULL,
    author TEXT NOT NULL,
    set_at INTEGER NOT NULL,
    PRIMARY KEY (kind, scope)
) WITHOUT ROWID;
)sql",
              group_next_hops, R"sql(
UPDATE hop SET waiting = (SELECT count(*) FROM recipient r WHERE r.hop = hop.id AND r.state = 0);
UPDATE hop SET due_at = max(next_at, ifnull((SELECT min(r.next_at) FROM recipient r
    WHERE r.hop = hop.id AND r.state = 0 AND r.tier < 2), 9223372036854775807));
)sql"},
    Migration{R"sql(
-- Accept records that were copied forward: messages of each segment beyond those between its smallest and largest id.
CREATE TABLE copied (
    message INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    PRIMARY KEY (message, segment)
) WITHOUT ROWID;
)sql"},
    Migration{R"sql(
-- TLS reports: the newest day that is closed (days since 1970-01-01), and how it stands with each report. fields: those
-- of a report's record in the journal.
CREATE TABLE tls_closed (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    day INTEGER NOT NULL
);
INSERT INTO tls_closed VALUES (1, 0);
CREATE TABLE tls_report (
    day INTEGER NOT NULL,
    domain TEXT NOT NULL,
    id TEXT NOT NULL,
    state INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    fields BLOB NOT NULL,
    PRIMARY KEY (day, domain)
) WITHOUT ROWID;
CREATE INDEX tls_report_by_id ON tls_report (id);
)sql"},
    Migration{R"sql(
-- Replies to the final dot that were lost in a row. Until now the sentence told of the last one.
ALTER TABLE recipient ADD COLUMN lost_replies INTEGER NOT NULL DEFAULT 0;
UPDATE recipient SET lost_replies = max(tries, 1) WHERE state = 0 AND text LIKE 'possibly-delivered%';
)sql"},
    Migration{R"sql(
-- What is read with all others of its kind. record: the kind, as in the journal; fields: those of its record there;
-- heard_of: when it was last heard of, where that decides how long it is remembered.
CREATE TABLE kept (
    record INTEGER NOT NULL,
    key TEXT NOT NULL,
    heard_of INTEGER NOT NULL,
    fields BLOB NOT NULL,
    PRIMARY KEY (record, key)
) WITHOUT ROWID;
)sql",
              gather_kept, R"sql(
DROP TABLE discovery;
DROP TABLE override;
DROP TABLE alarm;
DROP TABLE suspension;
)sql"},
    Migration{R"sql(
-- How much mail, by hour (since 1970); after a week a day has one row, at its first hour. by: a CountedBy. key: empty for
-- what had no place of its own.
CREATE TABLE mail_count (
    hour INTEGER NOT NULL,
    by INTEGER NOT NULL,
    key TEXT NOT NULL,
    accepted INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    deferred INTEGER NOT NULL,
    bounced INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    PRIMARY KEY (hour, by, key)
) WITHOUT ROWID;
)sql"},
};
static_assert(migrations.size() == schema_version);

// Recipients of mail that says something of TLS were in the row of their next hop, and get that of their
// group.
void group_next_hops(Database& database) {
    Statement heads(database, "SELECT id, head FROM message");
    Statement recipients(
        database, "SELECT r.n, h.name FROM recipient r JOIN hop h ON h.id = r.hop WHERE r.message = ?1");
    Statement add(database, "INSERT OR IGNORE INTO hop (name) VALUES (?1)");
    Statement move(
        database,
        "UPDATE recipient SET hop = (SELECT id FROM hop WHERE name = ?3) WHERE message = ?1 AND n = ?2");
    while (heads.row()) {
        const auto head = decode_message(heads.octets(1));
        if (!head) continue;  // damaged: found, and told, when it is read
        const TlsMode tls_mode = tls_mode_of(head->message_class, head->envelope);
        if (tls_mode == TlsMode::ordinary) continue;
        std::vector<std::pair<std::uint64_t, std::string>> groups;
        auto& row = recipients.with(heads.id(0));
        while (row.row()) groups.emplace_back(row.id(0), HopGroup{row.text(1), tls_mode}.text());
        for (const auto& [n, group] : groups) {
            add.with(group).run();
            move.with(heads.id(0), n, group).run();
        }
    }
}

template <Keyed Value>
void put_kept(Database& database, const Value& value) {
    Statement put(database, "INSERT INTO kept VALUES (?1, ?2, ?3, ?4)");
    WallTime heard_of{};
    if constexpr (is_forgotten<Value>) heard_of = Description<Value>::heard_of(value);
    put.with(static_cast<int>(Description<Value>::record), Description<Value>::key(value), heard_of,
             Blob{encode(value)})
        .run();
}

// Each of these kinds had a table of its own.
void gather_kept(Database& database) {
    Statement discovery(database,
                        "SELECT domain, unknown_since, failed_id, failed_at, mailed FROM discovery");
    while (discovery.row())
        put_kept(database, StoredDiscovery{discovery.text(0), discovery.time(1), discovery.text(2),
                                           discovery.time(3), discovery.time(4)});
    Statement override(database, "SELECT scope, level, reason, author, set_at, expires FROM override");
    while (override.row())
        put_kept(database, StoredOverride{override.text(0), override.text(1), override.text(2),
                                          override.text(3), override.time(4), override.time(5)});
    Statement suspension(database, "SELECT kind, scope, reason, author, set_at FROM suspension");
    while (suspension.row())
        put_kept(database,
                 StoredSuspension{static_cast<SuspensionKind>(suspension.integer(0)), suspension.text(1),
                                  suspension.text(2), suspension.text(3), suspension.time(4), false});
    Statement alarm(database, "SELECT kind, subject, text, first, last, count FROM alarm");
    while (alarm.row()) {
        StoredAlarm one;
        one.kind = alarm.text(0);
        one.subject = alarm.text(1);
        one.text = alarm.text(2);
        one.first = alarm.time(3);
        one.last = alarm.time(4);
        one.count = alarm.id(5);
        put_kept(database, one);
    }
}

}  // namespace

Result<bool> check_schema(Database& database, const std::string& name) {
    const auto version = database.number("PRAGMA user_version");
    const auto application = database.number("PRAGMA application_id");
    const auto tables = database.number("SELECT count(*) FROM sqlite_schema");
    if (auto error = database.take_error()) {
        error->text = name + ": " + error->text;
        return fail(std::move(*error));
    }
    if (version == 0 && application == 0 && tables == 0) return true;
    if (application != application_id)
        return fail(Errc::damaged, name + " is not a queue index of Sternpost");
    if (version > schema_version)
        return fail(
            Errc::newer_schema,
            fmt::format(
                "{} has schema {}, made by a later release of Sternpost; this one knows schemas up to {}: "
                "install the later release again",
                name, version, schema_version));
    return false;
}

Result<bool> migrate(Database& database, const std::string& name) {
    const auto empty = check_schema(database, name);
    if (!empty) return fail(empty.error());
    const auto version = static_cast<std::size_t>(database.number("PRAGMA user_version"));
    if (version == migrations.size()) return false;
    auto done = database.transaction([&] {
        for (std::size_t i = version; i < migrations.size(); ++i) {
            database.run(migrations[i].before);
            if (migrations[i].step != nullptr) migrations[i].step(database);
            database.run(migrations[i].after);
        }
        database.run(fmt::format("PRAGMA application_id = {}", application_id).c_str());
        database.run(fmt::format("PRAGMA user_version = {}", migrations.size()).c_str());
    });
    if (!done) return fail(std::move(done).error());
    return true;
}

}  // namespace sternpost::store::sqlite
