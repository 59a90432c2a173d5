#include "store/sqlite/index.h"

#include <algorithm>
#include <cassert>
#include <unordered_map>

#include "store/hop_group.h"
#include "store/journal/codec.h"
#include "store/sqlite/schema.h"
#include "util/crc32c.h"

namespace sternpost::store::sqlite {
namespace {

// Different outcomes of a domain in a day: beyond the first, hosts are not told apart by address any more,
// beyond the second not at all. Ours: reports are made for people, and totals stay exact.
constexpr std::int64_t most_outcomes = 1000;
constexpr std::int64_t most_outcomes_by_host = 1500;
constexpr int most_versions = 20;               // of a domain's policy (D-39)
constexpr std::int64_t all_versions = 200'000;  // of all domains
// How long what is not mail is remembered after it was last heard of.
constexpr auto discovery_memory = std::chrono::days(61);  // a day more than policies are refreshed for (D-39)
constexpr auto alarm_memory = std::chrono::days(90);
constexpr auto host_memory = std::chrono::days(400);
constexpr auto hop_memory = std::chrono::days(7);

int day_number(std::chrono::sys_days day) {
    return static_cast<int>(day.time_since_epoch().count());
}

int as_int(RecipientState state) {
    return static_cast<int>(state);
}

}  // namespace

struct Index::Statements {
    explicit Statements(Database& db)
        : move_position(db,
                        "UPDATE position SET segment = ?1, offset = ?2, sequence = ?3, newest_message = ?4"),
          put_segment(db, "INSERT OR REPLACE INTO segment VALUES (?1, ?2, ?3, ?4, ?5, ?6)"),
          drop_segment(db, "DELETE FROM segment WHERE id = ?1"),
          note_copy(db, "INSERT OR IGNORE INTO copied VALUES (?1, ?2)"),
          find_copies(db, "SELECT segment FROM copied WHERE message = ?1"),
          drop_copies(db, "DELETE FROM copied WHERE segment = ?1"),
          get_place(db, "SELECT segment, offset, held, warned FROM message WHERE id = ?1 AND NOT damaged"),
          get_recipients(
              db,
              "SELECT r.state, r.next_at, r.tries, r.status, r.text, h.name, r.lost_replies FROM recipient r "
              "JOIN hop h ON h.id = r.hop WHERE r.message = ?1 ORDER BY r.n"),
          add_message(db, "INSERT INTO message VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"),
          find_message(db, "SELECT segment, size, unfinished FROM message WHERE id = ?1"),
          move_message(db, "UPDATE message SET segment = ?2, offset = ?3 WHERE id = ?1"),
          drop_message(db, "DELETE FROM message WHERE id = ?1"),
          one_less(db,
                   "UPDATE message SET unfinished = unfinished - 1 WHERE id = ?1 "
                   "RETURNING unfinished, segment, size, file"),
          set_held(db, "UPDATE message SET held = ?2 WHERE id = ?1"),
          set_warned(db, "UPDATE message SET warned = 1 WHERE id = ?1"),
          set_damaged(db, "UPDATE message SET damaged = 1 WHERE file = ?1 AND file <> '' RETURNING id"),
          get_file(db, "SELECT file FROM message WHERE id = ?1"),
          all_files(db, "SELECT file FROM message WHERE file <> ''"),
          add_recipient(
              db, "INSERT INTO recipient VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"),
          set_recipient(db,
                        "UPDATE recipient SET state = ?3, next_at = ?4, tries = ?5, status = ?6, text = ?7, "
                        "lost_replies = ?8, "
                        "tier = CASE tier WHEN 2 THEN 2 ELSE 1 END "
                        "WHERE message = ?1 AND n = ?2 AND state = 0 RETURNING hop"),
          hold_recipients(db, "UPDATE recipient SET tier = 2 WHERE message = ?1 AND state = 0 RETURNING hop"),
          release_recipients(
              db,
              "UPDATE recipient SET tier = CASE WHEN tries > 0 OR status <> '' THEN 1 ELSE 0 END "
              "WHERE message = ?1 AND state = 0 AND tier = 2 RETURNING hop"),
          retry_recipients(db,
                           "UPDATE recipient SET next_at = CASE WHEN tries > 0 OR status <> '' THEN ?2 "
                           "ELSE next_at END WHERE message = ?1 AND state = 0 RETURNING hop"),
          unblock_hop(db, "UPDATE hop SET next_at = min(next_at, ?2) WHERE id = ?1"),
          waiting_at(db,
                     "SELECT r.n, r.hop, h.name FROM recipient r JOIN hop h ON h.id = r.hop "
                     "WHERE r.message = ?1 AND r.state = 0"),
          move_recipient(db,
                         "UPDATE recipient SET hop = ?3, tier = CASE tier WHEN 2 THEN 2 ELSE 0 END, "
                         "next_at = CASE WHEN tries > 0 OR status <> '' THEN ?4 ELSE next_at END, "
                         "tries = 0, status = '', text = '' WHERE message = ?1 AND n = ?2"),
          drop_recipients(db, "DELETE FROM recipient WHERE message = ?1 RETURNING hop, state"),
          settle_hop(
              db,
              "UPDATE hop SET waiting = waiting + ?2, due_at = max(next_at, min("
              "ifnull((SELECT min(next_at, ?3) FROM recipient WHERE hop = ?1 AND state = 0 AND tier = 0 "
              "ORDER BY next_at LIMIT 1), 9223372036854775807), "
              "ifnull((SELECT next_at FROM recipient WHERE hop = ?1 AND state = 0 AND tier = 1 "
              "ORDER BY next_at LIMIT 1), 9223372036854775807))) WHERE id = ?1"),
          find_hop(db, "SELECT id FROM hop WHERE name = ?1"),
          add_hop(db, "INSERT INTO hop (name) VALUES (?1) RETURNING id"),
          put_hop(db,
                  "INSERT INTO hop (name, at, next_at, failures, status, text, reason_code, detail) "
                  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) "
                  "ON CONFLICT (name) DO UPDATE SET at = ?2, next_at = ?3, failures = ?4, status = ?5, "
                  "text = ?6, reason_code = ?7, detail = ?8 RETURNING id"),
          add_submission(db, "INSERT OR IGNORE INTO submission VALUES (?1, ?2, ?3)"),
          drop_submissions(db, "DELETE FROM submission WHERE at < ?1"),
          find_text(db, "SELECT id FROM policy_text WHERE hash = ?1 AND text = ?2"),
          add_text(db, "INSERT INTO policy_text (hash, text) VALUES (?1, ?2) RETURNING id"),
          put_policy(db, "INSERT OR REPLACE INTO policy VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
          put_version(db,
                      "INSERT INTO policy_version VALUES (?1, ?2, ?3, ?4, ?5, ?6) "
                      "ON CONFLICT DO UPDATE SET fingerprint = ?4, last_seen = max(last_seen, ?6)"),
          trim_versions(
              db,
              "DELETE FROM policy_version WHERE domain = ?1 AND (id, text) IN "
              "(SELECT id, text FROM policy_version WHERE domain = ?1 AND NOT (id = ?2 AND text = ?3) "
              "ORDER BY last_seen DESC, first_seen DESC LIMIT -1 OFFSET ?4)"),
          put_discovery(db, "INSERT OR REPLACE INTO discovery VALUES (?1, ?2, ?3, ?4, ?5)"),
          put_override(db, "INSERT OR REPLACE INTO override VALUES (?1, ?2, ?3, ?4, ?5, ?6)"),
          drop_override(db, "DELETE FROM override WHERE scope = ?1"),
          put_suspension(db, "INSERT OR REPLACE INTO suspension VALUES (?1, ?2, ?3, ?4, ?5)"),
          drop_suspension(db, "DELETE FROM suspension WHERE kind = ?1 AND scope = ?2"),
          find_alarm(db, "SELECT text, first, last, count FROM alarm WHERE kind = ?1 AND subject = ?2"),
          put_alarm(db, "INSERT OR REPLACE INTO alarm VALUES (?1, ?2, ?3, ?4, ?5, ?6)"),
          count_outcome(db,
                        "UPDATE tls_outcome SET n = n + ?5, last = max(last, ?6) "
                        "WHERE day = ?1 AND domain = ?2 AND policy = ?3 AND alike = ?4"),
          add_outcome(db,
                      "INSERT INTO tls_outcome VALUES (?1, ?2, ?3, ?4, ?5, ?6) "
                      "ON CONFLICT DO UPDATE SET n = n + ?5, last = max(last, ?6)"),
          different_outcomes(db, "SELECT count(*) FROM tls_outcome WHERE day = ?1 AND domain = ?2"),
          use_policy(db, "INSERT OR IGNORE INTO tls_policy VALUES (?1, ?2)"),
          put_host(db,
                   "INSERT INTO tls_host VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET "
                   "tls_sessions = tls_sessions + ?2, last_tls = max(last_tls, ?3), "
                   "last_clear = max(last_clear, ?4), last_dane = max(last_dane, ?5)"),
          close_day(db, "UPDATE tls_closed SET day = max(day, ?1)"),
          put_report(db, "INSERT OR REPLACE INTO tls_report VALUES (?1, ?2, ?3, ?4, ?5, ?6)"),
          put_history(db, "UPDATE history SET segment = ?1, offset = ?2, sequence = ?3") {}

    Statement move_position, put_segment, drop_segment;
    Statement note_copy, find_copies, drop_copies, get_place, get_recipients;
    Statement add_message, find_message, move_message, drop_message, one_less, set_held, set_warned,
        set_damaged, get_file, all_files;
    Statement add_recipient, set_recipient, hold_recipients, release_recipients, retry_recipients,
        unblock_hop, waiting_at, move_recipient, drop_recipients, settle_hop;
    Statement find_hop, add_hop, put_hop;
    Statement add_submission, drop_submissions;
    Statement find_text, add_text, put_policy, put_version, trim_versions;
    Statement put_discovery, put_override, drop_override, put_suspension, drop_suspension, find_alarm,
        put_alarm;
    Statement count_outcome, add_outcome, different_outcomes, use_policy, put_host;
    Statement close_day, put_report;
    Statement put_history;
};

// One transaction's worth of entries. Messages accepted in it stay here until the end, so that those that are
// finished by then are never written.
class Index::Application {
  public:
    using Crowded = std::map<std::pair<std::chrono::sys_days, std::string>, Coarseness>;
    Application(Statements& statements, std::map<std::uint64_t, SegmentUse> segments, Crowded& crowded,
                FairRanks& ranks, MessageId newest, std::chrono::sys_days closed, bool held)
        : sql_(statements),
          segments_(std::move(segments)),
          tally_(closed),
          crowded_(crowded),
          ranks_(ranks),
          newest_(newest),
          held_(held) {}

