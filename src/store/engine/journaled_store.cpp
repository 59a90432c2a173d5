#include "store/engine/journaled_store.h"

#include <fmt/format.h>

#include <algorithm>

namespace sternpost::store::engine {

JournaledStore::JournaledStore(JournaledStoreParts parts, const JournaledStoreOptions& options)
    : parts_(std::move(parts)),
      options_(options),
      bodies_(parts_.disk, parts_.random, options.body_memory),
      journal_(parts_.disk, options.journal, parts_.random, parts_.fatal),
      writer_(
          journal_, bodies_, [this](const SubmissionId& id) { return known(id); }, parts_.on_accepted),
      follower_(
          {parts_.disk, parts_.database, bodies_, parts_.log, parts_.clock, parts_.random, parts_.fatal},
          options.follower, options.journal.segment_octets),
      troubles_(parts_.log) {}

JournaledStore::~JournaledStore() = default;

Result<std::unique_ptr<JournaledStore>> JournaledStore::open(JournaledStoreParts parts,
                                                             const JournaledStoreOptions& options) {
    std::unique_ptr<JournaledStore> spool(new JournaledStore(std::move(parts), options));
    if (auto recovered = spool->recover(); !recovered) return fail(std::move(recovered).error());
    return spool;
}

Result<void> JournaledStore::recover() {
    for (const char* folder : {"journal", "bodies", "damaged"})
        if (auto made = parts_.disk.make_dir(folder); !made) return made;
    auto end = follower_.recover(opened_);
    if (!end) return fail(std::move(end).error());
    if (auto opened = journal_.open(*end); !opened) return opened;
    auto submissions = sqlite::Submissions::open(parts_.database);
    if (!submissions) return fail(std::move(submissions).error());
    submissions_ = std::move(*submissions);
    if (options_.write_ahead && end->segment == 0) journal_.write_ahead();
    followed_ = *end;
    parts_.clock.learn(opened_.newest.time());
    look_at_space();
    return {};
}

std::optional<MessageId> JournaledStore::known(const SubmissionId& id) {
    if (const auto it = unfollowed_.find(id); it != unfollowed_.end()) return it->second.message;
    // Unreadable is not unknown, but a message twice is better than one refused.
    return submissions_->find(id).value_or(std::nullopt);
}

void JournaledStore::accept(NewMessage message, Completion<Result<MessageId>> reply) {
    const char* why = nullptr;
    if (short_of_space_) why = "the disk has too little free space";
    if (backlog() > options_.max_backlog) why = "the queue's index cannot follow";
    if (why == nullptr) {
        message.arrived = parts_.clock.believed(message.arrived);
        return writer_.accept(std::move(message), std::move(reply));
    }
    bodies_.discard(message.body);
    reply(fail(Errc::full, why));
}

void JournaledStore::record(std::vector<DeliveryResult> results, std::vector<NewMessage> notices,
                            Completion<Result<void>> reply) {
    for (NewMessage& notice : notices) notice.arrived = parts_.clock.believed(notice.arrived);
    writer_.record(std::move(results), std::move(notices), std::move(reply));
}

void JournaledStore::commit() {
    const bool asked = !writer_.idle();
    auto written = writer_.commit();
    if (asked) troubles_.note("journal", writer_.committed());
    for (const auto& entry : written) {
        if (changed_) {
            if (const auto* result = std::get_if<DeliveryResult>(&entry.what))
                changed_->insert(result->message);
            if (const auto* act = std::get_if<Act>(&entry.what)) changed_->insert(act->message);
        }
        const auto* accepted = std::get_if<Accepted>(&entry.what);
        if (accepted != nullptr && accepted->message.submission)
            unfollowed_[*accepted->message.submission] = {accepted->message.id, entry.sequence};
    }
    pending_.insert(pending_.end(), std::make_move_iterator(written.begin()),
                    std::make_move_iterator(written.end()));
}

CommittedEntries JournaledStore::hand_over() {
    CommittedEntries out{std::move(pending_), journal_.end()};
    pending_ = {};
    pending_.reserve(out.entries.size());  // the next will be about as many
    return out;
}

void JournaledStore::followed(const JournalPosition& position) {
    followed_ = std::max(followed_, position);
    std::erase_if(unfollowed_, [&](const auto& one) { return one.second.sequence < followed_.sequence; });
}

// A file that cannot go now stays for the next time.
std::vector<std::uint64_t> JournaledStore::retire(const std::vector<std::uint64_t>& segments) {
    std::vector<std::uint64_t> gone;
    for (const auto id : segments) {
        const auto retired = journal_.retire(id);
        troubles_.note("segment", retired);
        if (!retired) break;
        gone.push_back(id);
    }
    return gone;
}

void JournaledStore::copy(std::vector<Accepted> copies) {
    commit();
    std::erase_if(copies, [&](const Accepted& copy) { return changed_->contains(copy.message.id); });
    changed_.reset();
    if (copies.empty()) return;
    writer_.copy(std::move(copies));
    commit();
}

void JournaledStore::apply() {
    follower_.take(hand_over());
    followed(follower_.reached());
}

void JournaledStore::maintain() {
    look_at_space();
    const bool quiet = std::exchange(maintained_, journal_.end()) == journal_.end();
    const auto upkeep = follower_.maintain(quiet);
    if (!upkeep.removable_segments.empty()) follower_.gone(retire(upkeep.removable_segments));
    if (!upkeep.thin) return;
    begin_copy();
    copy(follower_.copies(*upkeep.thin));
}

void JournaledStore::look_at_space() {
    const auto free = parts_.disk.free_octets();
    const bool is_short = free && *free < options_.min_free;
    room_ = is_short ? 0 : free ? std::max<std::uint64_t>(*free - options_.min_free, 1) : UINT64_MAX;
    if (is_short) journal_.drop_spares();
    if (is_short && !short_of_space_)
        Event(parts_.log, Level::error, "store-full")
            .kv("free", *free)
            .reason(fmt::format("fewer than {} MiB are free where state_dir is: mail is refused with 452 "
                                "until there is more; make room there",
                                options_.min_free >> 20U));
    if (!is_short && short_of_space_)
        Event(parts_.log, Level::info, "store-space").kv("free", free ? *free : 0U);
    short_of_space_ = is_short;
}

void JournaledStore::close() {
    commit();
    apply();
    follower_.checkpoint(true);
}

}  // namespace sternpost::store::engine
