#include "store/sqlite/offline.h"

#include <algorithm>

#include "store/body.h"
#include "store/sqlite/layout.h"

namespace sternpost::store::sqlite {
namespace {

bool finished(const StoredMessage& message) {
    return std::none_of(message.recipients.begin(), message.recipients.end(),
                        [](const StoredRecipient& r) { return r.state == RecipientState::queued; });
}

std::uint64_t unfinished_recipients(const StoredMessage& message) {
    return static_cast<std::uint64_t>(
        std::count_if(message.recipients.begin(), message.recipients.end(),
                      [](const StoredRecipient& r) { return r.state == RecipientState::queued; }));
}

}  // namespace

Offline::Offline(std::unique_ptr<Disk> disk, std::unique_ptr<Reader> reader)
    : disk_(std::move(disk)), reader_(std::move(reader)) {}

Result<std::unique_ptr<Offline>> Offline::open(const std::string& state_dir) {
    auto disk = std::make_unique<RealDisk>(state_dir);
    const auto has_journal = disk->exists("journal");
    if (!has_journal) return fail(has_journal.error());
    if (!*has_journal) return fail(Errc::not_found, state_dir + " holds no queue");
    auto reader = Reader::open({state_dir + '/' + index_name, ""});
    if (!reader && reader.error().code != Errc::not_found) return fail(std::move(reader).error());
    std::unique_ptr<Offline> offline(new Offline(std::move(disk), reader ? std::move(*reader) : nullptr));
    if (!reader)
        offline->warnings_.push_back(reader.error().text + "; what follows is read from the journal alone");
    if (auto done = offline->overlay(); !done) return fail(std::move(done).error());
    return offline;
}

Result<void> Offline::overlay() {
    JournalPosition from;
    if (reader_) {
        const auto position = reader_->position();
        if (!position) return fail(position.error());
        from = *position;
    }
    auto replayed =
        replay(*disk_, from, false, [&](const RecordView& record, const JournalPosition&) -> Result<void> {
            auto entry = decode_entry(record);
            if (!entry || !*entry) return {};  // the daemon's replay will warn of it
            return take(std::move(**entry));
        });
    if (!replayed) return fail(std::move(replayed).error());
    warnings_.insert(warnings_.end(), replayed->warnings.begin(), replayed->warnings.end());
    return {};
}

Result<Offline::Touched*> Offline::touch(MessageId id) {
    const auto [it, added] = touched_.try_emplace(id);
    if (added && reader_) {
        QueueFilter filter;
        filter.id = id.text();
        auto found = reader_->find(filter);
        if (!found) return fail(std::move(found).error());
        if (!found->empty()) it->second.before = it->second.after = std::move(found->front());
    }
    return &it->second;
}

Result<void> Offline::take(JournalEntry entry) {
    if (const auto* accepted = std::get_if<Accepted>(&entry.what)) {
        auto touched = touch(accepted->message.id);
        if (!touched) return fail(std::move(touched).error());
        if ((*touched)->after)
            (*touched)->after->body.place = accepted->message.body.place;  // copied forward
        else
            (*touched)->after = StoredMessage::of(accepted->message);
    } else if (auto* result = std::get_if<DeliveryResult>(&entry.what)) {
        auto touched = touch(result->message);
        if (!touched) return fail(std::move(touched).error());
        auto& after = (*touched)->after;
        if (!after || result->recipient >= after->recipients.size()) return {};
        StoredRecipient& recipient = after->recipients[result->recipient];
        if (recipient.state != RecipientState::queued) return {};
        recipient.state = result->state;
        recipient.next_at = result->next_at;
        recipient.tries = result->tries;
        recipient.status = std::move(result->status);
        recipient.text = std::move(result->text);
        if (finished(*after)) after.reset();
    } else if (const auto* act = std::get_if<Act>(&entry.what)) {
        auto touched = touch(act->message);
        if (!touched) return fail(std::move(touched).error());
        auto& after = (*touched)->after;
        if (!after) return {};
        switch (act->kind) {
            case ActKind::remove:
                after.reset();
                break;
            case ActKind::hold:
            case ActKind::release:
                after->held = act->kind == ActKind::hold;
                break;
            case ActKind::retry:
                for (auto& recipient : after->recipients)
                    if (recipient.state == RecipientState::queued) recipient.next_at = act->at;
                break;
        }
    } else if (auto* policy = std::get_if<StoredPolicy>(&entry.what)) {
        policies_[policy->domain] = std::move(*policy);
    } else if (auto* hop = std::get_if<HopState>(&entry.what)) {
        hops_[hop->next_hop] = std::move(*hop);
    }
    return {};
}

Result<std::vector<StoredMessage>> Offline::find(const QueueFilter& filter) {
    std::vector<StoredMessage> out;
    if (reader_) {
        QueueFilter wider = filter;
        wider.limit += touched_.size();
        auto found = reader_->find(wider);
        if (!found) return found;
        out = std::move(*found);
        std::erase_if(out, [&](const StoredMessage& message) { return touched_.contains(message.id); });
    }
    for (const auto& [id, touched] : touched_)
        if (touched.after && matches(filter, *touched.after)) out.push_back(*touched.after);
    std::sort(out.begin(), out.end(),
              [](const StoredMessage& a, const StoredMessage& b) { return a.id < b.id; });
    if (out.size() > filter.limit)
        out.erase(out.begin() + static_cast<std::ptrdiff_t>(filter.limit), out.end());
    return out;
}

Result<QueueTotals> Offline::totals() {
    QueueTotals out;
    if (reader_) {
        auto totals = reader_->totals();
        if (!totals) return totals;
        out = *totals;
    }
    for (const auto& [id, touched] : touched_) {
        if (touched.before) {
            out.messages -= 1;
            out.recipients -= unfinished_recipients(*touched.before);
            out.octets -= touched.before->body.size;
        }
        if (touched.after) {
            out.messages += 1;
            out.recipients += unfinished_recipients(*touched.after);
            out.octets += touched.after->body.size;
        }
    }
    QueueFilter oldest;
    oldest.limit = 1;
    auto first = find(oldest);
    if (!first) return fail(std::move(first).error());
    out.oldest.reset();
    if (!first->empty()) out.oldest = first->front().arrived;
    return out;
}

Result<std::vector<HopState>> Offline::hops() {
    std::vector<HopState> out;
    if (reader_) {
        auto hops = reader_->hops();
        if (!hops) return hops;
        out = std::move(*hops);
        std::erase_if(out, [&](const HopState& hop) { return hops_.contains(hop.next_hop); });
    }
    for (const auto& [name, hop] : hops_)
        if (hop.failures > 0 || hop.next_at > hop.at) out.push_back(hop);
    return out;
}

Result<std::vector<StoredPolicy>> Offline::policies() {
    std::vector<StoredPolicy> out;
    if (reader_) {
        auto policies = reader_->policies();
        if (!policies) return policies;
        out = std::move(*policies);
        std::erase_if(out, [&](const StoredPolicy& policy) { return policies_.contains(policy.domain); });
    }
    for (const auto& [domain, policy] : policies_) out.push_back(policy);
    std::sort(out.begin(), out.end(),
              [](const StoredPolicy& a, const StoredPolicy& b) { return a.domain < b.domain; });
    return out;
}

Result<std::string> Offline::read_body(const StoredMessage& message, std::uint64_t offset, std::size_t most) {
    return store::read_body(*disk_, message.body, offset, most);
}

}  // namespace sternpost::store::sqlite