    void take(const JournalEntry& entry) {
        std::visit([&](const auto& value) { take(entry, value); }, entry.what);
    }
    void finish();

    std::map<std::uint64_t, SegmentUse> segments_taken() { return std::move(segments_); }
    std::vector<std::string> released_taken() { return std::move(released_); }
    MessageId newest() const { return newest_; }
    std::chrono::sys_days closed() const { return tally_.closed(); }

  private:
    using Recipient = RecipientProgress;
    static bool tried(const Recipient& recipient) { return recipient.tries > 0 || !recipient.status.empty(); }
    struct Fresh {
        const NewMessage* message = nullptr;
        std::vector<std::string> hops;  // of the recipients: groups
        JournalPlace place;
        bool held = false;
        bool warned = false;
        std::vector<Recipient> recipients;
        std::size_t unfinished = 0;
    };

    void take(const JournalEntry& entry, const Accepted& accepted);
    void take(const JournalEntry& entry, const DeliveryResult& result);
    void take(const JournalEntry& entry, const Act& act);
    void take(const JournalEntry& entry, const StoredPolicy& policy);
    void take(const JournalEntry& entry, const HopState& hop);
    void take(const JournalEntry& entry, const StoredDiscovery& discovery);
    void take(const JournalEntry& entry, const StoredOverride& override);
    void take(const JournalEntry& entry, const StoredAlarm& alarm);
    void take(const JournalEntry& entry, const StoredSuspension& suspension);
    void take(const JournalEntry& entry, const ClosedDay& closed);
    void take(const JournalEntry& entry, const StoredReport& report);
    void reroute(const Act& act);
    /// The hop's row is brought up to date at the end: `more` recipients wait for it.
    void touch(std::int64_t hop, std::int64_t more) { hop_changes_[hop] += more; }
    /// Runs a statement that returns the hops of the recipients that it has changed.
    std::vector<std::int64_t> change_recipients(Statement& statement);
    void drop_recipients(MessageId message);
    std::int64_t text_key(const std::string& text);
    void write_outcomes();
    void write_outcome(const OutcomeKey& key, const OutcomeCounted& counted);

