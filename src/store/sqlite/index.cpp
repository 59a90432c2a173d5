#include "store/sqlite/index.h"

#include <algorithm>
#include <cassert>
#include <unordered_map>

#include "store/codec.h"
#include "store/sqlite/schema.h"
#include "util/crc32c.h"

namespace sternpost::store::sqlite {
namespace {

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
          add_message(db, "INSERT INTO message VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"),
          find_message(db, "SELECT segment, size, unfinished FROM message WHERE id = ?1"),
          move_message(db, "UPDATE message SET segment = ?2, offset = ?3 WHERE id = ?1"),
          drop_message(db, "DELETE FROM message WHERE id = ?1"),
          one_less(db,
                   "UPDATE message SET unfinished = unfinished - 1 WHERE id = ?1 "
                   "RETURNING unfinished, segment, size, file"),
          set_held(db, "UPDATE message SET held = ?2 WHERE id = ?1"),
          set_damaged(db, "UPDATE message SET damaged = 1 WHERE file = ?1 AND file <> '' RETURNING id"),
          get_file(db, "SELECT file FROM message WHERE id = ?1"),
          all_files(db, "SELECT file FROM message WHERE file <> ''"),
          add_recipient(db, "INSERT INTO recipient VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"),
          set_recipient(db,
                        "UPDATE recipient SET state = ?3, next_at = ?4, tries = ?5, status = ?6, text = ?7 "
                        "WHERE message = ?1 AND n = ?2 AND state = 0"),
          retry_recipients(db, "UPDATE recipient SET next_at = ?2 WHERE message = ?1 AND state = 0"),
          drop_recipients(db, "DELETE FROM recipient WHERE message = ?1"),
          find_hop(db, "SELECT id FROM hop WHERE name = ?1"),
          add_hop(db, "INSERT INTO hop (name) VALUES (?1) RETURNING id"),
          put_hop(
              db,
              "INSERT INTO hop (name, at, next_at, failures, status, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6) "
              "ON CONFLICT (name) DO UPDATE SET at = ?2, next_at = ?3, failures = ?4, status = ?5, text = "
              "?6"),
          add_submission(db, "INSERT OR IGNORE INTO submission VALUES (?1, ?2, ?3)"),
          find_submission(db, "SELECT message FROM submission WHERE id = ?1"),
          drop_submissions(db, "DELETE FROM submission WHERE at < ?1"),
          find_text(db, "SELECT id FROM policy_text WHERE hash = ?1 AND text = ?2"),
          add_text(db, "INSERT INTO policy_text (hash, text) VALUES (?1, ?2) RETURNING id"),
          policy_text(db, "SELECT text FROM policy WHERE domain = ?1"),
          put_policy(db, "INSERT OR REPLACE INTO policy VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
          drop_text(
              db,
              "DELETE FROM policy_text WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM policy WHERE text = ?1)") {
    }

    Statement move_position, put_segment, drop_segment;
    Statement add_message, find_message, move_message, drop_message, one_less, set_held, set_damaged,
        get_file, all_files;
    Statement add_recipient, set_recipient, retry_recipients, drop_recipients;
    Statement find_hop, add_hop, put_hop;
    Statement add_submission, find_submission, drop_submissions;
    Statement find_text, add_text, policy_text, put_policy, drop_text;
};

// One transaction's worth of entries. Messages accepted in it stay here until the end, so that those that are
// finished by then are never written.
class Index::Application {
  public:
    Application(Statements& statements, std::map<std::uint64_t, SegmentUse> segments, MessageId newest,
                bool held)
        : sql_(statements), segments_(std::move(segments)), newest_(newest), held_(held) {}

    void take(const JournalEntry& entry) {
        std::visit([&](const auto& value) { take(entry, value); }, entry.what);
    }
    void finish();

    std::map<std::uint64_t, SegmentUse> segments_taken() { return std::move(segments_); }
    std::vector<std::string> released_taken() { return std::move(released_); }
    MessageId newest() const { return newest_; }

  private:
    struct Recipient {
        RecipientState state = RecipientState::queued;
        WallTime next_at;
        std::uint32_t tries = 0;
        std::string status;
        std::string text;
    };
    struct Fresh {
        const NewMessage* message = nullptr;
        JournalPlace place;
        bool held = false;
        std::vector<Recipient> recipients;
        std::size_t unfinished = 0;
    };

