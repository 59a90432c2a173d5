#include "store/sqlite/engine_core.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>

namespace sternpost::store::sqlite {
namespace {

constexpr int exit_code = 74;                  // EX_IOERR
constexpr std::chrono::seconds hop_gather(1);  // a next hop's state alone is worth no sync of its own
constexpr std::chrono::seconds idle_tick(1);   // for the free space, when nothing happens

bool is_large(const Body& body) {
    return !body.file.empty() || (body.octets && body.octets->size() > max_inline_body);
}

}  // namespace

EngineCore::EngineCore(StorePlace place, const Options& options, EngineMailboxes mailboxes, Log& log,
                       TrustedClock& clock)
    : place_(std::move(place)), options_(options), mailboxes_(mailboxes), log_(log), clock_(clock) {
    options_.spool.follower.submission_memory = options_.submission_memory;
    options_.spool.min_free = options_.min_free;
    options_.spool.follower.damaged = options_.damaged;
    if (!options_.fatal)
        options_.fatal = [&log](const std::string& reason) {
            Event(log, Level::error, "store-died")
                .reason(reason + "; what is on disk is unknown until it is read anew");
            std::_Exit(exit_code);
        };
}

Result<void> EngineCore::recover(Random& random, OnAccepted on_accepted) {
    SpoolParts parts{*place_.disk,   place_.database,       log_, clock_, random,
                     options_.fatal, std::move(on_accepted)};
    auto spool = Spool::open(std::move(parts), options_.spool);
    if (!spool) return fail(std::move(spool).error());
    spool_ = std::move(*spool);
    opened_ = spool_->opened();
    auto reader = Reader::open(place_.database);
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

// One round at a time: what was committed goes to the follower; how far it came, and which segments nobody
// needs any more, comes back; and the follower hears which of their files went.
void EngineCore::follow() {
    following_ = true;
    mailboxes_.follower.post([this, handed = spool_->hand_over()]() mutable {
        Follower& follower = spool_->follower();
        const bool quiet = std::exchange(followed_, handed.end) == handed.end;
        follower.take(std::move(handed));
        mailboxes_.writer.post([this, reached = follower.reached(), upkeep = follower.maintain(quiet)] {
            done_following(reached, upkeep);
        });
    });
}

void EngineCore::done_following(const JournalPosition& reached, const Upkeep& upkeep) {
    spool_->followed(reached);
    if (!upkeep.leaving.empty())
        mailboxes_.follower.post(
            [this, gone = spool_->retire(upkeep.leaving)] { spool_->follower().gone(gone); });
    following_ = upkeep.thin.has_value();
    if (!upkeep.thin) return;
    spool_->begin_copy();
    mailboxes_.follower.post([this, segment = *upkeep.thin, handed = spool_->hand_over()]() mutable {
        spool_->follower().take(std::move(handed));
        mailboxes_.writer.post([this, copies = spool_->follower().copies(segment)]() mutable {
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

void EngineCore::end_if_unsynced(const Error<Errc>& error) {
    if (error.code == Errc::closed) options_.fatal(error.text);
}

template <class T>
void EngineCore::note_damage(const Result<T>& result) const {
    if (!result && result.error().code == Errc::damaged && options_.damaged)
        options_.damaged(result.error().text);
}

template <class T, class Work>
void EngineCore::submit(Mailbox& where, Reply<Result<T>> reply, Work work, When when) {
    {
        const std::shared_lock door(closing_);
        if (!closed_) {
            Task task = [answer = std::move(reply), run = std::move(work)]() mutable {
                run(std::move(answer));
            };
            return when == When::at_once ? where.post(std::move(task)) : where.post_lazily(std::move(task));
        }
    }
    reply(fail(Errc::closed, "the store is shutting down"));
}

// Questions go by way of the writer, which knows what was acknowledged, and of the follower, which first
// brings the index to there: it is in the answer. Where that cannot be (somebody holds a lock on the index,
// the disk is full), people get what there is; but mail is never sent, bounced or held by an index that may
// not know of its end.
template <class T, class Question>
void EngineCore::ask(Reply<Result<T>> reply, Question question, bool current) {
    auto read = [this, asked = std::move(question)](Reply<Result<T>> answer) mutable {
        mailboxes_.reader.post([this, held = std::move(answer), inner = std::move(asked)]() mutable {
            auto result = inner(*reader_);
            // The history has files of its own.
            if (!std::is_same_v<T, History>) note_damage(result);
            held(std::move(result));
        });
    };
    auto catch_up = [this, current, next = std::move(read)](Handed handed, Reply<Result<T>> answer) mutable {
        Follower& follower = spool_->follower();
        follower.take(std::move(handed));
        if (current && !follower.current())
            return answer(fail(Errc::busy, "the index cannot follow the journal now"));
        next(std::move(answer));
    };
    submit<T>(mailboxes_.writer, std::move(reply),
              [this, next = std::move(catch_up)](Reply<Result<T>> answer) mutable {
                  mailboxes_.follower.post(
                      [handed = spool_->hand_over(), held = std::move(answer),
                       inner = std::move(next)]() mutable { inner(std::move(handed), std::move(held)); });
              });
}

std::unique_ptr<BodySink> EngineCore::new_body(std::uint64_t limit) {
    return spool_->bodies().make(limit);
}

void EngineCore::accept(NewMessage message, Reply<Result<MessageId>> reply) {
    if (!is_large(message.body)) {
        // While others are inside DATA the batch waits for them.
        const When when = spool_->bodies().open_sinks() == 0 ? When::at_once : When::with_the_batch;
        auto write = [this, held = std::move(message)](Reply<Result<MessageId>> answer) mutable {
            spool_->accept(std::move(held), std::move(answer));
        };
        return submit<MessageId>(mailboxes_.writer, std::move(reply), std::move(write), when);
    }
    auto durable = [this, held = std::move(message)](Reply<Result<MessageId>> answer) mutable {
        if (auto synced = spool_->bodies().make_durable(held.body); !synced) {
            end_if_unsynced(synced.error());
            spool_->bodies().discard(held.body);
            return answer(fail(std::move(synced).error()));
        }
        mailboxes_.writer.post([this, ready = std::move(held), last = std::move(answer)]() mutable {
            spool_->accept(std::move(ready), std::move(last));
        });
    };
    submit<MessageId>(mailboxes_.pool, std::move(reply), std::move(durable));
}

void EngineCore::record(std::vector<DeliveryResult> results, std::vector<NewMessage> notices,
                        Reply<Result<void>> reply) {
    const bool large =
        std::any_of(notices.begin(), notices.end(), [](const NewMessage& n) { return is_large(n.body); });
    auto write = [this, kept = std::move(results)](std::vector<NewMessage> ready,
                                                   Reply<Result<void>> answer) mutable {
        spool_->record(std::move(kept), std::move(ready), std::move(answer));
    };
    if (!large) {
        auto gathered = [run = std::move(write), held = std::move(notices)](
                            Reply<Result<void>> answer) mutable { run(std::move(held), std::move(answer)); };
        return submit<void>(mailboxes_.writer, std::move(reply), std::move(gathered), When::with_the_batch);
    }
    auto durable = [this, run = std::move(write),
                    held = std::move(notices)](Reply<Result<void>> answer) mutable {
        for (auto& notice : held) {
            if (!is_large(notice.body)) continue;
            if (auto synced = spool_->bodies().make_durable(notice.body); !synced) {
                end_if_unsynced(synced.error());
                return answer(fail(std::move(synced).error()));
            }
        }
        mailboxes_.writer.post(
            [next = std::move(run), ready = std::move(held), last = std::move(answer)]() mutable {
                next(std::move(ready), std::move(last));
            });
    };
    submit<void>(mailboxes_.pool, std::move(reply), std::move(durable));
}

template <class Work>
void EngineCore::tell(Work work) {
    submit<void>(mailboxes_.writer, Reply<Result<void>>([](const Result<void>&) {}),
                 [run = std::move(work)](Reply<Result<void>>) mutable { run(); });
}

void EngineCore::record_hop(HopState state) {
    tell([this, held = std::move(state)] { spool_->writer().record_hop(held); });
}

void EngineCore::put_discovery(StoredDiscovery discovery) {
    tell([this, held = std::move(discovery)] { spool_->writer().put_discovery(held); });
}

void EngineCore::put_alarm(StoredAlarm alarm) {
    tell([this, held = std::move(alarm)] { spool_->writer().put_alarm(held); });
}

void EngineCore::act(std::vector<Act> acts, Reply<Result<void>> reply) {
    submit<void>(mailboxes_.writer, std::move(reply),
                 [this, held = std::move(acts)](Reply<Result<void>> answer) mutable {
                     spool_->writer().act(held, std::move(answer));
                 });
}

void EngineCore::put_policy(StoredPolicy policy, Reply<Result<void>> reply) {
    submit<void>(mailboxes_.writer, std::move(reply),
                 [this, held = std::move(policy)](Reply<Result<void>> answer) mutable {
                     spool_->writer().put_policy(held, std::move(answer));
                 });
}

void EngineCore::read_body(const StoredMessage& message, std::uint64_t offset, std::size_t most,
                           Reply<Result<std::string>> reply) {
    submit<std::string>(mailboxes_.pool, std::move(reply),
                        [this, id = message.id, body = message.body, offset,
                         most](Reply<Result<std::string>> answer) mutable {
                            auto octets = store::read_body(*place_.disk, body, offset, most);
                            if (octets || !body.place) return answer(std::move(octets));
                            // Its record may have been copied forward since, and the segment be gone.
                            mailboxes_.reader.post([this, id, known = std::move(body), offset, most,
                                                    held = std::move(answer)]() mutable {
                                if (const auto place = reader_->place_of(id)) known.place = *place;
                                held(store::read_body(*place_.disk, known, offset, most));
                            });
                        });
}

void EngineCore::due(DueQuestion question, Reply<Result<Due>> reply) {
    auto due = [held = std::move(question)](Reader& reader) { return reader.due(held); };
    ask<Due>(std::move(reply), std::move(due), true);
}

void EngineCore::hops(HopFilter filter, Reply<Result<std::vector<HopLoad>>> reply) {
    ask<std::vector<HopLoad>>(std::move(reply),
                              [held = std::move(filter)](Reader& reader) { return reader.hops(held); });
}

void EngineCore::find(QueueFilter filter, Reply<Result<std::vector<StoredMessage>>> reply) {
    const bool current = filter.current;
    auto find = [held = std::move(filter)](Reader& reader) { return reader.find(held); };
    ask<std::vector<StoredMessage>>(std::move(reply), std::move(find), current);
}

void EngineCore::totals(Reply<Result<QueueTotals>> reply) {
    ask<QueueTotals>(std::move(reply), [](Reader& reader) { return reader.totals(); });
}

void EngineCore::policies(Reply<Result<std::vector<StoredPolicy>>> reply) {
    ask<std::vector<StoredPolicy>>(std::move(reply), [](Reader& reader) { return reader.policies(); });
}

void EngineCore::versions(std::string domain, Reply<Result<std::vector<PolicyVersion>>> reply) {
    ask<std::vector<PolicyVersion>>(
        std::move(reply), [held = std::move(domain)](Reader& reader) { return reader.versions(held); });
}

void EngineCore::discoveries(Reply<Result<std::vector<StoredDiscovery>>> reply) {
    ask<std::vector<StoredDiscovery>>(std::move(reply), [](Reader& reader) { return reader.discoveries(); });
}

void EngineCore::put_override(StoredOverride value, Reply<Result<void>> reply) {
    submit<void>(mailboxes_.writer, std::move(reply),
                 [this, held = std::move(value)](Reply<Result<void>> answer) mutable {
                     spool_->writer().put_override(held, std::move(answer));
                 });
}

void EngineCore::overrides(Reply<Result<std::vector<StoredOverride>>> reply) {
    ask<std::vector<StoredOverride>>(std::move(reply), [](Reader& reader) { return reader.overrides(); });
}

void EngineCore::put_suspension(StoredSuspension value, Reply<Result<void>> reply) {
    submit<void>(mailboxes_.writer, std::move(reply),
                 [this, held = std::move(value)](Reply<Result<void>> answer) mutable {
                     spool_->writer().put_suspension(held, std::move(answer));
                 });
}

void EngineCore::suspensions(Reply<Result<std::vector<StoredSuspension>>> reply) {
    ask<std::vector<StoredSuspension>>(std::move(reply), [](Reader& reader) { return reader.suspensions(); });
}

void EngineCore::alarms(WallTime since, Reply<Result<std::vector<StoredAlarm>>> reply) {
    ask<std::vector<StoredAlarm>>(std::move(reply), [since](Reader& reader) { return reader.alarms(since); });
}

void EngineCore::hosts_seen(Reply<Result<std::vector<StoredHost>>> reply) {
    ask<std::vector<StoredHost>>(std::move(reply), [](Reader& reader) { return reader.hosts_seen(); });
}

void EngineCore::outcomes(OutcomeFilter filter, Reply<Result<std::vector<StoredOutcome>>> reply) {
    ask<std::vector<StoredOutcome>>(
        std::move(reply), [held = std::move(filter)](Reader& reader) { return reader.outcomes(held); });
}

void EngineCore::history(HistoryFilter filter, Reply<Result<History>> reply) {
    ask<History>(std::move(reply), [place = spool_->history_place(), held = std::move(filter)](Reader&) {
        return read_history(place, held);
    });
}

void EngineCore::close_day(std::chrono::sys_days day, Reply<Result<void>> reply) {
    submit<void>(mailboxes_.writer, std::move(reply), [this, day](Reply<Result<void>> answer) mutable {
        spool_->writer().close_day(day, std::move(answer));
    });
}

void EngineCore::put_report(StoredReport report, Reply<Result<void>> reply) {
    submit<void>(mailboxes_.writer, std::move(reply),
                 [this, held = std::move(report)](Reply<Result<void>> answer) mutable {
                     spool_->writer().put_report(held, std::move(answer));
                 });
}

void EngineCore::reports(ReportFilter filter, Reply<Result<std::vector<StoredReport>>> reply) {
    ask<std::vector<StoredReport>>(
        std::move(reply), [held = std::move(filter)](Reader& reader) { return reader.reports(held); });
}

void EngineCore::reporting(std::chrono::sys_days from, Reply<Result<ReportingState>> reply) {
    ask<ReportingState>(std::move(reply), [from](Reader& reader) { return reader.reporting(from); });
}

}  // namespace sternpost::store::sqlite
