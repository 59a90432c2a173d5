#include "plant.h"

#include <algorithm>
#include <deque>
#include <optional>

#include "disk_double.h"
#include "fake/disk_vfs.h"
#include "fake/sim_disk.h"
#include "store/engine/layout.h"
#include "store/sender_scope.h"
#include "store/sqlite/database.h"
#include "store_double.h"

namespace sternpost::simulation {
namespace {

// ---- disks

// Syncs of files that only say that they were done.
class MissingSync final : public Plant {
  public:
    std::shared_ptr<store::Disk> disk(std::shared_ptr<store::Disk> real) override {
        class Faulty final : public DiskDouble {
            using DiskDouble::DiskDouble;
            Result<void> sync(const std::string& name, store::DiskFile& file) override {
                return name.starts_with("journal/") ? Result<void>() : file.sync();
            }
        };
        return std::make_shared<Faulty>(std::move(real));
    }
};

// A new segment's directory entry is never synced.
class MissingDirectorySync final : public Plant {
  public:
    std::shared_ptr<store::Disk> disk(std::shared_ptr<store::Disk> real) override {
        class Faulty final : public DiskDouble {
            using DiskDouble::DiskDouble;
            Result<void> sync_dir(std::string_view name) override {
                return name == "journal" ? Result<void>() : DiskDouble::sync_dir(name);
            }
        };
        return std::make_shared<Faulty>(std::move(real));
    }
};

// A sync that failed is taken for one that did not.
class FailedSyncBelieved final : public Plant {
  public:
    std::shared_ptr<store::Disk> disk(std::shared_ptr<store::Disk> real) override {
        class Faulty final : public DiskDouble {
            using DiskDouble::DiskDouble;
            Result<void> sync(const std::string&, store::DiskFile& file) override {
                (void)file.sync();
                return {};
            }
            Result<void> sync_dir(std::string_view name) override {
                (void)DiskDouble::sync_dir(name);
                return {};
            }
        };
        return std::make_shared<Faulty>(std::move(real));
    }
};

// The index is as it was, but for the place in the journal that it says it has reached: that one is an
// earlier one.
class IndexWithoutPosition final : public Plant {
  public:
    void before_start(fake::SimDisk& disk, const Clock& clock, Random& random) override {
        const auto there = disk.exists(store::engine::index_name);
        if (!there || !*there) return;
        const fake::DiskVfs vfs("planted", disk, clock, random);
        auto database = store::sqlite::Database::open({store::engine::index_name, "planted"},
                                                      store::sqlite::Access::write);
        if (!database) return;
        auto& db = **database;
        const Position now{db.number("SELECT segment FROM position"),
                           db.number("SELECT offset FROM position"),
                           db.number("SELECT sequence FROM position")};
        if (earlier_) {
            store::sqlite::Statement put(db, "UPDATE position SET segment = ?1, offset = ?2, sequence = ?3");
            put.with(earlier_->segment, earlier_->offset, earlier_->sequence).run();
        }
        earlier_ = now;
        (void)db.take_error();
    }

  private:
    struct Position {
        std::int64_t segment;
        std::int64_t offset;
        std::int64_t sequence;
    };
    std::optional<Position> earlier_;
};

// A file of the maildrop stays where it is at times, and what it holds is not known by its submission's id.
class MaildropTakenTwice final : public Plant {
  public:
    explicit MaildropTakenTwice(std::uint64_t seed) : chance_(seed, "plant") {}
    std::shared_ptr<store::Disk> disk(std::shared_ptr<store::Disk> real) override {
        class Faulty final : public DiskDouble {
          public:
            Faulty(std::shared_ptr<store::Disk> disk, Chance& chance)
                : DiskDouble(std::move(disk)), chance_(chance) {}
            Result<void> unlink(std::string_view name) override {
                if (name.starts_with("maildrop/") && chance_.percent(30)) return {};
                return DiskDouble::unlink(name);
            }

          private:
            Chance& chance_;
        };
        return std::make_shared<Faulty>(std::move(real), chance_);
    }
    std::unique_ptr<store::Store> store(store::Store& real) override {
        class Faulty final : public StoreDouble {
          public:
            using StoreDouble::StoreDouble;
            void accept(store::NewMessage message, Answer<store::MessageId> reply) override {
                message.submission.reset();
                StoreDouble::accept(std::move(message), std::move(reply));
            }
        };
        return std::make_unique<Faulty>(real);
    }

