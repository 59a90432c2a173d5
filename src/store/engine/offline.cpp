#include "store/engine/offline.h"

#include <algorithm>

#include "store/engine/layout.h"
#include "store/hop_group.h"
#include "store/journal/body.h"
#include "store/journal/codec.h"
#include "store/journal/replay.h"

namespace sternpost::store::engine {
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

Offline::Offline(std::unique_ptr<Disk> disk, sqlite::DatabasePlace place,
                 std::unique_ptr<sqlite::Reader> reader)
    : disk_(std::move(disk)), place_(std::move(place)), reader_(std::move(reader)) {}

Result<std::unique_ptr<Offline>> Offline::open(const std::string& state_dir) {
    auto disk = std::make_unique<RealDisk>(state_dir);
    const auto has_journal = disk->exists("journal");
    if (!has_journal) return fail(has_journal.error());
    if (!*has_journal) return fail(Errc::not_found, state_dir + " holds no queue");
    sqlite::DatabasePlace place{state_dir + '/' + index_name, ""};
    auto reader = sqlite::Reader::open(place);
    if (!reader && reader.error().code != Errc::not_found) return fail(std::move(reader).error());
    std::unique_ptr<Offline> offline(
        new Offline(std::move(disk), std::move(place), reader ? std::move(*reader) : nullptr));
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
        const auto reporting = reader_->reporting(std::chrono::sys_days(std::chrono::days(3'000'000)));
        if (!reporting) return fail(reporting.error());
        tally_.close(reporting->closed);
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
        filter.ids.push_back(id);
        auto found = reader_->find(filter);
        if (!found) return fail(std::move(found).error());
        if (!found->empty()) it->second.before = it->second.after = std::move(found->front());
    }
    return &it->second;
}

