#include "store/engine/engine_core.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>

namespace sternpost::store::engine {
namespace {

constexpr int exit_code = 74;                  // EX_IOERR
constexpr std::chrono::seconds hop_gather(1);  // a next hop's state alone is worth no sync of its own
constexpr std::chrono::seconds idle_tick(1);   // for the free space, when nothing happens

bool is_large(const Body& body) {
    return has_file(body) || (body.octets && body.octets->size() > max_inline_body);
}

}  // namespace

EngineCore::EngineCore(StorePlace place, const Options& options, EngineTaskQueues task_queues, Log& log,
                       TrustedClock& clock)
    : place_(std::move(place)), options_(options), task_queues_(task_queues), log_(log), clock_(clock) {
    options_.spool.follower.submission_memory = options_.submission_memory;
    options_.spool.min_free = options_.min_free;
    options_.spool.follower.damaged = [this](const std::string& why) { note_damage(why); };
    if (!options_.fatal)
        options_.fatal = [&log](const std::string& reason) {
            Event(log, Level::error, "store-died")
                .reason(reason + "; what is on disk is unknown until the next start reads it");
            std::_Exit(exit_code);
        };
}

Result<void> EngineCore::recover(Random& random, Events events) {
    events_ = std::move(events);
    JournaledStoreParts parts{*place_.disk,   place_.database, log_, clock_, random,
                              options_.fatal, events_.accepted};
    auto spool = JournaledStore::open(std::move(parts), options_.spool);
    if (!spool) return fail(std::move(spool).error());
    spool_ = std::move(*spool);
    opened_ = spool_->opened();
    auto reader = sqlite::Reader::open(place_.database, spool_->history_place());
    if (!reader) return fail(std::move(reader).error());
    reader_ = std::move(*reader);
    tick_ = clock_.steady() + options_.apply_interval;
    return {};
}

// When the batch that began at `since` is to be written.
SteadyTime EngineCore::batch_due(SteadyTime since) const {
    const Writer& writer = spool_->writer();
    if (writer.gathered() >= max_batch) return since;
    if (writer.has_mail()) return spool_->bodies().open_sinks() == 0 ? since : since + options_.gather;
    return since + (writer.has_others() ? std::chrono::microseconds(options_.gather) : hop_gather);
}

SteadyTime EngineCore::wake() const {
    return batch_since_ ? std::min(tick_, batch_due(*batch_since_)) : tick_;
}

void EngineCore::pump(SteadyTime now) {
    if (!batch_since_ && !spool_->writer().idle()) batch_since_ = now;
    if (batch_since_ && batch_due(*batch_since_) <= now) {
        spool_->commit();
        batch_since_.reset();
        tick_ = std::min(tick_, now + options_.apply_interval);
    }
    if (now < tick_) return;
    spool_->look_at_space();
    if (!following_) follow();
    tick_ = now + (spool_->backlog() == 0 ? std::chrono::milliseconds(idle_tick) : options_.apply_interval);
}

// One round at a time: what was committed goes to the follower; how far it came, and which segments no one
// needs any more, comes back; and the follower hears which of their files went.
void EngineCore::follow() {
    following_ = true;
    task_queues_.follower.post([this, handed = spool_->hand_over()]() mutable {
        IndexUpdater& follower = spool_->follower();
        const bool quiet = std::exchange(followed_, handed.end) == handed.end;
        follower.take(std::move(handed));
        task_queues_.writer.post([this, reached = follower.reached(), upkeep = follower.maintain(quiet)] {
            done_following(reached, upkeep);
        });
    });
}

void EngineCore::done_following(const JournalPosition& reached, const Upkeep& upkeep) {
    spool_->followed(reached);
    if (!upkeep.removable_segments.empty())
        task_queues_.follower.post(
            [this, gone = spool_->retire(upkeep.removable_segments)] { spool_->follower().gone(gone); });
    following_ = upkeep.thin.has_value();
    if (!upkeep.thin) return;
    spool_->begin_copy();
    task_queues_.follower.post([this, segment = *upkeep.thin, handed = spool_->hand_over()]() mutable {
        spool_->follower().take(std::move(handed));
        task_queues_.writer.post([this, copies = spool_->follower().copies(segment)]() mutable {
            spool_->copy(std::move(copies));
            following_ = false;
        });
    });
}

bool EngineCore::close_door() {
    const std::unique_lock door(closing_);
    return !std::exchange(closed_, true);
}

void EngineCore::finish_writing() {
    spool_->commit();
}

void EngineCore::close() {
    reader_.reset();
    if (spool_) spool_->close();  // the last connection, so that the WAL goes whole
}

// On any thread.
void EngineCore::note_damage(const std::string& why) {
    {
        const std::lock_guard lock(noting_);
        if (damage_.empty()) damage_ = why;
    }
    if (events_.lost) events_.lost(why);
}

void EngineCore::end_if_unsynced(const Error<Errc>& error) {
    if (error.code == Errc::closed) options_.fatal(error.text);
}

template <class T, class Work>
void EngineCore::submit(TaskQueue& where, Completion<Result<T>> reply, Work work, When when) {
    {
        const std::shared_lock door(closing_);
        if (!closed_) {
            Task task = [answer = std::move(reply), run = std::move(work)]() mutable {
                run(std::move(answer));
            };
            return when == When::at_once ? where.post(std::move(task)) : where.post_lazily(std::move(task));
        }
    }
    if (reply) reply(fail(Errc::closed, "the store is shutting down"));
}

// Questions go by way of the writer, which knows what was acknowledged, and of the follower, which first
// brings the index to there: it is in the answer. Where that cannot be (someone holds a lock on the index,
// the disk is full), people get what there is; but mail is never sent, bounced or held by an index that may
// not know of its end.
void EngineCore::ask(Question question, bool current) {
    auto follow = [this, current](Question asked) mutable {
        auto read = [this, current, handed = spool_->hand_over(), held = std::move(asked)]() mutable {
            IndexUpdater& updater = spool_->follower();
            updater.take(std::move(handed));
            if (current && !updater.current())
                return held(fail(Errc::busy, "the index cannot follow the journal now"));
            task_queues_.reader.post([this, run = std::move(held)]() mutable {
                run(reader_.get());
                if (const auto damage = reader_->take_damage()) note_damage(*damage);
            });
        };
        task_queues_.follower.post(std::move(read));
    };
    submit<Questions*>(task_queues_.writer, std::move(question), std::move(follow));
}

std::unique_ptr<BodySink> EngineCore::new_body(std::uint64_t limit) {
    return spool_->bodies().make(limit);
}

void EngineCore::accept(NewMessage message, Completion<Result<MessageId>> reply) {
    if (!is_large(message.body)) {
        // While others are inside DATA the batch waits for them.
        const When when = spool_->bodies().open_sinks() == 0 ? When::at_once : When::with_the_batch;
        auto write = [this, held = std::move(message)](Completion<Result<MessageId>> answer) mutable {
            spool_->accept(std::move(held), std::move(answer));
        };
        return submit<MessageId>(task_queues_.writer, std::move(reply), std::move(write), when);
    }
    auto durable = [this, held = std::move(message)](Completion<Result<MessageId>> answer) mutable {
        if (auto synced = spool_->bodies().make_durable(held.body); !synced) {
            end_if_unsynced(synced.error());
            spool_->bodies().discard(held.body);
            return answer(fail(std::move(synced).error()));
        }
        task_queues_.writer.post([this, ready = std::move(held), last = std::move(answer)]() mutable {
            spool_->accept(std::move(ready), std::move(last));
        });
    };
    submit<MessageId>(task_queues_.pool, std::move(reply), std::move(durable));
}

void EngineCore::record(std::vector<DeliveryResult> results, std::vector<NewMessage> notices,
                        Completion<Result<void>> reply) {
    const bool large =
        std::any_of(notices.begin(), notices.end(), [](const NewMessage& n) { return is_large(n.body); });
    auto write = [this, kept = std::move(results)](std::vector<NewMessage> ready,
                                                   Completion<Result<void>> answer) mutable {
        spool_->record(std::move(kept), std::move(ready), std::move(answer));
    };
    if (!large) {
        auto gathered = [run = std::move(write),
                         held = std::move(notices)](Completion<Result<void>> answer) mutable {
            run(std::move(held), std::move(answer));
        };
        return submit<void>(task_queues_.writer, std::move(reply), std::move(gathered), When::with_the_batch);
    }
    auto durable = [this, run = std::move(write),
                    held = std::move(notices)](Completion<Result<void>> answer) mutable {
        for (auto& notice : held) {
            if (!is_large(notice.body)) continue;
            if (auto synced = spool_->bodies().make_durable(notice.body); !synced) {
                end_if_unsynced(synced.error());
                return answer(fail(std::move(synced).error()));
            }
        }
        task_queues_.writer.post(
            [next = std::move(run), ready = std::move(held), last = std::move(answer)]() mutable {
                next(std::move(ready), std::move(last));
            });
    };
    submit<void>(task_queues_.pool, std::move(reply), std::move(durable));
}

void EngineCore::act(std::vector<Act> acts, Completion<Result<void>> reply) {
    submit<void>(task_queues_.writer, std::move(reply),
                 [this, held = std::move(acts)](Completion<Result<void>> answer) mutable {
                     spool_->writer().act(held, std::move(answer));
                 });
}

void EngineCore::keep(Kept kept, Completion<Result<void>> reply) {
    if (std::holds_alternative<ClosedDay>(kept) && reply) {
        // The index follows the journal before it answers a question.
        auto follow = [this, answer = std::move(reply)](Result<void> written) mutable {
            if (!written) return answer(std::move(written));
            auto done = [last = std::move(answer)](Result<Questions*> questions) mutable {
                if (!questions) return last(fail(std::move(questions).error()));
                last({});
            };
            ask(Question(std::move(done)), true);
        };
        reply = Completion<Result<void>>(std::move(follow));
    }
    auto write = [this, held = std::move(kept)](Completion<Result<void>> answer) mutable {
        spool_->writer().keep(std::move(held), std::move(answer));
    };
    submit<void>(task_queues_.writer, std::move(reply), std::move(write));
}

void EngineCore::read_body(const StoredMessage& message, std::uint64_t offset, std::size_t most,
                           Completion<Result<std::string>> reply) {
    submit<std::string>(task_queues_.pool, std::move(reply),
                        [this, id = message.id, body = message.body, offset,
                         most](Completion<Result<std::string>> answer) mutable {
                            auto octets = store::read_body(*place_.disk, body, offset, most);
                            if (octets || !place_of(body.ref)) return answer(std::move(octets));
                            // Its record may have been copied forward since, and the segment be gone.
                            task_queues_.reader.post([this, id, known = std::move(body), offset, most,
                                                      held = std::move(answer)]() mutable {
                                if (const auto place = reader_->place_of(id)) known.ref = ref_to(*place);
                                held(store::read_body(*place_.disk, known, offset, most));
                            });
                        });
}

void EngineCore::due(DueQuestion question, Completion<Result<Due>> reply) {
    auto due = [this, asked = std::move(question),
                answer = std::move(reply)](Result<Questions*> questions) mutable {
        if (!questions) return answer(fail(std::move(questions).error()));
        answer(reader_->due(asked));
    };
    ask(Question(std::move(due)), true);
}

}  // namespace sternpost::store::engine
