// The reading end of history.
#include <algorithm>
#include <set>

#include "store/hop_group.h"
#include "store/journal/codec.h"
#include "store/sqlite/history.h"
#include "store/sqlite/history_layout.h"
#include "store/sqlite/history_names.h"
#include "util/text.h"

namespace sternpost::store::sqlite {
namespace {

constexpr std::chrono::days a_clock_may_err(1);  // ours: an attempt is at most so long before its message

bool has_hop(const StoredMessage& message, const std::string& name) {
    return std::any_of(message.recipients.begin(), message.recipients.end(),
                       [&](const StoredRecipient& r) { return r.address.next_hop == name; });
}

std::optional<MessageId> message_of(const HistoryEntry& entry) {
    if (const auto* result = std::get_if<DeliveryResult>(&entry.what)) return result->message;
    if (const auto* act = std::get_if<Act>(&entry.what)) return act->message;
    return std::nullopt;
}

}  // namespace

void HistoryOverlay::add(const JournalEntry& entry) {
    HistoryEntry out;
    out.sequence = entry.sequence;
    if (const auto* accepted = std::get_if<Accepted>(&entry.what)) {
        if (accepted->copied) return;
        messages_.push_back(StoredMessage::of(accepted->message));
        return;
    }
    if (const auto* result = std::get_if<DeliveryResult>(&entry.what)) {
        out.at = result->at;
        out.what = *result;
        std::get<DeliveryResult>(out.what).detail.outcomes.clear();
    } else if (const auto* act = std::get_if<Act>(&entry.what)) {
        out.at = act->at;
        out.what = *act;
    } else if (const auto* hop = std::get_if<HopState>(&entry.what)) {
        out.at = hop->at;
        out.what = *hop;
        std::get<HopState>(out.what).detail.outcomes.clear();
    } else {
        return;
    }
    entries_.push_back(std::move(out));
}

// One answer in the making: what is in several places counts once.
class HistoryAnswer {
  public:
    explicit HistoryAnswer(const HistoryFilter& filter) : filter_(filter) {}

    Result<void> read(const HistoryPlace& place, const HistoryOverlay* beyond);
    History take();

  private:
    bool wanted(const StoredMessage& message) const;
    bool full() const { return messages_.size() >= filter_.limit; }
    void add_message(StoredMessage message);
    void add_head(MessageId id, std::string_view head);
    void add_entry(HistoryEntry entry) { entries_.insert_or_assign(entry.sequence, std::move(entry)); }
    void read_heads(Database& database);
    void read_named(Database& database);
    void read_entries(Database& database, Days day);
    void apply(const HistoryEntry& entry);
    bool at_next_hop(const HistoryEntry& entry) const;
    bool shown(const HistoryEntry& entry) const;

