// How entries of the journal change the index. Index's own.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "store/sqlite/index.h"
#include "store/sqlite/mail_tally.h"

namespace sternpost::store::sqlite {

inline int day_number(std::chrono::sys_days day) {
    return static_cast<int>(day.time_since_epoch().count());
}

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
          find_kept(db, "SELECT fields FROM kept WHERE record = ?1 AND key = ?2"),
          put_kept(db, "INSERT OR REPLACE INTO kept VALUES (?1, ?2, ?3, ?4)"),
          drop_kept(db, "DELETE FROM kept WHERE record = ?1 AND key = ?2"),
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
          counted_for(db,
                      "SELECT h.name, m.head FROM recipient r JOIN hop h ON h.id = r.hop "
                      "JOIN message m ON m.id = r.message WHERE r.message = ?1 AND r.n = ?2"),
          count_mail(
              db,
              "UPDATE mail_count SET accepted = accepted + ?4, octets = octets + ?5, sent = sent + ?6, "
              "deferred = deferred + ?7, bounced = bounced + ?8, expired = expired + ?9 "
              "WHERE hour = ?1 AND by = ?2 AND key = ?3"),
          mail_keys(db, "SELECT count(*) FROM mail_count WHERE hour = ?1 AND by = ?2"),
          add_mail_count(db, "INSERT INTO mail_count VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"),
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
    Statement find_kept, put_kept, drop_kept;
    Statement count_outcome, add_outcome, different_outcomes, use_policy, put_host;
    Statement counted_for, count_mail, mail_keys, add_mail_count;
    Statement close_day, put_report;
    Statement put_history;
};

// One transaction's worth of entries. Messages accepted in it stay here until the end, so that those that are
// finished by then are never written.
class Index::Application {
  public:
    using Crowded = std::map<std::pair<std::chrono::sys_days, std::string>, Coarseness>;
    /// What the index knew before.
    struct Known {
        std::map<std::uint64_t, SegmentUse> segments;
        MessageId newest;
        std::chrono::sys_days closed;  // the newest day that is
    };
    Application(Statements& statements, Known known, Crowded& crowded, FairRanks& ranks, bool held)
        : sql_(statements),
          segments_(std::move(known.segments)),
          tally_(known.closed),
          crowded_(crowded),
          ranks_(ranks),
          newest_(known.newest),
          held_(held) {}

    void take(const JournalEntry& entry);
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
        CountedFor counted;             // but for the destination
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
    void take(const JournalEntry& entry, const ClosedDay& closed);
    void take(const JournalEntry& entry, const StoredReport& report);
    template <Keyed Value>
    void take(const JournalEntry& entry, const Value& later);
    void reroute(const Act& act);
    /// The hop's row is brought up to date at the end: `more` recipients wait for it.
    void touch(std::int64_t hop, std::int64_t more) { hop_changes_[hop] += more; }
    /// Runs a statement that returns the hops of the recipients that it has changed.
    std::vector<std::int64_t> change_recipients(Statement& statement);
    void drop_recipients(MessageId message);
    std::int64_t text_key(const std::string& text);
    void write_outcomes();
    void write_outcome(const OutcomeKey& key, const OutcomeCounted& counted);
    void count(const DeliveryResult& result);
    void write_mail_counts();

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
    MailTally mail_;
    Crowded& crowded_;
    FairRanks& ranks_;
    std::vector<std::string> released_;
    MessageId newest_;
    bool held_;
};

}  // namespace sternpost::store::sqlite
