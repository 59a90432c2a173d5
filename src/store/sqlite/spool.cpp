#include "store/sqlite/spool.h"

#include <fmt/format.h>

#include <algorithm>

#include "store/codec.h"
#include "store/sqlite/layout.h"

namespace sternpost::store::sqlite {
namespace {

constexpr std::size_t chunk_entries = 10'000;  // of a replay that one transaction takes

// The message that a result or act record is about.
std::optional<MessageId> message_of(RecordType type, std::string_view fields) {
    if (type == RecordType::result)
        if (const auto result = decode_result(fields)) return result->message;
    if (type == RecordType::act)
        if (const auto act = decode_act(fields)) return act->message;
    return std::nullopt;
}

// Feeds the index in chunks, each with the position behind it.
class Filler {
  public:
    using OnApplied = std::function<void(std::span<const JournalEntry>)>;
    Filler(Index& index, bool held, std::vector<std::string>& warnings, OnApplied on_applied)
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

    Index& index_;
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

Spool::Spool(SpoolParts parts, const SpoolOptions& options)
    : parts_(std::move(parts)),
      options_(options),
      bodies_(parts_.disk, parts_.random, options.body_memory),
      journal_(parts_.disk, options.journal, parts_.random, parts_.fatal),
      writer_(
          journal_, bodies_, [this](const SubmissionId& id) { return known(id); }, parts_.on_accepted) {}

Result<std::unique_ptr<Spool>> Spool::open(SpoolParts parts, const SpoolOptions& options) {
    std::unique_ptr<Spool> spool(new Spool(std::move(parts), options));
    if (auto recovered = spool->recover(); !recovered) return fail(std::move(recovered).error());
    return spool;
}

Result<void> Spool::recover() {
    for (const char* folder : {"journal", "bodies", "damaged"})
        if (auto made = parts_.disk.make_dir(folder); !made) return made;
    auto index = Index::open(parts_.database);
    if (!index) {
        if (index.error().code == Errc::damaged)
            index.error().text +=
                ": stop, move this file and its -wal away, and start again: the queue is then rebuilt from "
                "the journal and held until it is released";
        return fail(std::move(index).error());
    }
    index_ = std::move(*index);
    // The folders and the database, before anything is promised that needs them.
    if (auto synced = parts_.disk.sync_dir(""); !synced) {
        parts_.fatal(synced.error().text);
        return synced;
    }
    if (options_.history_days.count() > 0)
        history_ = std::make_unique<HistoryFiles>(history_place(), options_.history_days);
    if (auto caught_up = catch_history_up(); !caught_up) return caught_up;
    if (auto read = read_journal(); !read) return read;
    if (auto done = reconcile_segments(); !done) return done;
    if (auto done = reconcile_bodies(); !done) return done;
    if (options_.write_ahead && segments_.empty()) journal_.write_ahead();
    opened_.newest = index_->newest();
    submissions_forgotten_ = parts_.clock.wall();
    steps_ = parts_.clock.wall().time_since_epoch() -
             std::chrono::duration_cast<std::chrono::microseconds>(parts_.clock.steady().time_since_epoch());
    look_at_space();
    return {};
}

// The history may be behind the index by what was not on stable storage when the machine stopped. What it has
// already is written again: rows are known by their record's number.
Result<void> Spool::catch_history_up() {
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
void Spool::apply_history(std::span<const JournalEntry> entries) {
    if (!history_ || entries.empty()) return;
    note("history", history_->apply(entries, parts_.clock.wall()));
}

Result<void> Spool::checkpoint_history() {
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

Result<void> Spool::read_journal() {
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
    Filler filler(*index_, rebuild, opened_.warnings,
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
    opened_.warnings.insert(opened_.warnings.end(), replayed->warnings.begin(), replayed->warnings.end());
    if (auto opened = journal_.open(replayed->end); !opened) return opened;
    if (index_->complete()) return {};
    if (rebuild) {
        std::uint64_t messages = 0;
        for (const auto& [id, use] : index_->segments()) messages += use.messages;
        opened_.warnings.push_back(fmt::format(
            "the index was lost and has been rebuilt from the journal: {} messages, accepted up to {}, are "
            "on "
            "hold until you release them; some of them may have been delivered before",
            messages, index_->newest().value == 0 ? std::string("never") : rfc3339(index_->newest().time())));
    }
    return index_->set_complete();
}

// Segments and done-files that a removal cut short left behind.
Result<void> Spool::reconcile_segments() {
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
Result<void> Spool::reconcile_bodies() {
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
            opened_.warnings.push_back(fmt::format(
                "message {}: its text, {}, is missing; its sender will be told", id.text(), body_path(name)));
    }
    return {};
}

std::optional<MessageId> Spool::known(const SubmissionId& id) {
    if (const auto it = pending_submissions_.find(id); it != pending_submissions_.end()) return it->second;
    return index_->submitted(id);
}

void Spool::accept(NewMessage message, Reply<Result<MessageId>> reply) {
    const char* why = nullptr;
    if (short_of_space_) why = "the disk has too little free space";
    if (pending_.size() > options_.max_backlog) why = "the queue's index cannot follow";
    if (why == nullptr) return writer_.accept(std::move(message), std::move(reply));
    bodies_.discard(message.body);
    reply(fail(Errc::full, why));
}

void Spool::commit() {
    const bool asked = !writer_.idle();
    auto written = writer_.commit();
    if (asked) note("journal", writer_.committed());
    for (const auto& entry : written) {
        segments_.insert(entry.place.segment);
        const auto* accepted = std::get_if<Accepted>(&entry.what);
        if (accepted != nullptr && accepted->message.submission)
            pending_submissions_.emplace(*accepted->message.submission, accepted->message.id);
    }
    std::move(written.begin(), written.end(), std::back_inserter(pending_));
}

void Spool::note(const char* what, const Result<void>& result) {
    check_syncs();
    std::string& trouble = troubles_[what];
    if (result) {
        if (!trouble.empty()) Event(parts_.log, Level::info, "store-recovered").kv("what", what);
        trouble.clear();
    } else if (trouble != result.error().text) {
        trouble = result.error().text;
        Event(parts_.log, Level::error, "store-trouble").kv("what", what).reason(trouble);
    }
}

void Spool::check_syncs() {
    if (index_->sync_failed()) parts_.fatal("the queue's database could not be synced");
    if (history_ && history_->sync_failed()) parts_.fatal("a file under history/ could not be synced");
}

void Spool::apply() {
    if (applied()) return;
    auto released = index_->apply(pending_, journal_.end(), false);
    note("index", released ? Result<void>{} : Result<void>(fail(released.error())));
    if (!released) return;
    apply_history(pending_);
    pending_.clear();
    pending_submissions_.clear();
    for (auto& file : *released) {
        Body body;
        body.file = std::move(file);
        // Their messages are finished in the synced journal: a crash that undoes this transaction repeats it.
        bodies_.discard(body);
    }
}

void Spool::checkpoint() {
    note("history-checkpoint", checkpoint_history());
    note("checkpoint", index_->checkpoint(false));
}

// Copies what `segment` says about messages of older segments into their done-files, so that they can be
// rebuilt without it.
Result<void> Spool::save_results(std::uint64_t segment) {
    if (segments_.empty() || *segments_.begin() >= segment) return {};  // none is older, as a rule
    auto octets = read_all(parts_.disk, segment_name(segment));
    if (!octets) return fail(std::move(octets).error());
    const auto header = decode_segment_header(*octets, segment);
    if (!header) return {};  // unreadable, and reported as such when it was found
    std::map<std::uint64_t, std::vector<DoneRecord>> by_segment;
    for (std::uint64_t offset = records_begin; offset < octets->size();) {
        const auto record = decode_record(*octets, offset, *header);
        offset += record ? record->size : 8;
        if (!record) continue;
        const auto type = static_cast<RecordType>(record->type);
        const auto message = message_of(type, record->fields);
        if (!message) continue;
        for (const auto other : segments_) {
            if (other >= segment) break;
            const auto use = index_->segments().find(other);
            if (use == index_->segments().end()) continue;
            if (use->second.min_message <= *message && *message <= use->second.max_message)
                by_segment[other].push_back({type, record->sequence, std::string(record->fields)});
        }
    }
    for (const auto& [other, records] : by_segment)
        if (auto saved = append_done(parts_.disk, other, records, parts_.random, parts_.fatal); !saved)
            return saved;
    return {};
}

Result<void> Spool::remove(std::uint64_t segment) {
    if (auto saved = save_results(segment); !saved) return saved;
    if (auto retired = journal_.retire(segment); !retired) return retired;
    segments_.erase(segment);
    const auto has_done = parts_.disk.exists(done_file_name(segment));
    if (!has_done) return fail(has_done.error());
    return *has_done ? parts_.disk.unlink(done_file_name(segment)) : Result<void>{};
}

// Oldest first, by one sync of the directory. The index forgets what is gone for good.
Result<void> Spool::reclaim(const std::vector<std::uint64_t>& idle) {
    Result<void> out;
    for (auto it = idle.begin(); it != idle.end() && out; ++it) out = remove(*it);
    if (auto synced = parts_.disk.sync_dir("journal"); !synced) {
        parts_.fatal(synced.error().text);
        return synced;
    }
    for (const auto segment : idle) {
        if (segments_.contains(segment)) continue;
        if (auto forgotten = index_->forget_segment(segment); !forgotten && out) out = std::move(forgotten);
    }
    return out;
}

void Spool::look_at_space() {
    const auto free = parts_.disk.free_octets();
    const bool is_short = free && *free < options_.min_free;
    if (is_short) journal_.drop_spares();
    if (is_short && !short_of_space_)
        Event(parts_.log, Level::error, "store-full")
            .kv("free", *free)
            .reason("mail is refused with 452 until there is more free space than min_free");
    if (!is_short && short_of_space_)
        Event(parts_.log, Level::info, "store-space").kv("free", free ? *free : 0U);
    short_of_space_ = is_short;
}

// Once a day. Not while the wall clock is more than ten minutes from where it should be: a clock that was set
// to another year must not cost what it took weeks to see.
void Spool::forget_old() {
    const WallTime now = parts_.clock.wall();
    const auto since = now - old_forgotten_;
    if (since >= std::chrono::microseconds(0) && since < std::chrono::days(1)) return;
    const auto steps = now.time_since_epoch() - std::chrono::duration_cast<std::chrono::microseconds>(
                                                    parts_.clock.steady().time_since_epoch());
    if (std::chrono::abs(steps - steps_) > std::chrono::minutes(10)) return;
    old_forgotten_ = now;
    note("old", index_->forget_old(now, options_.outcome_days));
    if (history_) note("history-removal", history_->forget(now));
}

bool Spool::wal_is_long() const {
    return index_->wal_pages() >= options_.checkpoint_pages ||
           (history_ && history_->wal_pages() >= options_.checkpoint_pages);
}

void Spool::maintain() {
    look_at_space();
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
        if (use == index_->segments().end() || use->second.messages == 0) idle.push_back(id);
    }
    // While mail comes in they wait for each other, since those who wait for their 250 would wait for the
    // checkpoint too.
    const bool quiet = std::exchange(maintained_, journal_.end()) == journal_.end();
    const bool enough = idle.size() >= options_.idle_segments || (quiet && !idle.empty());
    const auto durable = [&] {
        return std::min(index_->durable_position().segment, history_durable_.segment);
    };
    // Should nobody come to help, it is done all the same before it is far too long.
    const bool alone = !options_.checkpoint_elsewhere || index_->wal_pages() >= 8 * options_.checkpoint_pages;
    const bool long_wal = wal_is_long() && (std::exchange(lightened_, false) || alone);
    if (long_wal || (enough && idle.front() >= durable())) checkpoint();
    if (!enough) return;
    std::erase_if(idle, [&](std::uint64_t id) { return id >= durable(); });
    if (!idle.empty()) note("segments", reclaim(idle));
}

void Spool::close() {
    commit();
    apply();
    note("history-checkpoint", checkpoint_history());
    apply();  // notes how far the history is
    note("checkpoint", index_->checkpoint(true));
}

}  // namespace sternpost::store::sqlite
