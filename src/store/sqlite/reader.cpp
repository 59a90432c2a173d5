#include "store/sqlite/reader.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>

#include "store/hop_group.h"
#include "store/journal/codec.h"
#include "store/sqlite/mail_tally.h"
#include "store/sqlite/outcome_counts.h"
#include "store/sqlite/schema.h"
#include "util/text.h"

namespace sternpost::store::sqlite {
namespace {

#define STERNPOST_MESSAGE_COLUMNS "id, segment, offset, held, damaged, head, warned"

constexpr const char* by_id_from = "SELECT " STERNPOST_MESSAGE_COLUMNS
                                   " FROM message WHERE id > ?1 AND id <= ?2 AND warned <= ?3 ORDER BY id";
constexpr const char* by_id = "SELECT " STERNPOST_MESSAGE_COLUMNS " FROM message WHERE id = ?1";
// Message ids in order, one of many recipients as often as it has some there.
constexpr const char* by_hop =
    "SELECT r.message FROM recipient r WHERE r.hop = (SELECT id FROM hop WHERE name = ?1) "
    "AND r.state = 0 AND r.message > ?2 AND r.message <= ?3 ORDER BY r.message";
constexpr const char* recipients_of =
    "SELECT r.n, h.name, r.state, r.next_at, r.tries, r.forward_path, r.notify, r.orcpt, r.status, r.text, "
    "r.tier, h.failures, h.next_at, h.status, h.text, h.reason_code, r.lost_replies "
    "FROM recipient r JOIN hop h ON h.id = r.hop WHERE r.message = ?1 ORDER BY r.n";

#define STERNPOST_HOP_COLUMNS \
    "name, at, next_at, failures, status, text, reason_code, detail, waiting, due_at"
constexpr const char* due_hops =
    "SELECT id, name FROM hop WHERE waiting > 0 AND due_at <= ?1 ORDER BY due_at";
constexpr const char* due_in_line =
    "SELECT message FROM recipient WHERE hop = ?1 AND state = 0 AND tier = 0 ORDER BY next_at";
constexpr const char* due_again =
    "SELECT message, next_at FROM recipient WHERE hop = ?1 AND state = 0 AND tier = 1 ORDER BY next_at";

constexpr const char* next_due_hop = "SELECT min(due_at) FROM hop WHERE waiting > 0 AND due_at > ?1";
constexpr const char* hop_by_name = "SELECT " STERNPOST_HOP_COLUMNS " FROM hop WHERE name = ?1";

constexpr std::int64_t never = INT64_MAX;

// Ids beyond what a column can hold are of no message.
std::uint64_t to_sql(MessageId id) {
    return std::min<std::uint64_t>(id.value, INT64_MAX);
}

}  // namespace

struct Reader::Statements {
    explicit Statements(Database& db)
        : from(db, by_id_from),
          one(db, by_id),
          of_hop(db, by_hop),
          recipients(db, recipients_of),
          totals(db,
                 "SELECT total(messages), total(recipients), total(octets), (SELECT min(id) FROM message) "
                 "FROM segment"),
          waiting_hops(db, "SELECT " STERNPOST_HOP_COLUMNS
                           " FROM hop WHERE waiting > 0 AND (waiting < ?2 OR (waiting = ?2 AND name > ?3)) "
                           "ORDER BY waiting DESC, name LIMIT ?1"),
          failing_hops(db, "SELECT " STERNPOST_HOP_COLUMNS
                           " FROM hop WHERE waiting = 0 AND (failures > 0 OR next_at > at) AND name > ?2 "
                           "ORDER BY name LIMIT ?1"),
          one_hop(db, hop_by_name),
          due(db, due_hops),
          in_line(db, due_in_line),
          again(db, due_again),
          next_due(db, next_due_hop),
          policies(
              db,
              "SELECT p.domain, p.id, t.text, p.fetched, p.expires, p.checked, p.fingerprint FROM policy p "
              "JOIN policy_text t ON t.id = p.text ORDER BY p.domain"),
          versions(
              db,
              "SELECT v.id, t.text, v.fingerprint, v.first_seen, v.last_seen FROM policy_version v "
              "JOIN policy_text t ON t.id = v.text WHERE v.domain = ?1 ORDER BY v.first_seen, v.last_seen"),
          kept(db, "SELECT fields FROM kept WHERE record = ?1 ORDER BY key"),
          hosts_seen(
              db, "SELECT name, tls_sessions, last_tls, last_clear, last_dane FROM tls_host ORDER BY name"),
          outcomes(db,
                   "SELECT o.domain, o.alike, o.n, o.last, t.text, o.day FROM tls_outcome o "
                   "LEFT JOIN policy_text t ON t.id = o.policy WHERE o.day BETWEEN ?1 AND ?2 "
                   "ORDER BY o.day, o.domain"),
          outcomes_of(db,
                      "SELECT o.domain, o.alike, o.n, o.last, t.text, o.day FROM tls_outcome o "
                      "LEFT JOIN policy_text t ON t.id = o.policy WHERE o.day = ?1 AND o.domain = ?2"),
          outcome_days(db, "SELECT (SELECT min(day) FROM tls_outcome), (SELECT max(day) FROM tls_outcome)"),
          reports(db, "SELECT fields FROM tls_report WHERE day BETWEEN ?1 AND ?2 ORDER BY day, domain"),
          reports_to(db, "SELECT fields FROM tls_report WHERE day = ?1 AND domain = ?2"),
          report_by_id(db, "SELECT fields FROM tls_report WHERE id = ?1"),
          closed(db, "SELECT day FROM tls_closed"),
          // each domain of a day once, without reading all that was counted of it
          unreported(db,
                     "SELECT o.day, o.domain, ifnull(r.next_at, 0) FROM "
                     "(SELECT DISTINCT day, domain FROM tls_outcome WHERE day >= ?1) o "
                     "LEFT JOIN tls_report r ON r.day = o.day AND r.domain = o.domain "
                     "WHERE ifnull(r.state, 0) = 0"),
          mail_counts(db,
                      "SELECT hour, key, accepted, octets, sent, deferred, bounced, expired "
                      "FROM mail_count WHERE by = ?1 AND hour BETWEEN ?2 AND ?3"),
          position(db, "SELECT segment, offset, sequence FROM position"),
          place(db, "SELECT segment, offset FROM message WHERE id = ?1") {}

