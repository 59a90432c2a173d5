#include "store/sqlite/reader.h"

#include <algorithm>

#include "store/codec.h"
#include "store/sqlite/schema.h"

namespace sternpost::store::sqlite {
namespace {

constexpr const char* by_id_from =
    "SELECT id, segment, offset, held, damaged, head FROM message WHERE id > ?1 ORDER BY id LIMIT ?2";
constexpr const char* by_id = "SELECT id, segment, offset, held, damaged, head FROM message WHERE id = ?1";
constexpr const char* by_reverse_path =
    "SELECT id, segment, offset, held, damaged, head FROM message WHERE reverse_path = ?1 ORDER BY id LIMIT "
    "?2";
constexpr const char* by_hop =
    "SELECT DISTINCT m.id, m.segment, m.offset, m.held, m.damaged, m.head FROM recipient r "
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
          hops(
              db,
              "SELECT name, at, next_at, failures, status, text FROM hop WHERE failures > 0 OR next_at > at"),
          policies(
              db,
              "SELECT p.domain, p.id, t.text, p.fetched, p.expires, p.checked, p.fingerprint FROM policy p "
              "JOIN policy_text t ON t.id = p.text ORDER BY p.domain"),
          position(db, "SELECT segment, offset, sequence FROM position") {}

    Statement load, one, of_reverse_path, of_hop, recipients, totals, hops, policies, position;
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
        while (row.row())
            out.push_back({row.text(0), row.time(1), row.time(2), static_cast<std::uint32_t>(row.integer(3)),
                           row.text(4), row.text(5)});
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
