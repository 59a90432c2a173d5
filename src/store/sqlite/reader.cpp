#include "store/sqlite/reader.h"

#include <algorithm>

#include "store/codec.h"
#include "store/sqlite/schema.h"
#include "store/tally.h"

namespace sternpost::store::sqlite {
namespace {

constexpr const char* by_id_from =
    "SELECT id, segment, offset, held, damaged, head, warned FROM message WHERE id > ?1 ORDER BY id LIMIT ?2";
constexpr const char* by_id =
    "SELECT id, segment, offset, held, damaged, head, warned FROM message WHERE id = ?1";
constexpr const char* by_reverse_path =
    "SELECT id, segment, offset, held, damaged, head, warned FROM message WHERE reverse_path = ?1 ORDER BY "
    "id LIMIT "
    "?2";
constexpr const char* by_hop =
    "SELECT DISTINCT m.id, m.segment, m.offset, m.held, m.damaged, m.head, m.warned FROM recipient r "
    "CROSS JOIN message m ON m.id = r.message "
    "WHERE r.hop = (SELECT id FROM hop WHERE name = ?1) AND r.state = 0 AND (?2 = '' OR m.reverse_path = ?2) "
    "ORDER BY r.message LIMIT ?3";
constexpr const char* recipients_of =
    "SELECT r.n, h.name, r.state, r.next_at, r.tries, r.forward_path, r.notify, r.orcpt, r.status, r.text "
    "FROM recipient r JOIN hop h ON h.id = r.hop WHERE r.message = ?1 ORDER BY r.n";

std::string reverse_path_text(const StoredMessage& message) {
    const auto& path = message.envelope.reverse_path;
    return path.is_null() ? "<>" : path.text();
}

}  // namespace

bool matches(const QueueFilter& filter, const StoredMessage& message) {
    if (!filter.id.empty() && message.id.text() != filter.id) return false;
    if (!filter.reverse_path.empty() && reverse_path_text(message) != filter.reverse_path) return false;
    return filter.domain.empty() ||
           std::any_of(message.recipients.begin(), message.recipients.end(), [&](const StoredRecipient& r) {
               return r.state == RecipientState::queued && r.address.next_hop == filter.domain;
           });
}

struct Reader::Statements {
    explicit Statements(Database& db)
        : load(db, by_id_from),
          one(db, by_id),
          of_reverse_path(db, by_reverse_path),
          of_hop(db, by_hop),
          recipients(db, recipients_of),
          totals(db,
                 "SELECT total(messages), total(recipients), total(octets), (SELECT min(id) FROM message) "
                 "FROM segment"),
          hops(db,
               "SELECT name, at, next_at, failures, status, text, reason_code, detail FROM hop "
               "WHERE failures > 0 OR next_at > at"),
          policies(
              db,
              "SELECT p.domain, p.id, t.text, p.fetched, p.expires, p.checked, p.fingerprint FROM policy p "
              "JOIN policy_text t ON t.id = p.text ORDER BY p.domain"),
          versions(
              db,
              "SELECT v.id, t.text, v.fingerprint, v.first_seen, v.last_seen FROM policy_version v "
              "JOIN policy_text t ON t.id = v.text WHERE v.domain = ?1 ORDER BY v.first_seen, v.last_seen"),
          discoveries(
              db,
              "SELECT domain, unknown_since, failed_id, failed_at, mailed FROM discovery ORDER BY domain"),
          overrides(db, "SELECT scope, level, reason, author, set_at, expires FROM override ORDER BY scope"),
          alarms(db,
                 "SELECT kind, subject, text, first, last, count FROM alarm WHERE last >= ?1 "
                 "ORDER BY last DESC, kind, subject"),
          hosts_seen(
              db, "SELECT name, tls_sessions, last_tls, last_clear, last_dane FROM tls_host ORDER BY name"),
          outcomes(db,
                   "SELECT o.domain, o.alike, o.n, o.last, t.text FROM tls_outcome o "
                   "LEFT JOIN policy_text t ON t.id = o.policy WHERE o.day BETWEEN ?1 AND ?2 "
                   "ORDER BY o.day, o.domain"),
          outcomes_of(db,
                      "SELECT o.domain, o.alike, o.n, o.last, t.text FROM tls_outcome o "
                      "LEFT JOIN policy_text t ON t.id = o.policy WHERE o.day = ?1 AND o.domain = ?2"),
          outcome_days(db, "SELECT (SELECT min(day) FROM tls_outcome), (SELECT max(day) FROM tls_outcome)"),
          position(db, "SELECT segment, offset, sequence FROM position") {}

