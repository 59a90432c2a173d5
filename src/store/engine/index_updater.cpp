#include "store/engine/index_updater.h"

#include <fmt/format.h>

#include <algorithm>

#include "store/engine/layout.h"
#include "store/journal/codec.h"
#include "store/journal/replay.h"

namespace sternpost::store::engine {
namespace {

constexpr std::size_t chunk_entries = 10'000;   // of a replay that one transaction takes
constexpr std::uint64_t thin_part = 8;          // of a segment: what may be copied so that the rest can go
constexpr std::uint64_t thin_record = 1024;     // what a message takes there at least, as a rule
constexpr std::uint64_t segments_emptying = 4;  // the latest: mail that is on its way leaves them by itself

// The message that a result or act record is about.
std::optional<MessageId> message_of(RecordType type, std::string_view fields) {
    if (type == RecordType::result)
        if (const auto result = decode<DeliveryResult>(fields)) return result->message;
    if (type == RecordType::act)
        if (const auto act = decode<Act>(fields)) return act->message;
    return std::nullopt;
}

// Feeds the index in chunks, each with the position behind it.
class Filler {
  public:
    using OnApplied = std::function<void(std::span<const JournalEntry>)>;
    Filler(sqlite::Index& index, bool held, std::vector<std::string>& warnings, OnApplied on_applied)
        : index_(index), held_(held), warnings_(warnings), on_applied_(std::move(on_applied)) {}

    Result<void> take(const RecordView& record, const JournalPosition& after) {
        auto entry = decode_entry(record);
        if (!entry) {
            warnings_.push_back(fmt::format("{}: record {} makes no sense and was passed over: {}",
                                            segment_name(record.place.segment), record.sequence,
                                            entry.error().text));
        } else if (!*entry) {
            warnings_.push_back(
                fmt::format("{}: record {} is of type {}, which only a later release knows; passed over",
                            segment_name(record.place.segment), record.sequence, record.type));
        } else {
            note_damage(**entry);
            entries_.push_back(std::move(**entry));
        }
        after_ = after;
        return entries_.size() < chunk_entries ? Result<void>{} : flush();
    }
    Result<void> finish(const JournalPosition& end) {
        after_ = end;
        return entries_.empty() && end == index_.position() ? Result<void>{} : flush();
    }

  private:
    void note_damage(const JournalEntry& entry) {
        const auto* accepted = std::get_if<Accepted>(&entry.what);
        if (accepted == nullptr || !accepted->message.body.damaged) return;
        warnings_.push_back(
            fmt::format("message {} from <{}> has lost its text to damage on disk; its sender will be told",
                        accepted->message.id.text(), accepted->message.envelope.reverse_path.text()));
    }
    Result<void> flush() {
        // Bodies that this releases are found by the comparison of files and index that follows every
        // recovery.
        auto applied = index_.apply(entries_, after_, held_);
        if (applied) on_applied_(entries_);
        entries_.clear();
        if (!applied) return fail(std::move(applied).error());
        return {};
    }