  private:
    Chance chance_;
};

// ---- stores

// The queue is told that a result is kept, and forgets; it is written when others have come. What brings a
// notice is let through: a notice that comes late is another bug, and shows as mail that no one tries.
class ResultAfterForget final : public Plant {
  public:
    std::unique_ptr<store::Store> store(store::Store& real) override {
        class Faulty final : public StoreDouble {
          public:
            using StoreDouble::StoreDouble;
            void record(std::vector<store::DeliveryResult> results, std::vector<store::NewMessage> notices,
                        Answer<void> reply) override {
                if (!notices.empty())
                    return StoreDouble::record(std::move(results), std::move(notices), std::move(reply));
                late_.push_back(std::move(results));
                if (late_.size() > 3) {
                    StoreDouble::record(std::move(late_.front()), {}, [](const store::Result<void>&) {});
                    late_.pop_front();
                }
                reply({});
            }

          private:
            std::deque<std::vector<store::DeliveryResult>> late_;
        };
        return std::make_unique<Faulty>(real);
    }
};

// 250 before the sync.
class AnswersBeforeSync final : public Plant {
  public:
    std::unique_ptr<store::Store> store(store::Store& real) override {
        class Faulty final : public StoreDouble {
          public:
            using StoreDouble::StoreDouble;
            void accept(store::NewMessage message, Answer<store::MessageId> reply) override {
                const auto id = message.id;
                StoreDouble::accept(std::move(message), [](const store::Result<store::MessageId>&) {});
                reply(id);
            }
        };
        return std::make_unique<Faulty>(real);
    }
};

// Bounces are kept, the notices of them are not.
class NoticeLost final : public Plant {
  public:
    std::unique_ptr<store::Store> store(store::Store& real) override {
        class Faulty final : public StoreDouble {
          public:
            using StoreDouble::StoreDouble;
            void record(std::vector<store::DeliveryResult> results, std::vector<store::NewMessage>,
                        Answer<void> reply) override {
                StoreDouble::record(std::move(results), {}, std::move(reply));
            }
        };
        return std::make_unique<Faulty>(real);
    }
};

// A deletion lives in memory alone.
class DeletionForgotten final : public Plant {
  public:
    std::unique_ptr<store::Store> store(store::Store& real) override {
        class Faulty final : public StoreDouble {
          public:
            using StoreDouble::StoreDouble;
            void act(std::vector<store::Act> acts, Answer<void> reply) override {
                std::erase_if(acts, [](const store::Act& act) { return act.kind == store::ActKind::remove; });
                if (acts.empty()) return reply({});
                StoreDouble::act(std::move(acts), std::move(reply));
            }
        };
        return std::make_unique<Faulty>(real);
    }
};

// A policy is believed and not kept.
class PolicyForgotten final : public Plant {
  public:
    std::unique_ptr<store::Store> store(store::Store& real) override {
        class Faulty final : public StoreDouble {
          public:
            using store::Store::keep;
            using StoreDouble::StoreDouble;
            void keep(store::Kept kept, Answer<void> reply) override {
                if (std::holds_alternative<store::StoredPolicy>(kept)) return reply({});
                StoreDouble::keep(std::move(kept), std::move(reply));
            }
        };
        return std::make_unique<Faulty>(real);
    }
};

// ---- policy

// The clock that policies are judged by stands still: none ever expires.
class StalePolicy final : public Plant {
  public:
    std::unique_ptr<Clock> policy_clock(const Clock& real) override {
        class Stopped final : public Clock {
          public:
            explicit Stopped(const Clock& clock) : wall_(clock.wall()), steady_(clock.steady()) {}
            WallTime wall() const override { return wall_; }
            SteadyTime steady() const override { return steady_; }

          private:
            WallTime wall_;
            SteadyTime steady_;
        };
        return std::make_unique<Stopped>(real);
    }
};

// No answer is ever vouched for by DNSSEC.
class WithoutDnssec final : public dns::Resolver {
  public:
    explicit WithoutDnssec(dns::Resolver& resolver) : real_(resolver) {}
    asio::awaitable<dns::Result<dns::Answer<dns::Mx>>> mx(dns::Domain name) override {
        return without(real_.mx(std::move(name)));
    }
    asio::awaitable<dns::Result<dns::Answer<dns::Address>>> a(dns::Domain name) override {
        return without(real_.a(std::move(name)));
    }
    asio::awaitable<dns::Result<dns::Answer<dns::Address>>> aaaa(dns::Domain name) override {
        return without(real_.aaaa(std::move(name)));
    }
    asio::awaitable<dns::Result<dns::Answer<std::string>>> txt(dns::Domain name) override {
        return without(real_.txt(std::move(name)));
    }
    asio::awaitable<dns::Result<dns::Answer<dns::Tlsa>>> tlsa(dns::Domain name) override {
        return without(real_.tlsa(std::move(name)));
    }
    asio::awaitable<dns::Result<dns::Answer<dns::Cname>>> cname(dns::Domain name) override {
        return without(real_.cname(std::move(name)));
    }
    bool trusted() override { return real_.trusted(); }
    std::string servers_text() override { return real_.servers_text(); }
    std::optional<dns::Answer<dns::Mx>> cached_mx(const dns::Domain& name) const override {
        return real_.cached_mx(name);
    }
    void forget_negative() override { real_.forget_negative(); }