    Statement load, one, of_reverse_path, of_hop, recipients, totals, hops, policies;
    Statement versions, discoveries, overrides, alarms, hosts_seen, outcomes, outcomes_of, outcome_days,
        position;
};

Reader::Reader(std::unique_ptr<Database> database)
    : database_(std::move(database)), statements_(std::make_unique<Statements>(*database_)) {}
Reader::~Reader() = default;

Result<std::unique_ptr<Reader>> Reader::open(const DatabasePlace& place) {
    auto database = Database::open(place, Access::read);
    if (!database) return fail(std::move(database).error());
    const auto empty = check_schema(**database, place.path);
    if (!empty) return fail(empty.error());
    if (*empty) return fail(Errc::not_found, place.path + " is empty: the daemon has not run yet");
    if ((*database)->number("PRAGMA user_version") != newest_schema())
        return fail(
            Errc::busy,
            place.path + " was made by an earlier release: start the daemon once to bring it up to date");
    std::unique_ptr<Reader> reader(new Reader(std::move(*database)));
    if (auto error = reader->database_->take_error()) return fail(std::move(*error));
    return reader;
}

// Runs `read` on one state of the database.
template <class Read>
auto Reader::snapshot(Read read) -> decltype(read()) {
    database_->run("BEGIN");
    auto out = read();
    auto error = database_->take_error();
    database_->run("COMMIT");  // ends the snapshot, so that the WAL may be reused
    database_->take_error();
    if (error) return fail(std::move(*error));
    return out;
}

Result<std::vector<StoredMessage>> Reader::messages(Statement& query) {
    std::vector<StoredMessage> out;
    while (query.row()) {
        const MessageId id{query.id(0)};
        auto head = decode_message(query.octets(5));
        if (!head) return fail(Errc::damaged, "the index entry of message " + id.text() + " is damaged");
        StoredMessage message = StoredMessage::of(*head);
        message.id = id;
        message.held = query.integer(3) != 0;
        message.warned = query.integer(6) != 0;
        message.body.damaged = query.integer(4) != 0;
        if (message.body.file.empty()) message.body.place = JournalPlace{query.id(1), query.id(2)};
        auto& rows = statements_->recipients.with(id.value);
        while (rows.row()) {
            auto path = mail::ForwardPath::parse(rows.octets(5), true);
            if (!path)
                return fail(Errc::damaged,
                            "a recipient of message " + id.text() + " is damaged in the index");
            mail::Recipient recipient(std::move(*path));
            recipient.notify = notify_of(rows.id(6));
            recipient.orcpt = rows.text(7);
            StoredRecipient& stored =
                message.recipients.emplace_back(QueuedRecipient(std::move(recipient), rows.text(1)));
            stored.state = static_cast<RecipientState>(rows.integer(2));
            stored.next_at = rows.time(3);
            stored.tries = static_cast<std::uint32_t>(rows.integer(4));
            stored.status = rows.text(8);
            stored.text = rows.text(9);
        }
        out.push_back(std::move(message));
    }
    return out;
}

Result<std::vector<StoredMessage>> Reader::load(MessageId after, std::size_t limit) {
    return snapshot([&] { return messages(statements_->load.with(after.value, std::uint64_t{limit})); });
}

Result<std::vector<StoredMessage>> Reader::find(const QueueFilter& filter) {
    return snapshot([&]() -> Result<std::vector<StoredMessage>> {
        const std::uint64_t limit = filter.limit;
        if (!filter.id.empty()) {
            const auto id = MessageId::parse(filter.id);
            if (!id) return std::vector<StoredMessage>();
            auto found = messages(statements_->one.with(id->value));
            if (found) std::erase_if(*found, [&](const StoredMessage& m) { return !matches(filter, m); });
            return found;
        }
        if (!filter.domain.empty())
            return messages(statements_->of_hop.with(filter.domain, filter.reverse_path, limit));
        if (!filter.reverse_path.empty())
            return messages(statements_->of_reverse_path.with(filter.reverse_path, limit));
        return messages(statements_->load.with(std::uint64_t{0}, limit));
    });
}

Result<QueueTotals> Reader::totals() {
    return snapshot([&]() -> Result<QueueTotals> {
        QueueTotals out;
        auto& row = statements_->totals.with();
        if (row.row()) {
            out.messages = row.id(0);
            out.recipients = row.id(1);
            out.octets = row.id(2);
            if (row.id(3) != 0) out.oldest = MessageId{row.id(3)}.time();
        }
        row.reset();
        return out;
    });
}

Result<std::vector<HopState>> Reader::hops() {
    return snapshot([&]() -> Result<std::vector<HopState>> {
        std::vector<HopState> out;
        auto& row = statements_->hops.with();
        while (row.row()) {
            auto detail = decode_detail(row.octets(7));
            if (!detail) return fail(Errc::damaged, "next hop " + row.text(0) + " is damaged in the index");
            out.push_back({row.text(0), row.time(1), row.time(2), static_cast<std::uint32_t>(row.integer(3)),
                           row.text(4), row.text(5), row.text(6), std::move(*detail)});
        }
        return out;
    });
}

Result<std::vector<StoredPolicy>> Reader::policies() {
    return snapshot([&]() -> Result<std::vector<StoredPolicy>> {
        std::vector<StoredPolicy> out;
        auto& row = statements_->policies.with();
        while (row.row())
            out.push_back(
                {row.text(0), row.text(1), row.text(2), row.time(3), row.time(4), row.time(5), row.text(6)});
        return out;
    });
}

Result<std::vector<PolicyVersion>> Reader::versions(const std::string& domain) {
    return snapshot([&]() -> Result<std::vector<PolicyVersion>> {
        std::vector<PolicyVersion> out;
        auto& row = statements_->versions.with(domain);
        while (row.row()) out.push_back({row.text(0), row.text(1), row.text(2), row.time(3), row.time(4)});
        return out;
    });
}

Result<std::vector<StoredDiscovery>> Reader::discoveries() {
    return snapshot([&]() -> Result<std::vector<StoredDiscovery>> {
        std::vector<StoredDiscovery> out;
        auto& row = statements_->discoveries.with();
        while (row.row()) out.push_back({row.text(0), row.time(1), row.text(2), row.time(3), row.time(4)});
        return out;
    });
}

Result<std::vector<StoredOverride>> Reader::overrides() {
    return snapshot([&]() -> Result<std::vector<StoredOverride>> {
        std::vector<StoredOverride> out;
        auto& row = statements_->overrides.with();
        while (row.row())
            out.push_back({row.text(0), row.text(1), row.text(2), row.text(3), row.time(4), row.time(5)});
        return out;
    });
}

Result<std::vector<StoredAlarm>> Reader::alarms(WallTime since) {
    return snapshot([&]() -> Result<std::vector<StoredAlarm>> {
        std::vector<StoredAlarm> out;
        auto& row = statements_->alarms.with(since);
        while (row.row())
            out.push_back({row.text(0), row.text(1), row.text(2), row.time(3), row.time(4), row.id(5)});
        return out;
    });
}

Result<std::vector<StoredHost>> Reader::hosts_seen() {
    return snapshot([&]() -> Result<std::vector<StoredHost>> {
        std::vector<StoredHost> out;
        auto& row = statements_->hosts_seen.with();
        while (row.row()) out.push_back({row.text(0), row.id(1), row.time(2), row.time(3), row.time(4)});
        return out;
    });
}

Result<std::vector<StoredOutcome>> Reader::outcomes(const OutcomeFilter& filter) {
    return snapshot([&]() -> Result<std::vector<StoredOutcome>> {
        std::vector<StoredOutcome> out;
        const auto take = [&](Statement& row) -> Result<void> {
            while (row.row()) {
                const WallTime last = row.time(3);
                OutcomeKey key{std::chrono::floor<std::chrono::days>(last), row.text(0), row.text(4),
                               row.text(1)};
                auto outcome = outcome_of(key, last);
                if (!outcome)
                    return fail(Errc::damaged, "a TLS outcome of " + key.domain + " is damaged in the index");
                out.push_back({std::move(*outcome), row.id(2)});
            }
            return {};
        };
        auto& days = statements_->outcome_days.with();
        const bool any = days.row();
        auto day = std::max(any ? days.integer(0) : 0, std::int64_t{filter.from.time_since_epoch().count()});
        const auto last =
            std::min(any ? days.integer(1) : 0, std::int64_t{filter.to.time_since_epoch().count()});
        days.reset();
        Result<void> done;
        if (filter.domain.empty()) done = take(statements_->outcomes.with(day, last));
        for (; !filter.domain.empty() && done && day <= last; ++day)
            done = take(statements_->outcomes_of.with(day, filter.domain));
        if (!done) return fail(std::move(done).error());
        return out;
    });
}

Result<JournalPosition> Reader::position() {
    return snapshot([&]() -> Result<JournalPosition> {
        JournalPosition out;
        auto& row = statements_->position.with();
        if (row.row()) out = {row.id(0), row.id(1), row.id(2)};
        row.reset();
        return out;
    });
}

}  // namespace sternpost::store::sqlite