    SegmentUse& use(std::uint64_t segment) {
        changed_.push_back(segment);
        return segments_[segment];
    }
    bool moved(const JournalEntry& entry, const NewMessage& message);
    void remove(MessageId message);
    void release(const std::string& file) {
        if (!file.empty()) released_.push_back(file);
    }
    void write(const Fresh& fresh);
    std::int64_t hop_id(const std::string& name);

    Statements& sql_;
    std::map<std::uint64_t, SegmentUse> segments_;
    std::vector<std::uint64_t> changed_;
    std::map<std::uint64_t, Fresh> fresh_;  // by id: written in the table's order
    std::unordered_map<std::string, std::int64_t> hops_;
    std::map<std::int64_t, std::int64_t> hop_changes_;  // by id
    WallTime latest_{};                                 // time that an entry tells
    std::unordered_map<std::string, std::int64_t> texts_;
    OutcomeCounts tally_;
    Crowded& crowded_;
    FairRanks& ranks_;
    std::vector<std::string> released_;
    MessageId newest_;
    bool held_;
};

// A second accept record with a known id is the same message, copied forward from a segment that was to go:
// the index knows more of it than the copy. Where it is not known, the index is being rebuilt.
bool Index::Application::moved(const JournalEntry& entry, const NewMessage& message) {
    if (const auto it = fresh_.find(message.id.value); it != fresh_.end()) {
        it->second.place = entry.place;
        return true;
    }
    if (message.id > newest_) return false;
    if (!sql_.find_message.with(message.id.value).row()) return false;
    const auto segment = sql_.find_message.id(0);
    const auto size = sql_.find_message.id(1);
    const auto unfinished = sql_.find_message.id(2);
    sql_.find_message.reset();
    sql_.move_message.with(message.id.value, entry.place.segment, entry.place.offset).run();
    auto& from = use(segment);
    from.messages -= 1;
    from.recipients -= unfinished;
    from.octets -= size;
    auto& to = use(entry.place.segment);
    to.messages += 1;
    to.recipients += unfinished;
    to.octets += size;
    return true;
}

void Index::Application::take(const JournalEntry& entry, const Accepted& accepted) {
    const NewMessage& message = accepted.message;
    auto& segment = use(entry.place.segment);
    if (message.copied) {
        sql_.note_copy.with(message.id.value, entry.place.segment).run();
    } else {
        segment.min_message = std::min(segment.min_message, message.id);
        segment.max_message = std::max(segment.max_message, message.id);
    }
    if (moved(entry, message)) return;
    newest_ = std::max(newest_, message.id);
    latest_ = std::max(latest_, message.arrived);
    if (message.submission) {
        const auto& octets = message.submission->octets;
        sql_.add_submission
            .with(Blob{std::string(octets.begin(), octets.end())}, message.id.value, message.arrived)
            .run();
    }
    Fresh fresh;
    fresh.message = &message;
    fresh.place = entry.place;
    fresh.held = held_;
    fresh.unfinished = message.recipients.size();
    Recipient queued;
    queued.next_at = message.arrived;
    fresh.recipients.assign(message.recipients.size(), queued);
    if (message.copied) {
        fresh.held = held_ || message.copied->held;
        fresh.warned = message.copied->warned;
        fresh.recipients = message.copied->recipients;
        fresh.recipients.resize(message.recipients.size(), queued);
        fresh.unfinished = static_cast<std::size_t>(
            std::count_if(fresh.recipients.begin(), fresh.recipients.end(),
                          [](const Recipient& r) { return r.state == RecipientState::queued; }));
    }
    for (std::size_t n = 0; n < message.recipients.size(); ++n) fresh.hops.push_back(hop_of(message, n));
    fresh_.emplace(message.id.value, std::move(fresh));
}

void Index::Application::take(const JournalEntry&, const DeliveryResult& result) {
    tally_.add(result.detail);
    latest_ = std::max(latest_, result.at);
    const bool final = result.state != RecipientState::queued;
    if (const auto it = fresh_.find(result.message.value); it != fresh_.end()) {
        Fresh& fresh = it->second;
        // A deletion has ended all of it, though an attempt that was under way ends later.
        if (fresh.unfinished == 0) return;
        if (result.recipient >= fresh.recipients.size()) return;
        Recipient& recipient = fresh.recipients[result.recipient];
        if (recipient.state != RecipientState::queued) return;
        recipient = RecipientProgress::after(result);
        if (final) --fresh.unfinished;
        return;
    }
    const auto changed = change_recipients(
        sql_.set_recipient.with(result.message.value, result.recipient, as_int(result.state), result.next_at,
                                result.tries, result.status, result.text, result.lost_replies));
    if (changed.empty() || !final) return;  // finished before: a recipient ends once
    touch(changed.front(), -1);
    if (!sql_.one_less.with(result.message.value).row()) return;
    const auto unfinished = sql_.one_less.integer(0);
    auto& segment = use(sql_.one_less.id(1));
    segment.recipients -= 1;
    if (unfinished == 0) {
        segment.messages -= 1;
        segment.octets -= sql_.one_less.id(2);
        release(sql_.one_less.text(3));
    }
    sql_.one_less.reset();
    if (unfinished != 0) return;
    sql_.drop_message.with(result.message.value).run();
    drop_recipients(result.message);
}

std::vector<std::int64_t> Index::Application::change_recipients(Statement& statement) {
    std::vector<std::int64_t> out;
    while (statement.row()) out.push_back(statement.integer(0));
    for (const auto hop : out) touch(hop, 0);
    return out;
}

void Index::Application::drop_recipients(MessageId message) {
    auto& dropped = sql_.drop_recipients.with(message.value);
    while (dropped.row())
        if (dropped.integer(1) == as_int(RecipientState::queued)) touch(dropped.integer(0), -1);
}

void Index::Application::remove(MessageId message) {
    if (!sql_.find_message.with(message.value).row()) return;
    auto& segment = use(sql_.find_message.id(0));
    segment.messages -= 1;
    segment.octets -= sql_.find_message.id(1);
    segment.recipients -= sql_.find_message.id(2);
    sql_.find_message.reset();
    if (sql_.get_file.with(message.value).row()) release(sql_.get_file.text(0));
    sql_.get_file.reset();
    sql_.drop_message.with(message.value).run();
    drop_recipients(message);
}

// Those that wait for the next hop that is meant, whatever they say of TLS.
void Index::Application::reroute(const Act& act) {
    struct Move {
        std::uint64_t n;
        std::int64_t from;
        std::string to;
    };
    std::vector<Move> moves;
    auto& row = sql_.waiting_at.with(act.message.value);
    while (row.row()) {
        HopGroup name = HopGroup::parse(row.octets(2));
        if (!act.from.empty() && name.next_hop != act.from) continue;
        name.next_hop = act.to;
        moves.push_back({row.id(0), row.integer(1), name.text()});
    }
    for (const Move& move : moves) {
        const auto to = hop_id(move.to);
        sql_.move_recipient.with(act.message.value, move.n, to, act.at).run();
        touch(move.from, -1);
        touch(to, 1);
    }
}

void Index::Application::take(const JournalEntry&, const Act& act) {
    latest_ = std::max(latest_, act.at);
    const auto it = fresh_.find(act.message.value);
    Fresh* fresh = it == fresh_.end() ? nullptr : &it->second;
    switch (act.kind) {
        case ActKind::remove:
            if (fresh != nullptr)
                fresh->unfinished = 0;
            else
                remove(act.message);
            break;
        case ActKind::hold:
        case ActKind::release:
            if (fresh != nullptr) {
                fresh->held = act.kind == ActKind::hold;
                break;
            }
            sql_.set_held.with(act.message.value, act.kind == ActKind::hold).run();
            change_recipients(act.kind == ActKind::hold ? sql_.hold_recipients.with(act.message.value)
                                                        : sql_.release_recipients.with(act.message.value));
            break;
        case ActKind::warned:
            if (fresh != nullptr)
                fresh->warned = true;
            else
                sql_.set_warned.with(act.message.value).run();
            break;
        case ActKind::retry:
            if (fresh == nullptr) {
                for (const auto hop :
                     change_recipients(sql_.retry_recipients.with(act.message.value, act.at)))
                    sql_.unblock_hop.with(hop, act.at).run();
                break;
            }
            for (std::size_t n = 0; n < fresh->recipients.size(); ++n) {
                Recipient& recipient = fresh->recipients[n];
                if (recipient.state != RecipientState::queued) continue;
                if (tried(recipient)) recipient.next_at = act.at;
                const auto hop = hop_id(fresh->hops[n]);
                touch(hop, 0);
                sql_.unblock_hop.with(hop, act.at).run();
            }
            break;
        case ActKind::reroute:
            if (fresh == nullptr) {
                reroute(act);
                break;
            }
            for (std::size_t n = 0; n < fresh->recipients.size(); ++n) {
                HopGroup name = HopGroup::parse(fresh->hops[n]);
                if (fresh->recipients[n].state != RecipientState::queued) continue;
                if (!act.from.empty() && name.next_hop != act.from) continue;
                name.next_hop = act.to;
                fresh->hops[n] = name.text();
                fresh->recipients[n].move_on(act.at);
            }
            break;
    }
}

std::int64_t Index::Application::text_key(const std::string& text) {
    if (text.empty()) return 0;
    const auto [it, added] = texts_.try_emplace(text, 0);
    if (!added) return it->second;
    const std::uint32_t hash = crc32c(text);
    Statement* statement = &sql_.find_text.with(hash, Blob{text});
    if (!statement->row()) {
        statement = &sql_.add_text.with(hash, Blob{text});
        statement->row();
    }
    it->second = statement->integer(0);
    statement->reset();
    return it->second;
}

void Index::Application::take(const JournalEntry&, const StoredPolicy& policy) {
    const auto key = text_key(policy.text);
    sql_.put_policy
        .with(policy.domain, policy.id, key, policy.fetched, policy.expires, policy.checked,
              policy.fingerprint)
        .run();
    sql_.put_version
        .with(policy.domain, policy.id, key, policy.fingerprint, policy.fetched,
              std::max(policy.fetched, policy.checked))
        .run();
    sql_.trim_versions.with(policy.domain, policy.id, key, most_versions - 1).run();
}

void Index::Application::take(const JournalEntry&, const HopState& hop) {
    tally_.add(hop.detail);
    latest_ = std::max(latest_, hop.at);
    const std::string detail = hop.failures > 0 ? encode(hop.detail, WithOutcomes::no) : std::string();
    change_recipients(sql_.put_hop.with(hop.next_hop, hop.at, hop.next_at, hop.failures, hop.status, hop.text,
                                        name_of(hop.reason_code), Blob{detail}));
}

void Index::Application::take(const JournalEntry&, const StoredSuspension& suspension) {
    const int kind = static_cast<int>(suspension.kind);
    if (suspension.ended)
        sql_.drop_suspension.with(kind, suspension.scope).run();
    else
        sql_.put_suspension.with(kind, suspension.scope, suspension.reason, suspension.author, suspension.set)
            .run();
}

void Index::Application::take(const JournalEntry&, const ClosedDay& closed) {
    tally_.close(closed.day);
    sql_.close_day.with(day_number(closed.day)).run();
}

void Index::Application::take(const JournalEntry&, const StoredReport& report) {
    sql_.put_report
        .with(day_number(report.day), report.domain, report.id, static_cast<int>(report.state),
              report.next_at, Blob{encode(report)})
        .run();
}

void Index::Application::take(const JournalEntry&, const StoredDiscovery& discovery) {
    sql_.put_discovery
        .with(discovery.domain, discovery.unknown_since, discovery.failed_id, discovery.failed_at,
              discovery.mailed)
        .run();
}

void Index::Application::take(const JournalEntry&, const StoredOverride& override) {
    if (override.level.empty())
        sql_.drop_override.with(override.scope).run();
    else
        sql_.put_override
            .with(override.scope, override.level, override.reason, override.author, override.set,
                  override.expires)
            .run();
}

void Index::Application::take(const JournalEntry&, const StoredAlarm& alarm) {
    StoredAlarm known;
    auto& row = sql_.find_alarm.with(alarm.kind, alarm.subject);
    if (row.row()) {
        known.text = row.text(0);
        known.first = row.time(1);
        known.last = row.time(2);
        known.count = row.id(3);
    }
    row.reset();
    merge(known, alarm);
    sql_.put_alarm.with(alarm.kind, alarm.subject, known.text, known.first, known.last, known.count).run();
}

void Index::Application::write_outcome(const OutcomeKey& key, const OutcomeCounted& counted) {
    const int day = day_number(key.day);
    const auto text = text_key(key.policy_text);
    const auto crowd = crowded_.find({key.day, key.domain});
    auto coarseness = crowd == crowded_.end() ? Coarseness::whole : crowd->second;
    for (;;) {
        const OutcomeKey kept = coarser(key, coarseness);
        const Blob alike{kept.alike};
        if (sql_.count_outcome.with(day, key.domain, text, alike, counted.n, counted.last).changed()) return;
        auto& different = sql_.different_outcomes.with(day, key.domain);
        const auto count = different.row() ? different.integer(0) : 0;
        different.reset();
        auto wanted = Coarseness::whole;
        if (count >= most_outcomes) wanted = Coarseness::without_addresses;
        if (count >= most_outcomes_by_host) wanted = Coarseness::without_hosts;
        if (wanted <= coarseness) {
            sql_.add_outcome.with(day, key.domain, text, alike, counted.n, counted.last).run();
            if (text != 0) sql_.use_policy.with(text, day).run();
            return;
        }
        coarseness = wanted;
        crowded_[{key.day, key.domain}] = wanted;
    }
}

void Index::Application::write_outcomes() {
    for (const auto& [key, counted] : tally_.outcomes()) write_outcome(key, counted);
    for (const auto& [name, host] : tally_.hosts())
        sql_.put_host.with(name, host.tls_sessions, host.last_tls, host.last_clear, host.last_dane).run();
}

std::int64_t Index::Application::hop_id(const std::string& name) {
    const auto [it, added] = hops_.try_emplace(name, 0);
    if (!added) return it->second;
    Statement* statement = &sql_.find_hop.with(name);
    if (!statement->row()) {
        statement = &sql_.add_hop.with(name);
        statement->row();
    }
    it->second = statement->integer(0);
    statement->reset();
    return it->second;
}

void Index::Application::write(const Fresh& fresh) {
    const NewMessage& message = *fresh.message;
    const auto& reverse_path = message.envelope.reverse_path;
    sql_.add_message
        .with(message.id.value, fresh.place.segment, fresh.place.offset, message.body.size,
              std::uint64_t{fresh.unfinished}, fresh.held, message.body.damaged, message.body.file,
              reverse_path.is_null() ? std::string("<>") : reverse_path.text(), Blob{encode_head(message)},
              fresh.warned)
        .run();
    auto& segment = use(fresh.place.segment);
    segment.messages += 1;
    segment.recipients += fresh.unfinished;
    segment.octets += message.body.size;
    const std::string sender = sender_of(message.origin, message.message_class);
    for (std::size_t n = 0; n < message.recipients.size(); ++n) {
        const auto& address = message.recipients[n];
        const auto& state = fresh.recipients[n];
        const auto hop = hop_id(fresh.hops[n]);
        const int tier = fresh.held ? 2 : tried(state) ? 1 : 0;
        const bool in_line = !tried(state) && state.state == RecipientState::queued;
        const WallTime next_at = in_line ? ranks_.rank(hop, sender, message.arrived) : state.next_at;
        sql_.add_recipient
            .with(message.id.value, std::uint64_t{n}, hop, as_int(state.state), next_at, state.tries,
                  address.recipient.path.text(), notify_bits(address.recipient.notify),
                  address.recipient.orcpt, state.status, state.text, tier, state.lost_replies)
            .run();
        touch(hop, state.state == RecipientState::queued ? 1 : 0);
    }
}

void Index::Application::finish() {
    write_outcomes();
    for (const auto& [id, fresh] : fresh_) {
        if (fresh.unfinished != 0)
            write(fresh);
        else
            release(fresh.message->body.file);
    }
    for (const auto& [hop, more] : hop_changes_) sql_.settle_hop.with(hop, more, latest_).run();
    std::sort(changed_.begin(), changed_.end());
    changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
    for (const auto id : changed_) {
        const auto& segment = segments_[id];
        sql_.put_segment
            .with(id, segment.messages, segment.recipients, segment.octets, segment.min_message.value,
                  segment.max_message.value)
            .run();
    }
}

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
                                  "policy_text", "policy_version", "discovery", "override", "suspension",
                                  "alarm", "tls_outcome", "tls_policy", "tls_host", "copied", "tls_report"})
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
    Application application(*statements_, segments_, crowded_, ranks_, newest_, closed_, held);
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
        drop("DELETE FROM discovery WHERE max(mailed, unknown_since, failed_at) < ?1",
             now - discovery_memory);
        drop("DELETE FROM alarm WHERE last < ?1", now - alarm_memory);
        drop(
            "DELETE FROM hop WHERE waiting = 0 AND at < ?1 AND next_at < ?1 AND NOT EXISTS "
            "(SELECT 1 FROM recipient WHERE hop = hop.id)",
            now - hop_memory);
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