    void take(const JournalEntry& entry, const Accepted& accepted);
    void take(const JournalEntry& entry, const DeliveryResult& result);
    void take(const JournalEntry& entry, const Act& act);
    void take(const JournalEntry& entry, const StoredPolicy& policy);
    void take(const JournalEntry& entry, const HopState& hop);

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
    std::vector<std::string> released_;
    MessageId newest_;
    bool held_;
};

// A second accept record with a known id is the same message, copied forward from a segment that was to go.
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
    segment.min_message = std::min(segment.min_message, message.id);
    segment.max_message = std::max(segment.max_message, message.id);
    if (moved(entry, message)) return;
    newest_ = std::max(newest_, message.id);
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
    fresh_.emplace(message.id.value, std::move(fresh));
}

void Index::Application::take(const JournalEntry&, const DeliveryResult& result) {
    const bool final = result.state != RecipientState::queued;
    if (const auto it = fresh_.find(result.message.value); it != fresh_.end()) {
        Fresh& fresh = it->second;
        if (result.recipient >= fresh.recipients.size()) return;
        Recipient& recipient = fresh.recipients[result.recipient];
        if (recipient.state != RecipientState::queued) return;
        recipient = {result.state, result.next_at, result.tries, result.status, result.text};
        if (final) --fresh.unfinished;
        return;
    }
    Statement& set = sql_.set_recipient.with(result.message.value, result.recipient, as_int(result.state),
                                             result.next_at, result.tries, result.status, result.text);
    if (!set.changed() || !final) return;  // finished before: a recipient ends once
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
    sql_.drop_recipients.with(result.message.value).run();
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
    sql_.drop_recipients.with(message.value).run();
}

void Index::Application::take(const JournalEntry&, const Act& act) {
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
            if (fresh != nullptr)
                fresh->held = act.kind == ActKind::hold;
            else
                sql_.set_held.with(act.message.value, act.kind == ActKind::hold).run();
            break;
        case ActKind::retry:
            if (fresh == nullptr) {
                sql_.retry_recipients.with(act.message.value, act.at).run();
                break;
            }
            for (auto& recipient : fresh->recipients)
                if (recipient.state == RecipientState::queued) recipient.next_at = act.at;
            break;
    }
}

void Index::Application::take(const JournalEntry&, const StoredPolicy& policy) {
    const std::uint32_t hash = crc32c(policy.text);
    std::int64_t before = 0;
    if (sql_.policy_text.with(policy.domain).row()) before = sql_.policy_text.integer(0);
    sql_.policy_text.reset();
    Statement* text = &sql_.find_text.with(hash, Blob{policy.text});
    if (!text->row()) {
        text = &sql_.add_text.with(hash, Blob{policy.text});
        text->row();
    }
    const auto key = text->integer(0);
    text->reset();
    sql_.put_policy
        .with(policy.domain, policy.id, key, policy.fetched, policy.expires, policy.checked,
              policy.fingerprint)
        .run();
    if (before != 0 && before != key) sql_.drop_text.with(before).run();
}

void Index::Application::take(const JournalEntry&, const HopState& hop) {
    sql_.put_hop.with(hop.next_hop, hop.at, hop.next_at, hop.failures, hop.status, hop.text).run();
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
              reverse_path.is_null() ? std::string("<>") : reverse_path.text(), Blob{encode_head(message)})
        .run();
    auto& segment = use(fresh.place.segment);
    segment.messages += 1;
    segment.recipients += fresh.unfinished;
    segment.octets += message.body.size;
    for (std::size_t n = 0; n < message.recipients.size(); ++n) {
        const auto& address = message.recipients[n];
        const auto& state = fresh.recipients[n];
        sql_.add_recipient
            .with(message.id.value, std::uint64_t{n}, hop_id(address.next_hop), as_int(state.state),
                  state.next_at, state.tries, address.recipient.path.text(),
                  notify_bits(address.recipient.notify), address.recipient.orcpt, state.status, state.text)
            .run();
    }
}

void Index::Application::finish() {
    for (const auto& [id, fresh] : fresh_) {
        if (fresh.unfinished != 0)
            write(fresh);
        else
            release(fresh.message->body.file);
    }
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
    if (auto migrated = migrate(**database, place.path); !migrated) return fail(std::move(migrated).error());
    std::unique_ptr<Index> index(new Index(std::move(*database)));
    if (auto loaded = index->load(); !loaded) return fail(std::move(loaded).error());
    // Tables that a crash could take back would make the queue look lost at the next start.
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
    if (auto error = database_->take_error()) return fail(std::move(*error));
    return {};
}

Result<void> Index::begin_rebuild() {
    auto done = database_->transaction([&] {
        for (const char* table :
             {"message", "recipient", "hop", "submission", "segment", "policy", "policy_text"})
            database_->run(("DELETE FROM " + std::string(table)).c_str());
        database_->run(
            "UPDATE position SET segment = 0, offset = 0, sequence = 1, newest_message = 0, complete = 0");
    });
    position_ = {};
    newest_ = {};
    segments_.clear();
    return done;
}

Result<void> Index::set_complete() {
    if (auto done = database_->transaction([&] { database_->run("UPDATE position SET complete = 1"); });
        !done)
        return done;
    complete_ = true;
    return checkpoint(true);
}

std::optional<MessageId> Index::submitted(const SubmissionId& id) {
    auto& find = statements_->find_submission.with(Blob{std::string(id.octets.begin(), id.octets.end())});
    std::optional<MessageId> found;
    if (find.row()) found = MessageId{find.id(0)};
    find.reset();
    // Unreadable is not unknown, but a message twice is better than one refused.
    database_->take_error();
    return found;
}

Result<std::vector<std::string>> Index::apply(std::span<const JournalEntry> entries,
                                              const JournalPosition& after, bool held) {
    Application application(*statements_, segments_, newest_, held);
    auto done = database_->transaction([&] {
        for (const auto& entry : entries) application.take(entry);
        application.finish();
        statements_->move_position
            .with(after.segment, after.offset, after.sequence, application.newest().value)
            .run();
    });
    if (!done) return fail(std::move(done).error());
    position_ = after;
    newest_ = application.newest();
    segments_ = application.segments_taken();
    return application.released_taken();
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

Result<void> Index::forget_segment(std::uint64_t segment) {
    auto done = database_->transaction([&] { statements_->drop_segment.with(segment).run(); });
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
