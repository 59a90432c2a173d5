#include "store/sqlite/index.h"

#include <algorithm>
#include <cassert>

#include "store/hop_group.h"
#include "store/journal/codec.h"
#include "store/sqlite/index_application.h"
#include "store/sqlite/mail_tally.h"
#include "store/sqlite/schema.h"
#include "util/crc32c.h"

namespace sternpost::store::sqlite {
namespace {

constexpr std::int64_t all_versions = 200'000;  // of all domains
// How long what is not mail is remembered after it was last heard of.
constexpr auto host_memory = std::chrono::days(400);
constexpr auto hop_memory = std::chrono::days(7);
constexpr auto mail_hours_memory = std::chrono::days(8);  // counts of mail hour by hour; then day by day
constexpr auto mail_days_memory = std::chrono::days(400);
constexpr std::size_t most_mail_keys_of_a_day = 100;

// Kinds of what is kept that are forgotten, and after how long.
std::vector<std::pair<RecordType, std::chrono::days>> memories() {
    std::vector<std::pair<RecordType, std::chrono::days>> out;
    for_each_kind([&]<class Value>(std::type_identity<Value>) {
        if constexpr (requires { Description<Value>::memory; })
            out.emplace_back(Description<Value>::record, Description<Value>::memory);
    });
    return out;
}

}  // namespace

Index::Index(std::unique_ptr<Database> database) : database_(std::move(database)) {}
Index::~Index() = default;

Result<std::unique_ptr<Index>> Index::open(const DatabasePlace& place) {
    auto database = Database::open(place, Access::write);
    if (!database) return fail(std::move(database).error());
    const auto migrated = migrate(**database, place.path);
    if (!migrated) return fail(migrated.error());
    std::unique_ptr<Index> index(new Index(std::move(*database)));
    if (auto loaded = index->load(); !loaded) return fail(std::move(loaded).error());
    // Tables that a crash could take back would make the queue look lost at the next start.
    if (*migrated)
        if (auto done = index->checkpoint(true); !done) return fail(std::move(done).error());
    return index;
}

Result<void> Index::load() {
    statements_ = std::make_unique<Statements>(*database_);
    Statement position(*database_,
                       "SELECT segment, offset, sequence, newest_message, complete FROM position");
    if (position.row()) {
        complete_ = position.integer(4) != 0;
        position_ = {position.id(0), position.id(1), position.id(2)};
        newest_ = MessageId{position.id(3)};
    }
    Statement segments(*database_,
                       "SELECT id, messages, recipients, octets, min_message, max_message FROM segment");
    while (segments.row())
        segments_[segments.id(0)] = {segments.id(1), segments.id(2), segments.id(3),
                                     MessageId{segments.id(4)}, MessageId{segments.id(5)}};
    Statement history(*database_, "SELECT segment, offset, sequence FROM history");
    if (history.row()) history_ = {history.id(0), history.id(1), history.id(2)};
    closed_ = std::chrono::sys_days(std::chrono::days(database_->number("SELECT day FROM tls_closed")));
    if (auto error = database_->take_error()) return fail(std::move(*error));
    return {};
}

Result<void> Index::begin_rebuild() {
    auto done = database_->transaction([&] {
        for (const char* table : {"message", "recipient", "hop", "submission", "segment", "policy",
                                  "policy_text", "policy_version", "kept", "tls_outcome", "tls_policy",
                                  "tls_host", "copied", "tls_report", "mail_count"})
            database_->run(("DELETE FROM " + std::string(table)).c_str());
        database_->run(
            "UPDATE position SET segment = 0, offset = 0, sequence = 1, newest_message = 0, complete = 0");
        database_->run("UPDATE history SET segment = 0, offset = 0, sequence = 1");
        database_->run("UPDATE tls_closed SET day = 0");
    });
    closed_ = {};
    position_ = {};
    history_ = {};
    newest_ = {};
    segments_.clear();
    return done;
}

Result<void> Index::set_complete() {
    auto done = database_->transaction([&] {
        // What was counted before the tables were lost is known in part alone: no report is made of a part.
        database_->run("DELETE FROM tls_outcome WHERE day < (SELECT max(day) FROM tls_outcome)");
        database_->run("UPDATE position SET complete = 1");
    });
    if (!done) return done;
    complete_ = true;
    return checkpoint(true);
}

Result<std::vector<std::string>> Index::apply(std::span<const JournalEntry> entries,
                                              const JournalPosition& after, bool held) {
    Application application(*statements_, {segments_, newest_, closed_}, crowded_, ranks_, held);
    auto done = database_->transaction([&] {
        for (const auto& entry : entries) application.take(entry);
        application.finish();
        if (history_changed_)
            statements_->put_history.with(history_.segment, history_.offset, history_.sequence).run();
        statements_->move_position
            .with(after.segment, after.offset, after.sequence, application.newest().value)
            .run();
    });
    if (!done) return fail(std::move(done).error());
    position_ = after;
    history_changed_ = false;
    newest_ = application.newest();
    closed_ = application.closed();
    segments_ = application.segments_taken();
    return application.released_taken();
}

std::optional<CopiedState> Index::copied(NewMessage& message, const JournalPlace& place) {
    auto& where = statements_->get_place.with(message.id.value);
    const bool lives = where.row() && where.id(0) == place.segment && where.id(1) == place.offset;
    CopiedState out;
    if (lives) {
        out.held = where.integer(2) != 0;
        out.warned = where.integer(3) != 0;
    }
    where.reset();
    if (!lives) return std::nullopt;
    auto& row = statements_->get_recipients.with(message.id.value);
    while (row.row()) {
        const std::size_t n = out.recipients.size();
        if (n < message.recipients.size())
            message.recipients[n].next_hop = HopGroup::parse(row.octets(5)).next_hop;
        out.recipients.push_back({static_cast<RecipientState>(row.integer(0)), row.time(1),
                                  static_cast<std::uint32_t>(row.integer(2)),
                                  static_cast<std::uint32_t>(row.integer(6)), row.text(3), row.text(4)});
    }
    if (database_->take_error() || out.recipients.size() != message.recipients.size()) return std::nullopt;
    return out;
}

std::vector<std::uint64_t> Index::copied_to(MessageId message) {
    std::vector<std::uint64_t> out;
    auto& row = statements_->find_copies.with(message.value);
    while (row.row()) out.push_back(row.id(0));
    return out;
}

Result<std::vector<std::string>> Index::body_files() {
    std::vector<std::string> out;
    auto& files = statements_->all_files.with();
    while (files.row()) out.push_back(files.text(0));
    if (auto error = database_->take_error()) return fail(std::move(*error));
    return out;
}

Result<std::vector<MessageId>> Index::mark_damaged(const std::string& file) {
    std::vector<MessageId> out;
    auto done = database_->transaction([&] {
        auto& set = statements_->set_damaged.with(file);
        while (set.row()) out.push_back(MessageId{set.id(0)});
    });
    if (!done) return fail(std::move(done).error());
    return out;
}

Result<void> Index::forget_submissions(WallTime before) {
    return database_->transaction([&] { statements_->drop_submissions.with(before).run(); });
}

Result<void> Index::forget_old(WallTime now, std::chrono::days outcome_days) {
    const auto first_day = std::chrono::floor<std::chrono::days>(now) - outcome_days;
    std::erase_if(crowded_, [&](const auto& entry) {
        return entry.first.first < std::chrono::floor<std::chrono::days>(now) - std::chrono::days(1);
    });
    return database_->transaction([&] {
        const auto drop = [&](const char* sql, const auto&... values) {
            Statement statement(*database_, sql);
            statement.with(values...).run();
        };
        drop("DELETE FROM tls_outcome WHERE day < ?1", day_number(first_day));
        drop("DELETE FROM tls_policy WHERE day < ?1", day_number(first_day));
        drop("DELETE FROM tls_report WHERE day < ?1", day_number(first_day));
        for (const auto& [record, memory] : memories())
            drop("DELETE FROM kept WHERE record = ?1 AND heard_of < ?2", static_cast<int>(record),
                 now - memory);
        drop(
            "DELETE FROM hop WHERE waiting = 0 AND at < ?1 AND next_at < ?1 AND NOT EXISTS "
            "(SELECT 1 FROM recipient WHERE hop = hop.id)",
            now - hop_memory);
        fold_mail_counts(now);
        drop("DELETE FROM tls_host WHERE max(last_tls, last_clear, last_dane) < ?1", now - host_memory);
        const auto beyond = database_->number("SELECT count(*) FROM policy_version") - all_versions;
        if (beyond > 0)
            drop(
                "DELETE FROM policy_version WHERE (domain, id, text) IN "
                "(SELECT v.domain, v.id, v.text FROM policy_version v WHERE NOT EXISTS "
                "(SELECT 1 FROM policy p WHERE p.domain = v.domain AND p.id = v.id AND p.text = v.text) "
                "ORDER BY v.last_seen LIMIT ?1)",
                beyond);
        drop(
            "DELETE FROM policy_text WHERE NOT EXISTS (SELECT 1 FROM policy WHERE text = policy_text.id) "
            "AND NOT EXISTS (SELECT 1 FROM policy_version WHERE text = policy_text.id) "
            "AND NOT EXISTS (SELECT 1 FROM tls_policy WHERE text = policy_text.id)");
    });
}

// Hours of more than a week ago become days, each with the largest of its keys. Inside a transaction.
void Index::fold_mail_counts(WallTime now) {
    const auto today = std::chrono::floor<std::chrono::days>(now);
    const auto hour_of = [](std::chrono::sys_days day) {
        return std::chrono::floor<std::chrono::hours>(day).time_since_epoch().count();
    };
    const std::int64_t cut = hour_of(today - mail_hours_memory);
    const std::int64_t from = hour_of(today - mail_days_memory);
    Statement(*database_, "DELETE FROM mail_count WHERE hour < ?1").with(from).run();
    std::map<std::tuple<std::int64_t, std::int64_t, std::string>, MailNumbers> days;
    Statement hours(*database_,
                    "SELECT hour, by, key, accepted, octets, sent, deferred, bounced, expired "
                    "FROM mail_count WHERE hour < ?1 AND hour / 24 IN "
                    "(SELECT hour / 24 FROM mail_count WHERE hour < ?1 AND hour % 24 <> 0)");
    hours.with(cut);
    while (hours.row())
        days[{hours.integer(0) / 24 * 24, hours.integer(1), hours.text(2)}] +=
            MailNumbers{hours.id(3), hours.id(4), hours.id(5), hours.id(6), hours.id(7), hours.id(8)};
    std::map<std::pair<std::int64_t, std::int64_t>, std::vector<MailCount>> kinds;
    for (auto& [place, numbers] : days)
        kinds[{std::get<0>(place), std::get<1>(place)}].push_back({std::get<2>(place), numbers});
    Statement drop(*database_, "DELETE FROM mail_count WHERE hour BETWEEN ?1 AND ?1 + 23 AND by = ?2");
    Statement add(*database_, "INSERT INTO mail_count VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    for (auto& [place, counts] : kinds) {
        drop.with(place.first, place.second).run();
        for (const auto& [key, n] : largest(std::move(counts), most_mail_keys_of_a_day))
            add.with(place.first, place.second, key, n.accepted, n.octets, n.sent, n.deferred, n.bounced,
                     n.expired)
                .run();
    }
}

Result<void> Index::forget_segment(std::uint64_t segment) {
    auto done = database_->transaction([&] {
        statements_->drop_segment.with(segment).run();
        statements_->drop_copies.with(segment).run();
    });
    if (done) segments_.erase(segment);
    return done;
}

Result<void> Index::checkpoint(bool whole) {
    const JournalPosition reached = position_;
    const auto done = database_->checkpoint(whole);
    if (!done) return fail(done.error());
    if (*done) durable_ = reached;
    return {};
}

int Index::wal_pages() const {
    return database_->wal_pages();
}
bool Index::sync_failed() const {
    return database_->sync_failed();
}

}  // namespace sternpost::store::sqlite