    Statement from, one, of_hop, recipients, totals, waiting_hops, failing_hops, one_hop, due, in_line, again,
        next_due, policies;
    Statement versions, kept, hosts_seen, outcomes, outcomes_of, outcome_days, reports, reports_to,
        report_by_id, closed, unreported, mail_counts, position, place;
};

Reader::Reader(std::unique_ptr<Database> database, std::optional<HistoryPlace> history)
    : database_(std::move(database)),
      history_(std::move(history)),
      statements_(std::make_unique<Statements>(*database_)) {}
Reader::~Reader() = default;

Result<std::unique_ptr<Reader>> Reader::open(const DatabasePlace& place,
                                             std::optional<HistoryPlace> history) {
    auto database = Database::open(place, Access::read);
    if (!database) return fail(std::move(database).error());
    const auto empty = check_schema(**database, place.path);
    if (!empty) return fail(empty.error());
    if (*empty) return fail(Errc::not_found, place.path + " is empty: the daemon has not run yet");
    if ((*database)->number("PRAGMA user_version") != schema_version)
        return fail(
            Errc::busy,
            place.path + " was made by an earlier release: start the daemon once to bring it up to date");
    std::unique_ptr<Reader> reader(new Reader(std::move(*database), std::move(history)));
    if (auto error = reader->database_->take_error()) return fail(std::move(*error));
    return reader;
}

// Runs `read` on one state of the database.
template <class Read>
auto Reader::snapshot(Read read) -> decltype(read()) {
    database_->run("BEGIN");
    auto out = read();
    if (auto error = database_->take_error()) out = fail(std::move(*error));
    database_->run("COMMIT");  // ends the snapshot, so that the WAL may be reused
    database_->take_error();
    if (!out && out.error().code == Errc::damaged) damage_ = out.error().text;
    return out;
}

Result<StoredMessage> Reader::message(Statement& query, bool for_people) {
    const MessageId id{query.id(0)};
    auto head = decode_message(query.octets(5));
    if (!head) return fail(Errc::damaged, "the index entry of message " + id.text() + " is damaged");
    StoredMessage message = StoredMessage::of(*head);
    message.id = id;
    message.held = query.integer(3) != 0;
    message.warned = query.integer(6) != 0;
    message.body.damaged = query.integer(4) != 0;
    if (!has_file(message.body)) message.body.ref = ref_to({query.id(1), query.id(2)});
    auto& rows = statements_->recipients.with(id.value);
    while (rows.row()) {
        auto path = mail::ForwardPath::parse(rows.octets(5), true);
        if (!path)
            return fail(Errc::damaged, "a recipient of message " + id.text() + " is damaged in the index");
        mail::Recipient recipient(std::move(*path));
        recipient.notify = notify_of(rows.id(6));
        recipient.orcpt = rows.text(7);
        StoredRecipient& stored = message.recipients.emplace_back(
            QueuedRecipient(std::move(recipient), HopGroup::parse(rows.octets(1)).next_hop));
        stored.state = static_cast<RecipientState>(rows.integer(2));
        stored.next_at = rows.time(3);
        stored.tries = static_cast<std::uint32_t>(rows.integer(4));
        stored.status = rows.text(8);
        stored.text = rows.text(9);
        stored.lost_replies = static_cast<std::uint32_t>(rows.integer(16));
        // Not tried: the time is its place in the line.
        if (rows.integer(10) != 1 && stored.tries == 0 && stored.status.empty())
            stored.next_at = message.arrived;
        if (for_people && rows.integer(11) > 0 && rows.time(12) > stored.next_at &&
            stored.state == RecipientState::queued) {
            stored.next_at = rows.time(12);
            stored.status = rows.text(13);
            stored.text = rows.text(14);
            stored.reason_code = reason_code_of(rows.text(15));
            stored.waits_for_hop = true;
        }
    }
    return message;
}

Result<HopState> Reader::hop_state(Statement& query) {
    auto detail = decode<AttemptDetail>(query.octets(7));
    if (!detail) return fail(Errc::damaged, "next hop " + query.text(0) + " is damaged in the index");
    HopState out;
    out.next_hop = query.text(0);
    out.at = query.time(1);
    out.next_at = query.time(2);
    out.failures = static_cast<std::uint32_t>(query.integer(3));
    out.status = query.text(4);
    out.text = query.text(5);
    out.reason_code = reason_code_of(query.text(6));
    out.detail = std::move(*detail);
    return out;
}

// Up to `room` messages that are due at a hop and not known yet, in their order, to `ids`. Returns whether
// there are more.
bool Reader::due_at(std::int64_t hop, const DueQuestion& question, std::size_t room,
                    std::vector<MessageId>& ids, std::optional<WallTime>& next) {
    std::set<MessageId> found;
    bool more = false;
    const auto take = [&](MessageId id) {
        if (std::binary_search(question.known.begin(), question.known.end(), id) || found.contains(id))
            return true;
        if (found.size() >= room) {
            more = true;
            return false;
        }
        found.insert(id);
        ids.push_back(id);
        return true;
    };
    auto& again = statements_->again.with(hop);
    while (again.row()) {
        if (again.time(1) > question.now) {
            next = next ? std::min(*next, again.time(1)) : again.time(1);
            break;
        }
        if (!take(MessageId{again.id(0)})) break;
    }
    again.reset();
    auto& line = statements_->in_line.with(hop);
    while (!more && line.row())
        if (!take(MessageId{line.id(0)})) break;
    line.reset();
    return more;
}

Result<Due> Reader::due(const DueQuestion& question) {
    return snapshot([&]() -> Result<Due> {
        Due out;
        std::map<std::string, bool> hops;  // whether there is more
        std::set<MessageId> ids;
        auto& row = statements_->due.with(question.now);
        while (row.row()) {
            if (ids.size() >= question.messages) {
                out.more = true;
                break;
            }
            const std::string name = row.text(1);
            if (std::binary_search(question.full.begin(), question.full.end(), name)) continue;
            std::vector<MessageId> here;
            const std::size_t room = std::min(question.per_hop, question.messages - ids.size());
            hops[name] = due_at(row.integer(0), question, room, here, out.next);
            ids.insert(here.begin(), here.end());
        }
        row.reset();
        auto& next = statements_->next_due.with(question.now);
        if (next.row() && next.integer(0) != 0 && next.integer(0) != never)
            out.next = out.next ? std::min(*out.next, next.time(0)) : next.time(0);
        next.reset();
        std::size_t recipients = 0;
        for (const auto id : ids) {
            if (recipients >=
                question.recipients) {  // the rest is for another question, whichever hop it is of
                out.more = true;
                for (auto& [name, more] : hops) more = true;
                break;
            }
            auto& one = statements_->one.with(id.value);
            if (!one.row()) continue;
            auto found = message(one, false);
            one.reset();
            if (!found) return fail(std::move(found).error());
            recipients += found->recipients.size();
            // What was not tried yet is due, though the clock was ahead when it arrived.
            for (StoredRecipient& r : found->recipients)
                if (r.tries == 0 && r.status.empty()) r.next_at = std::min(r.next_at, question.now);
            // What was not looked at may have more.
            for (std::size_t n = 0; n < found->recipients.size(); ++n)
                if (found->recipients[n].state == RecipientState::queued)
                    hops.try_emplace(hop_of(*found, n), true);
            out.messages.push_back(std::move(*found));
        }
        for (const auto& [name, more] : hops) {
            auto& one = statements_->one_hop.with(name);
            if (!one.row()) continue;
            auto state = hop_state(one);
            one.reset();
            if (!state) return fail(std::move(state).error());
            out.hops.push_back({std::move(*state), more});
        }
        return out;
    });
}

std::size_t recipients_in(const std::vector<StoredMessage>& messages) {
    std::size_t out = 0;
    for (const auto& message : messages) out += message.recipients.size();
    return out;
}

// All that match in the query's rows, up to the limits.
Result<void> Reader::find_by(Statement& query, const QueueFilter& filter, std::vector<StoredMessage>& out) {
    std::size_t recipients = recipients_in(out);
    while (out.size() < filter.limit && recipients < filter.recipients && query.row()) {
        auto found = message(query, true);
        if (!found) {
            query.reset();
            return fail(std::move(found).error());
        }
        if (!matches(filter, *found)) continue;
        recipients += found->recipients.size();
        out.push_back(std::move(*found));
    }
    query.reset();
    return {};
}

Result<std::vector<StoredMessage>> Reader::find(const QueueFilter& filter) {
    return snapshot([&]() -> Result<std::vector<StoredMessage>> {
        std::vector<StoredMessage> out;
        std::set<MessageId> ids(filter.ids.begin(), filter.ids.end());
        if (ids.empty() && filter.domain.empty()) {
            // A recipient's end is no end of the message: those in the table all have one that waits.
            auto done = find_by(
                statements_->from.with(filter.after.value, to_sql(filter.until), filter.unwarned ? 0 : 1),
                filter, out);
            if (!done) return fail(std::move(done).error());
            return out;
        }
        if (ids.empty()) {
            // More than the limit, since not all of them need match; the rest is for another question.
            for (const std::string& group : groups_of(lowered(filter.domain))) {
                auto& row = statements_->of_hop.with(group, filter.after.value, to_sql(filter.until));
                std::size_t matching = 0;
                std::size_t recipients = 0;
                while (matching < filter.limit && recipients < filter.recipients && row.row()) {
                    const MessageId id{row.id(0)};
                    if (ids.contains(id)) continue;
                    auto& one = statements_->one.with(id.value);
                    if (!one.row()) continue;
                    auto found = message(one, true);
                    one.reset();
                    if (!found) {
                        row.reset();
                        return fail(std::move(found).error());
                    }
                    if (!matches(filter, *found)) continue;
                    ids.insert(id);
                    recipients += found->recipients.size();
                    out.push_back(std::move(*found));
                    ++matching;
                }
                row.reset();
            }
            std::sort(out.begin(), out.end(),
                      [](const StoredMessage& a, const StoredMessage& b) { return a.id < b.id; });
            cut_to(filter, out);
            return out;
        }
        for (const auto id : ids)
            if (auto done = find_by(statements_->one.with(id.value), filter, out); !done)
                return fail(std::move(done).error());
        return out;
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

Result<std::vector<HopLoad>> Reader::hops(const HopFilter& filter) {
    return snapshot([&]() -> Result<std::vector<HopLoad>> {
        std::vector<HopLoad> out;
        const auto take = [&](Statement& row) -> Result<void> {
            while (out.size() < filter.limit && row.row()) {
                auto state = hop_state(row);
                if (!state) return fail(std::move(state).error());
                HopLoad load{std::move(*state), row.id(8), std::nullopt};
                if (row.integer(9) != never) load.due = row.time(9);
                out.push_back(std::move(load));
            }
            row.reset();
            return {};
        };
        for (const std::string& name : filter.names)
            if (auto done = take(statements_->one_hop.with(name)); !done)
                return fail(std::move(done).error());
        if (!filter.names.empty()) return out;
        const std::uint64_t limit = filter.limit;
        const HopKey after = filter.after.value_or(HopKey{INT64_MAX, ""});
        if (after.recipients > 0)
            if (auto done = take(statements_->waiting_hops.with(limit, after.recipients, after.name)); !done)
                return fail(std::move(done).error());
        const std::string behind = after.recipients == 0 ? after.name : "";
        if (auto done = take(statements_->failing_hops.with(limit, behind)); !done)
            return fail(std::move(done).error());
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

Result<void> Reader::each_kept(RecordType type, const std::function<void(Kept)>& take) {
    return snapshot([&]() -> Result<void> {
        auto& row = statements_->kept.with(static_cast<int>(type));
        while (row.row()) {
            auto one = decode_kept(type, row.octets(0));
            if (!one) {
                row.reset();  // else its view of the database stays open
                return fail(std::move(one).error());
            }
            if (*one) take(std::move(**one));
        }
        return {};
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

Result<std::vector<MailCount>> Reader::mail_counts(const MailCountFilter& filter) {
    return snapshot([&]() -> Result<std::vector<MailCount>> {
        MailSums sums(filter);
        auto& row =
            statements_->mail_counts.with(static_cast<int>(filter.by), sums.first_hour(), sums.last_hour());
        while (row.row())
            sums.add({row.integer(0), filter.by, row.text(1)},
                     {row.id(2), row.id(3), row.id(4), row.id(5), row.id(6), row.id(7)});
        return sums.taken();
    });
}

Result<std::vector<StoredOutcome>> Reader::outcomes(const OutcomeFilter& filter) {
    return snapshot([&]() -> Result<std::vector<StoredOutcome>> {
        std::vector<StoredOutcome> out;
        const auto take = [&](Statement& row) -> Result<void> {
            while (row.row()) {
                const WallTime last = row.time(3);
                OutcomeKey key{std::chrono::sys_days(std::chrono::days(row.integer(5))), row.text(0),
                               row.text(4), row.text(1)};
                auto outcome = outcome_of(key, last);
                if (!outcome)
                    return fail(Errc::damaged, "a TLS outcome of " + key.domain + " is damaged in the index");
                out.push_back({std::move(*outcome), row.id(2), key.day});
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

Result<std::vector<StoredReport>> Reader::reports(const ReportFilter& filter) {
    return snapshot([&]() -> Result<std::vector<StoredReport>> {
        std::vector<StoredReport> out;
        const auto from = std::int64_t{filter.from.time_since_epoch().count()};
        const auto to = std::int64_t{filter.to.time_since_epoch().count()};
        Statement& row = !filter.id.empty() ? statements_->report_by_id.with(filter.id)
                         : !filter.domain.empty() && from == to
                             ? statements_->reports_to.with(from, filter.domain)
                             : statements_->reports.with(from, to);
        while (out.size() < filter.limit && row.row()) {
            auto report = decode<StoredReport>(row.octets(0));
            if (!report) return fail(Errc::damaged, "a TLS report is damaged in the index");
            if (matches(filter, *report)) out.push_back(std::move(*report));
        }
        row.reset();
        return out;
    });
}

Result<ReportingState> Reader::reporting(std::chrono::sys_days from) {
    return snapshot([&]() -> Result<ReportingState> {
        const auto day = [](std::int64_t number) {
            return std::chrono::sys_days(std::chrono::days(static_cast<int>(number)));
        };
        ReportingState out;
        auto& closed = statements_->closed.with();
        if (closed.row()) out.closed = day(closed.integer(0));
        closed.reset();
        auto& row = statements_->unreported.with(std::int64_t{from.time_since_epoch().count()});
        while (row.row()) out.unreported.push_back({day(row.integer(0)), row.text(1), row.time(2)});
        return out;
    });
}

Result<History> Reader::history(const HistoryFilter& filter) {
    return history_ ? read_history(*history_, filter) : History();
}

std::optional<JournalPlace> Reader::place_of(MessageId message) {
    auto& row = statements_->place.with(message.value);
    std::optional<JournalPlace> out;
    if (row.row()) out = JournalPlace{row.id(0), row.id(1)};
    row.reset();
    database_->take_error();  // whoever asked has trouble already
    return out;
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