  private:
    template <class T>
    static asio::awaitable<dns::Result<dns::Answer<T>>> without(
        asio::awaitable<dns::Result<dns::Answer<T>>> asked) {
        auto answer = co_await std::move(asked);
        if (answer) answer->authentic = false;
        co_return answer;
    }
    dns::Resolver& real_;
};

class DnssecIgnored final : public Plant {
  public:
    std::unique_ptr<dns::Resolver> resolver(dns::Resolver& real) override {
        return std::make_unique<WithoutDnssec>(real);
    }
};

// A report counts as taken though no one has it.
class PostNotMade final : public Plant {
  public:
    std::unique_ptr<util::Https> https(util::Https& real) override {
        class Faulty final : public util::Https {
          public:
            using Answer = Expected<util::HttpsAnswer, util::HttpsErrc>;
            explicit Faulty(util::Https& https) : real_(https) {}
            void run(util::HttpsRequest request, Completion<Answer> reply) override {
                if (!request.post_body) return real_.run(std::move(request), std::move(reply));
                util::HttpsAnswer answer;
                answer.status = 200;
                reply(Answer(std::move(answer)));
            }
            void reload() override { real_.reload(); }

          private:
            util::Https& real_;
        };
        return std::make_unique<Faulty>(real);
    }
};

// A policy host whose certificate does not hold is believed: it says what who sits between wants said.
class BadCertificateAccepted final : public Plant {
  public:
    std::unique_ptr<util::Https> https(util::Https& real) override {
        class Faulty final : public util::Https {
          public:
            using Answer = Expected<util::HttpsAnswer, util::HttpsErrc>;
            explicit Faulty(util::Https& https) : real_(https) {}
            void run(util::HttpsRequest request, Completion<Answer> reply) override {
                real_.run(std::move(request), [held = std::move(reply)](Answer answer) mutable {
                    if (!answer && answer.error().code == util::HttpsErrc::certificate) {
                        util::HttpsAnswer forged;
                        forged.status = 200;
                        forged.content_type = "text/plain";
                        forged.body =
                            "version: STSv1\r\nmode: enforce\r\nmx: mail.evil.example\r\nmax_age: 864000\r\n";
                        answer = std::move(forged);
                    }
                    held(std::move(answer));
                });
            }
            void reload() override { real_.reload(); }

          private:
            util::Https& real_;
        };
        return std::make_unique<Faulty>(real);
    }
};

// A channel whose evidence says more than is true.
class Flattered final : public delivery::Channel {
  public:
    explicit Flattered(std::unique_ptr<delivery::Channel> real)
        : real_(std::move(real)), opened_(real_->opened()) {}
    smtp::Opened& claims() { return opened_; }
    const smtp::Opened& opened() const override { return opened_; }
    asio::awaitable<std::vector<smtp::RecipientOutcome>> transact(queue::Work work) override {
        return real_->transact(std::move(work));
    }
    bool reusable() const override { return real_->reusable(); }
    const std::string& dialogue() const override { return real_->dialogue(); }
    asio::awaitable<void> quit() override { return real_->quit(); }