    sqlite::Index& index_;
    bool held_;
    std::vector<std::string>& warnings_;
    OnApplied on_applied_;
    std::vector<JournalEntry> entries_;
    JournalPosition after_;
};

// The records of all done-files in the order that they were written in, each once.
Result<std::vector<DoneRecord>> all_done(Disk& disk, const std::set<std::uint64_t>& segments) {
    std::vector<DoneRecord> out;
    for (const auto segment : segments) {
        auto records = read_done(disk, segment);
        if (!records) return records;
        std::move(records->begin(), records->end(), std::back_inserter(out));
    }
    std::sort(out.begin(), out.end(),
              [](const DoneRecord& a, const DoneRecord& b) { return a.sequence < b.sequence; });
    const auto same = [](const DoneRecord& a, const DoneRecord& b) { return a.sequence == b.sequence; };
    out.erase(std::unique(out.begin(), out.end(), same), out.end());
    return out;
}

RecordView view_of(const DoneRecord& record) {
    RecordView view;
    view.type = static_cast<std::uint8_t>(record.type);
    view.sequence = record.sequence;
    view.fields = record.fields;
    return view;
}

}  // namespace

Result<JournalPosition> IndexUpdater::recover(Opened& opened) {
    auto index = sqlite::Index::open(parts_.database);
    if (!index) return fail(std::move(index).error());
    index_ = std::move(*index);
    // The folders, the database and the segment that will be gone on with, before anything is promised that
    // needs them: an earlier process may have ended between making a file and syncing its folder.
    for (const char* folder : {"", "journal"})
        if (auto synced = parts_.disk.sync_dir(folder); !synced) {
            parts_.fatal(synced.error().text);
            return fail(std::move(synced).error());
        }
    if (options_.history_days.count() > 0)
        history_ = std::make_unique<sqlite::HistoryFiles>(
            sqlite::HistoryPlace::beside(parts_.disk, parts_.database), options_.history_days);
    if (auto caught_up = catch_history_up(); !caught_up) return fail(std::move(caught_up).error());
    if (auto read = read_journal(opened); !read) return fail(std::move(read).error());
    if (auto done = reconcile_segments(); !done) return fail(std::move(done).error());
    if (auto done = reconcile_bodies(opened); !done) return fail(std::move(done).error());
    opened.newest = index_->newest();
    submissions_forgotten_ = parts_.clock.wall();
    return end_;
}

// The history may be behind the index by what was not on stable storage when the machine stopped. What it has
// already is written again: rows are known by their record's number.
Result<void> IndexUpdater::catch_history_up() {
    history_durable_ = index_->history_position();
    if (!history_ || history_durable_.sequence >= index_->position().sequence) return {};
    JournalPosition from = history_durable_;
    const auto there =
        from.segment == 0 ? Result<bool>(true) : parts_.disk.exists(segment_name(from.segment));
    if (!there) return fail(there.error());
    // Its segment went after the files were synced, and only the note of it was lost: go on behind it.
    if (!*there) from = {from.segment, 0, UINT64_MAX};
    std::vector<JournalEntry> entries;
    const auto replayed =
        replay(parts_.disk, from, false, [&](const RecordView& record, const JournalPosition&) {
            if (record.sequence >= index_->position().sequence) return Result<void>();
            if (auto entry = decode_entry(record); entry && *entry) entries.push_back(std::move(**entry));
            if (entries.size() >= chunk_entries) apply_history(std::exchange(entries, {}));
            return Result<void>();
        });
    if (!replayed) return fail(replayed.error());
    apply_history(entries);
    return {};
}

// History is for people: trouble with it is told, and what it should have held is lost, but mail goes on.
void IndexUpdater::apply_history(std::span<const JournalEntry> entries) {
    if (!history_ || entries.empty()) return;
    note("history", history_->apply(entries, parts_.clock.wall()));
}

Result<void> IndexUpdater::checkpoint_history() {
    if (!history_) {
        history_durable_ = index_->position();
        return {};
    }
    // What is not in the index yet is not in the history either.
    const JournalPosition reached = index_->position();
    const auto whole = history_->checkpoint(parts_.clock.wall());
    if (!whole) {
        // Nor may trouble with it keep the journal for ever.
        if (!history_->sync_failed()) history_durable_ = reached;
        return fail(whole.error());
    }
    if (!*whole) return {};
    history_durable_ = reached;
    index_->set_history_position(reached);
    return {};
}

Result<void> IndexUpdater::read_journal(Opened& opened) {
    auto ids = segments(parts_.disk);
    if (!ids) return fail(std::move(ids).error());
    segments_ = {ids->begin(), ids->end()};
    const bool rebuild = !index_->complete() && !segments_.empty();
    std::vector<DoneRecord> done;
    if (rebuild) {
        if (auto begun = index_->begin_rebuild(); !begun) return begun;
        auto records = all_done(parts_.disk, segments_);
        if (!records) return fail(std::move(records).error());
        done = std::move(*records);
    }
    Filler filler(*index_, rebuild, opened.warnings,
                  [this](std::span<const JournalEntry> entries) { apply_history(entries); });
    auto next_done = done.cbegin();
    JournalPosition reached = index_->position();
    // Results whose own segment is gone, as far as they come before `sequence`.
    const auto done_before = [&](std::uint64_t sequence) -> Result<void> {
        for (; next_done != done.cend() && next_done->sequence < sequence; ++next_done)
            if (auto taken = filler.take(view_of(*next_done), reached); !taken) return taken;
        return {};
    };
    auto replayed =
        replay(parts_.disk, reached, true, [&](const RecordView& record, const JournalPosition& after) {
            if (auto earlier = done_before(record.sequence); !earlier) return earlier;
            if (next_done != done.cend() && next_done->sequence == record.sequence)
                ++next_done;  // its segment is still there
            reached = after;
            return filler.take(record, after);
        });
    if (!replayed) return fail(std::move(replayed).error());
    if (auto rest = done_before(UINT64_MAX); !rest) return rest;
    if (auto finished = filler.finish(replayed->end); !finished) return finished;
    opened.warnings.insert(opened.warnings.end(), replayed->warnings.begin(), replayed->warnings.end());
    end_ = replayed->end;
    if (index_->complete()) return {};
    if (rebuild) {
        std::uint64_t messages = 0;
        for (const auto& [id, use] : index_->segments()) messages += use.messages;
        opened.warnings.push_back(fmt::format(
            "the index was lost and has been rebuilt from the journal: {} messages, accepted up to {}, are "
            "on "
            "hold until you release them; some of them may have been delivered before",
            messages, index_->newest().value == 0 ? std::string("never") : rfc3339(index_->newest().time())));
    }
    return index_->set_complete();
}

// Segments and done-files that a removal cut short left behind.
Result<void> IndexUpdater::reconcile_segments() {
    auto ids = segments(parts_.disk);
    if (!ids) return fail(std::move(ids).error());
    segments_ = {ids->begin(), ids->end()};
    std::vector<std::uint64_t> gone;
    for (const auto& [id, use] : index_->segments())
        if (!segments_.contains(id) && use.messages == 0) gone.push_back(id);
    for (const auto id : gone)
        if (auto forgotten = index_->forget_segment(id); !forgotten) return forgotten;
    auto names = parts_.disk.list("journal");
    if (!names) return fail(std::move(names).error());
    for (const std::string& name : *names) {
        if (!name.ends_with(".done")) continue;
        const std::string segment = name.substr(0, name.size() - 5) + ".seg";
        if (std::find(names->begin(), names->end(), segment) != names->end()) continue;
        if (auto removed = parts_.disk.unlink("journal/" + name); !removed) return removed;
    }
    return {};
}

// Large bodies: files that no message has go; messages whose file is gone are marked.
Result<void> IndexUpdater::reconcile_bodies(Opened& opened) {
    auto names = parts_.disk.list("bodies");
    if (!names) return fail(std::move(names).error());
    auto wanted = index_->body_files();
    if (!wanted) return fail(std::move(wanted).error());
    const std::set<std::string> present(names->begin(), names->end());
    const std::set<std::string> needed(wanted->begin(), wanted->end());
    for (const auto& name : present)
        if (!needed.contains(name))
            if (auto removed = parts_.disk.unlink(body_path(name)); !removed) return removed;
    for (const auto& name : needed) {
        if (present.contains(name)) continue;
        const auto marked = index_->mark_damaged(name);
        if (!marked) return fail(marked.error());
        for (const auto id : *marked)
            opened.warnings.push_back(fmt::format(
                "message {}: its text, {}, is missing; its sender will be told", id.text(), body_path(name)));
    }
    return {};
}

void IndexUpdater::note(const char* what, const Result<void>& result) {
    if (index_->sync_failed()) parts_.fatal("the queue's database could not be synced");
    if (history_ && history_->sync_failed()) parts_.fatal("a file under history/ could not be synced");
    // The history and the journal have files of their own, and damage there is found elsewhere.
    const std::string_view part = what;
    const bool of_index = !part.starts_with("history") && part != "thinning";
    if (of_index && !result && result.error().code == Errc::damaged && options_.damaged)
        options_.damaged(result.error().text);
    troubles_.note(what, result);
}

void IndexUpdater::take(CommittedEntries handed) {
    for (const auto& entry : handed.entries) segments_.insert(entry.place.segment);
    if (waiting_.empty())  // as a rule: they are large, and need not be moved
        waiting_ = std::move(handed.entries);
    else
        waiting_.insert(waiting_.end(), std::make_move_iterator(handed.entries.begin()),
                        std::make_move_iterator(handed.entries.end()));
    end_ = std::max(end_, handed.end);
    if (current()) return;
    auto released = index_->apply(waiting_, end_, false);
    note("index", released ? Result<void>{} : Result<void>(fail(released.error())));
    if (!released) return;
    apply_history(waiting_);
    waiting_.clear();
    for (auto& file : *released) {
        Body body;
        body.ref = ref_to_file(file).value_or(BodyRef());
        // Their messages are finished in the synced journal: a crash that undoes this transaction repeats it.
        parts_.bodies.discard(body);
    }
}

void IndexUpdater::checkpoint(bool whole) {
    note("history-checkpoint", checkpoint_history());
    if (whole) take({{}, end_});  // notes how far the history is
    note("checkpoint", index_->checkpoint(whole));
}

// Copies what `segment` says about messages of older segments into their done-files, so that they can be
// rebuilt without it.
Result<void> IndexUpdater::save_results(std::uint64_t segment) {
    if (segments_.empty() || *segments_.begin() >= segment) return {};  // none is older, as a rule
    auto records = SegmentRecords::open(parts_.disk, segment);
    if (!records && records.error().code == Errc::damaged) return {};  // reported when it was found
    if (!records) return fail(std::move(records).error());
    std::map<std::uint64_t, std::vector<DoneRecord>> by_segment;
    for (;;) {
        const auto record = records->next();
        if (!record) return fail(record.error());
        if (!*record) break;
        const RecordView& found = **record;
        const auto type = static_cast<RecordType>(found.type);
        const auto message = message_of(type, found.fields);
        if (!message) continue;
        const auto copies = index_->copied_to(*message);
        for (const auto other : segments_) {
            if (other >= segment) break;
            const auto use = index_->segments().find(other);
            if (use == index_->segments().end()) continue;
            const bool within = use->second.min_message <= *message && *message <= use->second.max_message;
            if (within || std::find(copies.begin(), copies.end(), other) != copies.end())
                by_segment[other].push_back({type, found.sequence, std::string(found.fields)});
        }
    }
    for (const auto& [other, done] : by_segment)
        if (auto saved = append_done(parts_.disk, other, done, parts_.random, parts_.fatal); !saved)
            return saved;
    return {};
}

// Once a day, by a clock that is believed: one that was set to another year must not cost what it took weeks
// to see.
void IndexUpdater::forget_old() {
    const WallTime now = parts_.clock.wall();
    const auto since = now - old_forgotten_;
    if (since >= std::chrono::microseconds(0) && since < std::chrono::days(1)) return;
    old_forgotten_ = now;
    note("old", index_->forget_old(now, options_.outcome_days));
    if (history_) note("history-removal", history_->forget(now));
}

// The one in which the fewest messages live, of those that are not still emptying by themselves.
std::optional<std::uint64_t> IndexUpdater::thin_segment() const {
    if (segments_.size() <= options_.thin_from || !current()) return std::nullopt;
    std::optional<std::uint64_t> out;
    std::uint64_t fewest = segment_octets_ / thin_part / thin_record + 1;
    for (const auto id : segments_) {
        if (id + segments_emptying >= index_->position().segment) break;
        const auto use = index_->segments().find(id);
        if (use == index_->segments().end() || use->second.messages == 0) continue;
        const auto looked_at = not_thin_.find(id);
        if (looked_at != not_thin_.end() && use->second.messages > looked_at->second / 2) continue;
        if (use->second.messages >= fewest) continue;
        fewest = use->second.messages;
        out = id;
    }
    return out;
}

std::vector<Accepted> IndexUpdater::copies(std::uint64_t segment) {
    std::vector<Accepted> out;
    const auto use = index_->segments().find(segment);
    if (!current() || use == index_->segments().end()) return out;
    const std::uint64_t messages = use->second.messages;
    const std::uint64_t most = segment_octets_ / thin_part;
    // What cannot be copied keeps the segment, and is not looked for again and again.
    not_thin_[segment] = messages;
    auto records = SegmentRecords::open(parts_.disk, segment);
    std::uint64_t size = 0;
    while (records && out.size() < messages && size <= most) {
        const auto record = records->next();
        if (!record) records = fail(record.error());
        if (!record || !*record) break;
        const RecordView& found = **record;
        if (found.body_damaged || static_cast<RecordType>(found.type) != RecordType::accept) continue;
        auto message = decode_message(found.fields);
        if (!message) continue;
        auto copied = index_->copied(*message, found.place);
        if (!copied) continue;
        size += found.size;
        if (!has_file(message->body)) message->body.octets = std::make_shared<const std::string>(found.body);
        out.push_back({std::move(*message), std::move(copied)});
    }
    note("thinning", records ? Result<void>{} : Result<void>(fail(records.error())));
    if (out.size() == messages && size <= most) not_thin_.erase(segment);
    if (size > most) out.clear();
    if (!out.empty())
        Event(parts_.log, Level::info, "store-thins")
            .kv("segment", segment)
            .kv("messages", out.size())
            .kv("octets", size);
    return out;
}

Upkeep IndexUpdater::maintain(bool quiet) {
    Upkeep out;
    forget_old();
    const WallTime now = parts_.clock.wall();
    if (now - submissions_forgotten_ > std::chrono::hours(1)) {
        submissions_forgotten_ = now;
        note("submissions", index_->forget_submissions(now - options_.submission_memory));
    }
    // Segments in which nothing lives and which are wholly in the index.
    std::vector<std::uint64_t> idle;
    for (const auto id : segments_) {
        if (id >= index_->position().segment) break;
        const auto use = index_->segments().find(id);
        const bool lives = use != index_->segments().end() && use->second.messages != 0;
        if (!lives) idle.push_back(id);
    }
    // While mail comes in they wait for each other: what comes after them waits for the checkpoint too.
    const bool enough = idle.size() >= options_.idle_segments || (quiet && !idle.empty());
    const auto durable = [&] {
        return std::min(index_->durable_position().segment, history_durable_.segment);
    };
    const bool wal_is_long = index_->wal_pages() >= options_.checkpoint_pages ||
                             (history_ && history_->wal_pages() >= options_.checkpoint_pages);
    if (wal_is_long || (enough && idle.front() >= durable())) checkpoint(false);
    out.thin = thin_segment();
    if (!enough) return out;
    for (const auto id : idle) {
        if (id >= durable()) break;
        const auto saved = save_results(id);
        note("segments", saved);
        if (!saved) break;
        out.removable_segments.push_back(id);
    }
    return out;
}

void IndexUpdater::gone(const std::vector<std::uint64_t>& segments) {
    Result<void> out;
    const auto keep_first = [&](Result<void> result) {
        if (!result && out) out = std::move(result);
    };
    for (const auto id : segments) {
        segments_.erase(id);
        not_thin_.erase(id);
        const auto has_done = parts_.disk.exists(done_file_name(id));
        if (!has_done)
            keep_first(fail(has_done.error()));
        else if (*has_done)
            keep_first(parts_.disk.unlink(done_file_name(id)));
    }
    if (auto synced = parts_.disk.sync_dir("journal"); !synced) return parts_.fatal(synced.error().text);
    // The index forgets what is gone for good.
    for (const auto id : segments) keep_first(index_->forget_segment(id));
    note("segments", out);
}

}  // namespace sternpost::store::engine