    const HistoryFilter& filter_;
    std::optional<MessageId> id_;
    std::map<MessageId, StoredMessage> messages_;
    std::set<std::string> hops_;
    std::map<std::uint64_t, HistoryEntry> entries_;
    WallTime waited_until_{};
};

bool HistoryAnswer::wanted(const StoredMessage& message) const {
    if (id_ && message.id != *id_) return false;
    return (filter_.next_hop.empty() || has_hop(message, filter_.next_hop)) && has_name(message, filter_);
}

void HistoryAnswer::add_message(StoredMessage message) {
    if (!wanted(message) || message.arrived > filter_.to) return;
    if (id_)
        for (std::size_t n = 0; n < message.recipients.size(); ++n) hops_.insert(hop_of(message, n));
    const MessageId id = message.id;
    messages_.try_emplace(id, std::move(message));
}

void HistoryAnswer::add_head(MessageId id, std::string_view head) {
    FieldReader fields(head);
    std::uint64_t sequence = 0;
    while (const auto field = fields.next()) {
        if (field->tag == head_message) {
            auto message = decode_message(field->octets);
            if (message) add_message(StoredMessage::of(*message));
            if (!messages_.contains(id)) return;
        } else if (field->tag == head_sequence) {
            sequence = field->number().value_or(0);
        } else if (field->tag == head_what) {
            if (auto entry = entry_of(sequence, field->octets)) add_entry(std::move(*entry));
        }
    }
}

void HistoryAnswer::read_heads(Database& database) {
    if (id_) {
        Statement one(database, "SELECT id, head FROM message WHERE id = ?1");
        one.with(id_->value);
        while (one.row()) add_head(MessageId{one.id(0)}, one.octets(1));
        return;
    }
    if (!filter_.name.empty() && database.number("PRAGMA user_version") >= 2) return read_named(database);
    Statement all(
        database,
        "SELECT id, head FROM message WHERE ?1 = '' OR instr(hops, ' ' || ?1 || ' ') > 0 ORDER BY id DESC");
    all.with(filter_.next_hop);
    while (!full() && all.row()) add_head(MessageId{all.id(0)}, all.octets(1));
}

void HistoryAnswer::read_named(Database& database) {
    const MessageId newest =
        filter_.to == WallTime::max() ? MessageId{INT64_MAX} : MessageId::last_at(filter_.to);
    std::set<std::uint64_t, std::greater<>> ids;
    for (const NameOf what : {NameOf::recipient, NameOf::sender, NameOf::message_id})
        if (!filter_.name_of || filter_.name_of == what)
            for (const auto id : look_up(database, hash_of(what, filter_.name), newest, filter_.limit))
                ids.insert(id);
    Statement one(database, "SELECT head FROM message WHERE id = ?1");
    for (const auto id : ids) {
        if (full()) return;
        one.with(id);
        while (one.row()) add_head(MessageId{id}, one.octets(0));
    }
}

void HistoryAnswer::read_entries(Database& database, Days day) {
    Statement attempts(database, "SELECT sequence, what FROM attempt WHERE message = ?1");
    Statement hops(database, "SELECT sequence, what FROM hop WHERE name = ?1");
    const auto take = [&](Statement& rows) {
        while (rows.row())
            if (auto entry = entry_of(rows.id(0), rows.octets(1))) add_entry(std::move(*entry));
    };
    if (id_) take(attempts.with(id_->value));
    for (const auto& [id, message] : messages_)
        if (!id_ && day_of(message.arrived) - a_clock_may_err <= day) take(attempts.with(id.value));
    for (const auto& name : hops_) take(hops.with(name));
}

Result<void> HistoryAnswer::read(const HistoryPlace& place, const HistoryOverlay* beyond) {
    if (!filter_.id.empty()) {
        id_ = MessageId::parse(filter_.id);
        if (!id_) return {};
    }
    if (!filter_.next_hop.empty()) hops_.insert(filter_.next_hop);
    if (beyond != nullptr)
        for (auto it = beyond->messages_.rbegin(); it != beyond->messages_.rend() && !full(); ++it)
            add_message(*it);
    const auto days = days_kept(*place.disk);
    if (!days) return fail(days.error());
    std::vector<std::pair<Days, std::unique_ptr<Database>>> opened;  // the latest first
    for (const Days day : *days) {
        // Nothing was done with a message before it was there.
        if (id_ && day < day_of(id_->time()) - a_clock_may_err) break;
        if (auto database = Database::open({place.folder + file_name(day), place.vfs}, Access::read))
            opened.emplace_back(day, std::move(*database));
    }
    for (const auto& [day, database] : opened) {
        if (full()) break;
        read_heads(*database);
    }
    for (const auto& [day, database] : opened) read_entries(*database, day);
    if (beyond == nullptr) return {};
    for (const auto& entry : beyond->entries_) {
        const auto message = message_of(entry);
        const auto* hop = std::get_if<HopState>(&entry.what);
        if ((message && (messages_.contains(*message) || message == id_)) ||
            (hop != nullptr && hops_.contains(hop->next_hop)))
            add_entry(entry);
    }
    return {};
}

// The recipients as the entries, in the order of the journal, leave them.
void HistoryAnswer::apply(const HistoryEntry& entry) {
    const auto id = message_of(entry);
    const auto it = id ? messages_.find(*id) : messages_.end();
    if (it == messages_.end()) return;
    StoredMessage& message = it->second;
    if (const auto* act = std::get_if<Act>(&entry.what)) {
        if (act->kind == ActKind::hold || act->kind == ActKind::release)
            message.held = act->kind == ActKind::hold;
        for (auto& recipient : message.recipients) {
            if (recipient.state != RecipientState::queued) continue;
            if (act->kind == ActKind::remove) recipient.state = RecipientState::deleted;
            if (act->kind != ActKind::reroute) continue;
            if (!act->from.empty() && recipient.address.next_hop != act->from) continue;
            recipient.address.next_hop = act->to;
            recipient.move_on(act->at);
        }
        return;
    }
    const auto& result = std::get<DeliveryResult>(entry.what);
    if (result.recipient >= message.recipients.size()) return;
    auto& recipient = message.recipients[result.recipient];
    if (recipient.state != RecipientState::queued) return;
    RecipientProgress& progress = recipient;
    progress = RecipientProgress::after(result);
}

// An attempt for the next hop that is asked for; what is no attempt passes.
bool HistoryAnswer::at_next_hop(const HistoryEntry& entry) const {
    const auto* result = std::get_if<DeliveryResult>(&entry.what);
    if (result == nullptr || filter_.next_hop.empty()) return true;
    const auto message = messages_.find(result->message);
    return message == messages_.end() || result->recipient >= message->second.recipients.size() ||
           message->second.recipients[result->recipient].address.next_hop == filter_.next_hop;
}

bool HistoryAnswer::shown(const HistoryEntry& entry) const {
    if (entry.at < filter_.from || entry.at > filter_.to) return false;
    if (!std::holds_alternative<HopState>(entry.what) || !id_) return true;
    // Of its next hops what was while it waited.
    const auto message = messages_.find(*id_);
    return message != messages_.end() && entry.at >= message->second.arrived && entry.at <= waited_until_;
}

History HistoryAnswer::take() {
    std::set<std::uint64_t> at_hop;  // of each entry the next hop that was waited for then counts
    for (const auto& [sequence, entry] : entries_) {
        if (at_next_hop(entry)) at_hop.insert(sequence);
        apply(entry);
        if (id_ && message_of(entry) == id_) waited_until_ = std::max(waited_until_, entry.at);
    }
    if (const auto message = id_ ? messages_.find(*id_) : messages_.end(); message != messages_.end()) {
        const auto& recipients = message->second.recipients;
        const bool waits = std::any_of(recipients.begin(), recipients.end(), [](const StoredRecipient& r) {
            return r.state == RecipientState::queued;
        });
        if (waits) waited_until_ = WallTime::max();
    }
    History out;
    for (const auto& [sequence, entry] : entries_)
        if (at_hop.contains(sequence) && shown(entry)) out.entries.push_back(entry);
    std::stable_sort(out.entries.begin(), out.entries.end(),
                     [](const HistoryEntry& a, const HistoryEntry& b) { return a.at < b.at; });
    if (out.entries.size() > filter_.entry_limit)
        out.entries.erase(out.entries.begin(),
                          out.entries.end() - static_cast<std::ptrdiff_t>(filter_.entry_limit));
    std::set<MessageId> spoken_of;
    for (const auto& entry : out.entries)
        if (const auto message = message_of(entry)) spoken_of.insert(*message);
    for (auto& [id, message] : messages_)
        if (id_ || message.arrived >= filter_.from || spoken_of.contains(id))
            out.messages.push_back(std::move(message));
    return out;
}

Result<History> read_history(const HistoryPlace& place, const HistoryFilter& filter,
                             const HistoryOverlay* beyond) {
    HistoryAnswer answer(filter);
    if (auto read = answer.read(place, beyond); !read) return fail(std::move(read).error());
    return answer.take();
}

}  // namespace sternpost::store::sqlite