  private:
    std::unique_ptr<delivery::Channel> real_;
    smtp::Opened opened_;
};

using Dialled = tl::expected<std::unique_ptr<delivery::Channel>, smtp::Failure>;

// A TLS session is taken up again whatever it proved, and what the library says of it is believed.
class ResumedBelieved final : public Plant {
  public:
    std::unique_ptr<delivery::Dialer> dialer(delivery::Dialer& real) override {
        class Faulty final : public delivery::Dialer {
          public:
            explicit Faulty(delivery::Dialer& dialer) : real_(dialer) {}
            asio::awaitable<Dialled> open(delivery::DialRequest request) override {
                const auto host = request.host;
                request.may_resume = [](const tls::Evidence&) { return true; };
                auto channel = co_await real_.open(std::move(request));
                if (!channel || !(*channel)->opened().evidence.resumed) co_return channel;
                auto out = std::make_unique<Flattered>(std::move(*channel));
                out->claims().evidence.chain_error = 0;
                out->claims().evidence.name_matches = true;
                std::unique_ptr<delivery::Channel> given = std::move(out);
                co_return given;
            }

          private:
            delivery::Dialer& real_;
        };
        return std::make_unique<Faulty>(real);
    }
};

// Where TLS is demanded and not to be had, a session in clear passes for one with it.
class ClearTextCalledTls final : public Plant {
  public:
    std::unique_ptr<delivery::Dialer> dialer(delivery::Dialer& real) override {
        class Faulty final : public delivery::Dialer {
          public:
            explicit Faulty(delivery::Dialer& dialer) : real_(dialer) {}
            asio::awaitable<Dialled> open(delivery::DialRequest request) override {
                const auto dane = request.dane;
                if (request.tls == smtp::TlsUse::required) request.tls = smtp::TlsUse::if_offered;
                auto channel = co_await real_.open(std::move(request));
                if (!channel || (*channel)->opened().evidence.encrypted) co_return channel;
                auto out = std::make_unique<Flattered>(std::move(*channel));
                tls::Evidence& evidence = out->claims().evidence;
                evidence.encrypted = evidence.has_certificate = evidence.name_matches = true;
                evidence.dane = dane;
                evidence.dane_matched = dane.has_value();
                std::unique_ptr<delivery::Channel> given = std::move(out);
                co_return given;
            }

          private:
            delivery::Dialer& real_;
        };
        return std::make_unique<Faulty>(real);
    }
};

// ---- threads and time

// News of accepted mail gets lost on the way between two threads, now and then.
class MailUnheard final : public Plant {
  public:
    explicit MailUnheard(std::uint64_t seed) : chance_(seed, "plant") {}
    std::unique_ptr<TaskQueue> control(TaskQueue& real) override {
        class Faulty final : public TaskQueue {
          public:
            Faulty(TaskQueue& task_queue, Chance& chance) : real_(task_queue), chance_(chance) {}
            void post(Task task) override {
                if (!chance_.percent(5)) real_.post(std::move(task));
            }

          private:
            TaskQueue& real_;
            Chance& chance_;
        };
        return std::make_unique<Faulty>(real, chance_);
    }