Result<void> Offline::take(JournalEntry entry) {
    history_.add(entry);
    if (const auto* accepted = std::get_if<Accepted>(&entry.what)) {
        auto touched = touch(accepted->message.id);
        if (!touched) return fail(std::move(touched).error());
        if ((*touched)->after)
            (*touched)->after->body.ref = accepted->message.body.ref;  // copied forward
        else
            (*touched)->after = accepted->stored();
        const NewMessage& message = accepted->message;
        if (!accepted->copied)
            mail_.accepted(message, counted_for("", message.origin, message.message_class,
                                                message.envelope.reverse_path));
    } else if (auto* result = std::get_if<DeliveryResult>(&entry.what)) {
        tally_.add(result->detail);
        auto touched = touch(result->message);
        if (!touched) return fail(std::move(touched).error());
        auto& after = (*touched)->after;
        if (!after || result->recipient >= after->recipients.size()) return {};
        StoredRecipient& recipient = after->recipients[result->recipient];
        if (recipient.state != RecipientState::queued) return {};
        mail_.ended(*result, counted_for(hop_of(*after, result->recipient), after->origin,
                                         after->message_class, after->envelope.reverse_path));
        RecipientProgress& progress = recipient;
        progress = RecipientProgress::after(*result);
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
            case ActKind::warned:
                after->warned = true;
                break;
            case ActKind::retry:
                for (auto& recipient : after->recipients)
                    if (recipient.state == RecipientState::queued) recipient.next_at = act->at;
                break;
            case ActKind::reroute:
                for (auto& recipient : after->recipients) {
                    if (recipient.state != RecipientState::queued) continue;
                    if (!act->from.empty() && recipient.address.next_hop != act->from) continue;
                    recipient.address.next_hop = act->to;
                    recipient.move_on(act->at);
                }
                break;
        }
    } else if (auto* policy = std::get_if<StoredPolicy>(&entry.what)) {
        auto& versions = versions_[policy->domain];
        versions.push_back({policy->id, policy->text, policy->fingerprint, policy->fetched,
                            std::max(policy->fetched, policy->checked)});
        policies_[policy->domain] = std::move(*policy);
    } else if (auto* hop = std::get_if<HopState>(&entry.what)) {
        tally_.add(hop->detail);
        mail_.failed(*hop);
        hop->detail.outcomes.clear();
        hops_[hop->next_hop] = std::move(*hop);
    } else if (const auto* closed = std::get_if<ClosedDay>(&entry.what)) {
        tally_.close(closed->day);
    } else if (auto* report = std::get_if<StoredReport>(&entry.what)) {
        reports_[{report->day, report->domain}] = std::move(*report);
    } else {
        std::visit(
            [this]<class Value>(Value& value) {
                if constexpr (Keyed<Value>) kept_[Description<Value>::record].push_back(std::move(value));
            },
            entry.what);
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
    cut_to(filter, out);
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

Result<std::vector<HopLoad>> Offline::hops(const HopFilter& filter) {
    std::map<std::string, HopLoad> all;
    if (reader_) {
        auto hops = reader_->hops(filter);
        if (!hops) return hops;
        for (auto& hop : *hops) all.emplace(hop.state.next_hop, std::move(hop));
    }
    const auto wanted = [&](const std::string& name) {
        return filter.names.empty() ||
               std::find(filter.names.begin(), filter.names.end(), name) != filter.names.end();
    };
    const auto count = [&](const std::optional<StoredMessage>& message, bool more) {
        for (std::size_t n = 0; message && n < message->recipients.size(); ++n) {
            const std::string name = hop_of(*message, n);
            if (message->recipients[n].state != RecipientState::queued || !wanted(name)) continue;
            HopLoad& hop = all[name];
            hop.state.next_hop = name;
            hop.recipients = more ? hop.recipients + 1 : hop.recipients - 1;
        }
    };
    for (const auto& [id, touched] : touched_) {
        count(touched.before, false);
        count(touched.after, true);
    }
    for (const auto& [name, state] : hops_)
        if (wanted(name)) all[name].state = state;
    std::vector<HopLoad> out;
    for (auto& [name, hop] : all)
        if (hop.recipients > 0 || hop.state.failures > 0 || hop.state.next_at > hop.state.at ||
            !filter.names.empty())
            out.push_back(std::move(hop));
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

Result<std::vector<PolicyVersion>> Offline::versions(const std::string& domain) {
    std::vector<PolicyVersion> out;
    if (reader_) {
        auto versions = reader_->versions(domain);
        if (!versions) return versions;
        out = std::move(*versions);
    }
    for (const auto& later : versions_[domain]) {
        const auto known = std::find_if(out.begin(), out.end(), [&](const PolicyVersion& version) {
            return version.id == later.id && version.text == later.text;
        });
        if (known == out.end()) {
            out.push_back(later);
            continue;
        }
        known->fingerprint = later.fingerprint;
        known->last_seen = std::max(known->last_seen, later.last_seen);
    }
    return out;
}

namespace {

// What the index has of one kind, with what the journal says beyond it.
template <Keyed Value>
class KeptByKey {
  public:
    void take(const Value& later) {
        const std::string key = Description<Value>::key(later);
        if (has_ended(later)) {
            all_.erase(key);
        } else if constexpr (merges<Value>) {
            Description<Value>::merge(all_[key], later);
        } else {
            all_[key] = later;
        }
    }
    void put(Value known) { all_[Description<Value>::key(known)] = std::move(known); }
    void give(const std::function<void(Kept)>& take) {
        for (auto& [key, value] : all_) take(std::move(value));
    }

  private:
    std::map<std::string, Value> all_;
};

template <Keyed Value>
Result<void> give_kept(sqlite::Reader* index, const std::vector<Kept>& beyond,
                       const std::function<void(Kept)>& take) {
    KeptByKey<Value> all;
    if (index != nullptr) {
        const auto put = [&all](Kept one) { all.put(std::get<Value>(std::move(one))); };
        if (const auto read = index->each_kept(Description<Value>::record, put); !read) return read;
    }
    for (const auto& one : beyond) all.take(std::get<Value>(one));
    all.give(take);
    return {};
}

}  // namespace

Result<void> Offline::each_kept(RecordType type, const std::function<void(Kept)>& take) {
    Result<void> out;
    for_each_kind([&]<class Value>(std::type_identity<Value>) {
        if constexpr (Keyed<Value>)
            if (Description<Value>::record == type) out = give_kept<Value>(reader_.get(), kept_[type], take);
    });
    return out;
}

Result<std::vector<StoredHost>> Offline::hosts_seen() {
    std::map<std::string, StoredHost> all = tally_.hosts();
    if (reader_) {
        auto stored = reader_->hosts_seen();
        if (!stored) return stored;
        for (const auto& host : *stored) {
            auto& known = all[host.name];
            known.name = host.name;
            merge(known, host);
        }
    }
    std::vector<StoredHost> out;
    for (auto& [name, host] : all) out.push_back(std::move(host));
    return out;
}

Result<std::vector<StoredOutcome>> Offline::outcomes(const OutcomeFilter& filter) {
    std::map<OutcomeKey, StoredOutcome> all;
    const auto add = [&](OutcomeKey key, const TlsOutcome& outcome, std::uint64_t n) {
        const auto day = key.day;
        auto& counted = all[std::move(key)];
        if (counted.n == 0 || counted.outcome.at < outcome.at) counted.outcome = outcome;
        counted.day = day;
        counted.n += n;
    };
    if (reader_) {
        auto stored = reader_->outcomes(filter);
        if (!stored) return stored;
        for (const auto& [outcome, n, day] : *stored)
            add({day, outcome.domain, outcome.policy_text, encode_alike(outcome)}, outcome, n);
    }
    for (const auto& [key, counted] : tally_.outcomes()) {
        if (key.day < filter.from || key.day > filter.to) continue;
        if (!filter.domain.empty() && key.domain != filter.domain) continue;
        if (auto outcome = outcome_of(key, counted.last)) add(key, *outcome, counted.n);
    }
    std::vector<StoredOutcome> out;
    for (auto& [key, counted] : all) out.push_back(std::move(counted));
    return out;
}

Result<std::vector<StoredReport>> Offline::reports(const ReportFilter& filter) {
    std::map<std::pair<std::chrono::sys_days, std::string>, StoredReport> all;
    if (reader_) {
        auto stored = reader_->reports(filter);
        if (!stored) return stored;
        for (auto& report : *stored) all.emplace(std::pair(report.day, report.domain), std::move(report));
    }
    for (const auto& [key, report] : reports_) all[key] = report;
    std::vector<StoredReport> out;
    for (auto& [key, report] : all)
        if (out.size() < filter.limit && matches(filter, report)) out.push_back(std::move(report));
    return out;
}

Result<ReportingState> Offline::reporting(std::chrono::sys_days from) {
    std::map<std::pair<std::chrono::sys_days, std::string>, WallTime> all;
    if (reader_) {
        auto stored = reader_->reporting(from);
        if (!stored) return stored;
        for (const auto& one : stored->unreported) all[{one.day, one.domain}] = one.next_at;
    }
    for (const auto& [key, counted] : tally_.outcomes())
        if (key.day >= from) all.try_emplace({key.day, key.domain});
    for (const auto& [key, report] : reports_) {
        if (report.state == ReportState::waiting)
            all[key] = report.next_at;
        else
            all.erase(key);
    }
    ReportingState out;
    out.closed = tally_.closed();
    for (const auto& [key, next_at] : all) out.unreported.push_back({key.first, key.second, next_at});
    return out;
}

Result<std::vector<MailCount>> Offline::mail_counts(const MailCountFilter& filter) {
    MailSums sums(filter);
    for (const auto& [key, numbers] : mail_.numbers()) sums.add(key, numbers);
    if (reader_) {
        MailCountFilter all = filter;
        all.limit = SIZE_MAX;
        auto stored = reader_->mail_counts(all);
        if (!stored) return stored;
        for (const auto& count : *stored) sums.add(count);
    }
    return sums.taken();
}

Result<History> Offline::history(const HistoryFilter& filter) {
    return sqlite::read_history(sqlite::HistoryPlace::beside(*disk_, place_), filter, &history_);
}

}  // namespace sternpost::store::engine

namespace sternpost::store {

Result<std::unique_ptr<StoreAtRest>> open_at_rest(const std::string& state_dir) {
    auto opened = engine::Offline::open(state_dir);
    if (!opened) return fail(std::move(opened).error());
    return std::unique_ptr<StoreAtRest>(std::move(*opened));
}

}  // namespace sternpost::store
