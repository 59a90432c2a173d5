#include "store/sqlite/index_application.h"

#include <algorithm>
#include <cassert>

#include "store/hop_group.h"
#include "store/journal/codec.h"
#include "util/crc32c.h"

namespace sternpost::store::sqlite {
namespace {

// Different outcomes of a domain in a day: beyond the first, hosts are not told apart by address any more,
// beyond the second not at all. Ours: reports are made for people, and totals stay exact.
constexpr std::int64_t most_outcomes = 1000;
constexpr std::int64_t most_outcomes_by_host = 1500;
constexpr int most_versions = 20;  // of a domain's policy (D-39)
// Of an hour, with a row of their own; the others count together. Ours: what an administrator looks for is
// among the largest, which come first in most hours.
constexpr std::int64_t most_mail_keys = 100;

int as_int(RecipientState state) {
    return static_cast<int>(state);
}

}  // namespace

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
    if (accepted.copied) {
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
    fresh.counted = counted_for("", message.origin, message.message_class, message.envelope.reverse_path);
    if (!accepted.copied) mail_.accepted(message, fresh.counted);
    fresh.place = entry.place;
    fresh.held = held_;
    fresh.unfinished = message.recipients.size();
    Recipient queued;
    queued.next_at = message.arrived;
    fresh.recipients.assign(message.recipients.size(), queued);
    if (accepted.copied) {
        fresh.held = held_ || accepted.copied->held;
        fresh.warned = accepted.copied->warned;
        fresh.recipients = accepted.copied->recipients;
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
        fresh.counted.destination = HopGroup::parse(fresh.hops[result.recipient]).next_hop;
        mail_.ended(result, fresh.counted);
        recipient = RecipientProgress::after(result);
        if (final) --fresh.unfinished;
        return;
    }
    const auto changed = change_recipients(
        sql_.set_recipient.with(result.message.value, result.recipient, as_int(result.state), result.next_at,
                                result.tries, result.status, result.text, result.lost_replies));
    if (changed.empty()) return;  // finished before: a recipient ends once
    count(result);
    if (!final) return;
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

void Index::Application::count(const DeliveryResult& result) {
    auto& row = sql_.counted_for.with(result.message.value, result.recipient);
    if (row.row())
        if (const auto head = decode_message(row.octets(1)))
            mail_.ended(result, counted_for(row.octets(0), head->origin, head->message_class,
                                            head->envelope.reverse_path));
    row.reset();
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
    mail_.failed(hop);
    latest_ = std::max(latest_, hop.at);
    const std::string detail = hop.failures > 0 ? encode(hop.detail, WithOutcomes::no) : std::string();
    change_recipients(sql_.put_hop.with(hop.next_hop, hop.at, hop.next_at, hop.failures, hop.status, hop.text,
                                        name_of(hop.reason_code), Blob{detail}));
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

template <Keyed Value>
void Index::Application::take(const JournalEntry&, const Value& later) {
    const int record = static_cast<int>(Description<Value>::record);
    const std::string key = Description<Value>::key(later);
    if (has_ended(later)) {
        sql_.drop_kept.with(record, key).run();
        return;
    }
    Value known = later;
    if constexpr (merges<Value>) {
        known = Value();
        auto& row = sql_.find_kept.with(record, key);
        if (row.row())
            if (auto before = decode<Value>(row.octets(0))) known = std::move(*before);
        row.reset();
        Description<Value>::merge(known, later);
    }
    WallTime heard_of{};
    if constexpr (is_forgotten<Value>) heard_of = Description<Value>::heard_of(known);
    sql_.put_kept.with(record, key, heard_of, Blob{encode(known)}).run();
}

void Index::Application::take(const JournalEntry& entry) {
    std::visit([&](const auto& value) { take(entry, value); }, entry.what);
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

void Index::Application::write_mail_counts() {
    for (const auto& [place, n] : mail_.numbers()) {
        const auto& [hour, by, key] = place;
        const int kind = static_cast<int>(by);
        const auto with = [&](Statement& statement, const std::string& name) -> Statement& {
            return statement.with(hour, kind, name, n.accepted, n.octets, n.sent, n.deferred, n.bounced,
                                  n.expired);
        };
        if (with(sql_.count_mail, key).changed()) continue;
        auto& keys = sql_.mail_keys.with(hour, kind);
        const bool room = keys.row() && keys.integer(0) < most_mail_keys;
        keys.reset();
        if (room)
            with(sql_.add_mail_count, key).run();
        else if (!with(sql_.count_mail, "").changed())
            with(sql_.add_mail_count, "").run();
    }
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
              std::uint64_t{fresh.unfinished}, fresh.held, message.body.damaged, file_of(message.body.ref),
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
    write_mail_counts();
    for (const auto& [id, fresh] : fresh_) {
        if (fresh.unfinished != 0)
            write(fresh);
        else
            release(file_of(fresh.message->body.ref));
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

}  // namespace sternpost::store::sqlite