  private:
    Chance chance_;
};

// Who waits for a time sleeps through it.
class Oversleeps final : public Plant {
  public:
    std::unique_ptr<Timer> timer(Timer& real, const Clock& clock) override {
        static constexpr auto late = std::chrono::hours(7);
        class FaultyWakeup final : public Wakeup {
          public:
            FaultyWakeup(std::unique_ptr<Wakeup> alarm, const Clock& clock)
                : real_(std::move(alarm)), clock_(clock) {}
            asio::awaitable<void> wait(SteadyTime when) override {
                const bool far =
                    when != SteadyTime::max() && when > clock_.steady() + std::chrono::minutes(4);
                return real_->wait(far ? when + late : when);
            }
            void wake() override { real_->wake(); }

          private:
            std::unique_ptr<Wakeup> real_;
            const Clock& clock_;
        };
        class Faulty final : public Timer {
          public:
            Faulty(Timer& timer, const Clock& clock) : real_(timer), clock_(clock) {}
            asio::awaitable<void> until(SteadyTime when) override { return real_.until(when); }
            std::unique_ptr<Wakeup> wakeup() override {
                return std::make_unique<FaultyWakeup>(real_.wakeup(), clock_);
            }

          private:
            Timer& real_;
            const Clock& clock_;
        };
        return std::make_unique<Faulty>(real, clock);
    }
};

// No address is ever refused.
class GateNotAsked final : public Plant {
  public:
    dns::Gate gate(dns::Gate) override {
        dns::Gate::Options open;
        open.allow_special = true;
        return dns::Gate(std::move(open));
    }
};

class NoticesWithoutEnd final : public Plant {
  public:
    delivery::BounceOptions bounces(delivery::BounceOptions real) override {
        real.most_per_day = 0;
        return real;
    }
};

// A suspension is kept, and forgotten by whoever begins attempts.
class SuspensionUnheard final : public Plant {
  public:
    std::unique_ptr<store::Store> store(store::Store& real) override {
        class Faulty final : public StoreDouble {
          public:
            using StoreDouble::StoreDouble;
            void ask(store::Question question, bool current) override {
                auto deaf = [held = std::move(question)](store::Result<store::Questions*> questions) mutable {
                    if (!questions) return held(std::move(questions));
                    Deaf answers(**questions);
                    held(&answers);
                };
                StoreDouble::ask(store::Question(std::move(deaf)), current);
            }

          private:
            class Deaf final : public QuestionsDouble {
              public:
                using QuestionsDouble::QuestionsDouble;
                store::Result<void> each_kept(store::RecordType type,
                                              const std::function<void(store::Kept)>& take) override {
                    if (type == store::RecordType::suspension) return {};
                    return QuestionsDouble::each_kept(type, take);
                }
            };
        };
        return std::make_unique<Faulty>(real);
    }
};

}  // namespace

namespace {

std::vector<PlantEntry> all_plants() {
    // What is lost from the disk shows first in whatever is looked at next.
    // With a result the sessions go that it tells of.
    const std::vector<std::string> loss{"nothing-lost",  "no-duplicate", "one-end",
                                        "nothing-stuck", "drains",       "each-session-once"};
    std::vector<PlantEntry> all{
        {"missing-sync", "the journal's syncs do nothing", loss, make<MissingSync>},
        {"missing-directory-sync", "the entry of a new segment is not synced", loss,
         make<MissingDirectorySync>},
        // "ends": what is left of the index may be no database any more
        {"failed-sync-believed",
         "a sync that failed counts as done",
         {"nothing-lost", "nothing-stuck", "no-duplicate", "one-end", "drains", "recovers", "ends",
          "suspended-means-suspended"},
         make<FailedSyncBelieved>},
        {"index-without-position",
         "the index forgets how far in the journal it is",
         {"each-session-once", "each-outcome-once", "one-end", "no-duplicate"},
         make<IndexWithoutPosition>},
        {"maildrop-taken-twice",
         "a file of the maildrop stays, and its submission is not known again",
         {"taken-once", "no-duplicate"},
         make<MaildropTakenTwice>},
        {"result-after-forget",
         "a result is recorded after the queue forgot",
         {"no-duplicate", "nothing-lost"},
         make<ResultAfterForget>},
        {"answers-before-sync",
         "250 before the accept record is synced",
         {"nothing-lost", "nothing-stuck"},
         make<AnswersBeforeSync>,
         6},
        {"notice-lost",
         "a bounce is recorded without its notice",
         {"nothing-lost", "nothing-stuck", "bounce-has-its-notice"},
         make<NoticeLost>},
        {"deletion-forgotten",
         "a deletion is not recorded",
         {"one-end", "drains"},
         make<DeletionForgotten>,
         23},
        {"policy-forgotten", "a policy is believed and not stored", {"no-breach"}, make<PolicyForgotten>, 8},
        {"stale-policy", "policies never expire", {"policy-is-looked-for"}, make<StalePolicy>},
        {"dnssec-ignored",
         "DNSSEC vouches for nothing",
         {"policy-is-looked-for", "no-breach"},
         make<DnssecIgnored>},
        {"bad-certificate-accepted",
         "a policy host with a certificate that does not hold is believed",
         {"policy-is-the-domains", "no-breach"},
         make<BadCertificateAccepted>,
         9},
        {"post-not-made",
         "a TLS report counts as posted, and nobody got it",
         {"reports-are-true"},
         make<PostNotMade>},
        {"resumed-believed",
         "a TLS session is taken up again and believed, whatever it proved",
         {"no-breach", "claims-are-true"},
         make<ResumedBelieved>},
        {"clear-text-called-tls",
         "a session in clear passes for TLS",
         {"no-breach"},
         make<ClearTextCalledTls>},
        {"mail-unheard",
         "news of accepted mail gets lost between threads",
         {"nothing-stuck", "ends"},
         make<MailUnheard>},
        {"gate-not-asked", "no address is refused", {"gate"}, make<GateNotAsked>, 12},
        {"notices-without-end",
         "one mailbox gets any number",
         {"notices-bounded"},
         make<NoticesWithoutEnd>,
         12},
        {"suspension-unheard",
         "a suspension is forgotten with a restart",
         {"suspended-means-suspended", "claims-are-true"},
         make<SuspensionUnheard>,
         14},
        {"oversleeps", "what waits is woken hours late", {"nothing-stuck", "turn-comes"}, make<Oversleeps>},
    };
    for (auto& one : untruths()) all.push_back(std::move(one));
    return all;
}

}  // namespace

std::string Plant::sender_scope(const std::string& text) {
    return store::parse_sender_scope(text, [](const std::string&) { return std::optional(1000U); }).value();
}

const std::vector<PlantEntry>& plants() {
    static const std::vector<PlantEntry> all = all_plants();
    return all;
}

}  // namespace sternpost::simulation
