// A store that only takes mail in, in memory, for tests of the receiving sides. What it answers can be told
// to it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fake/no_questions.h"
#include "store/store.h"

namespace sternpost::fake {

class IntakeStore : public store::Store, public NoQuestions {
  public:
    std::optional<store::Errc> refuse_accept;        // the next accepts fail so
    std::optional<store::Errc> refuse_write;         // the next writes of a body fail so
    std::atomic<bool> hold_replies = false;          // to accepts and to reads of a body, until release()
    std::function<void(std::string_view)> on_write;  // hears of each piece of a body before it is written

    std::vector<store::NewMessage> accepted() const {
        const std::lock_guard lock(mutex_);
        return accepted_;
    }
    std::size_t open_sinks() const {
        const std::lock_guard lock(mutex_);
        return open_sinks_;
    }
    std::size_t held() const {
        const std::lock_guard lock(mutex_);
        return held_.size();
    }
    void release() {
        std::vector<Task> tasks;
        {
            const std::lock_guard lock(mutex_);
            tasks.swap(held_);
            hold_replies = false;
        }
        for (auto& task : tasks) task();
    }

    const store::Opened& opened() const override { return opened_; }
    store::Identity identity() const override { return {}; }
    SteadyTime lease() const override { return SteadyTime::max(); }
    bool steward() const override { return true; }
    bool has_room(std::uint64_t) const override { return true; }
    std::string stop() override { return ""; }

    std::unique_ptr<store::BodySink> new_body(std::uint64_t limit) override {
        return std::make_unique<Sink>(*this, limit);
    }

    void accept(store::NewMessage message, Completion<store::Result<store::MessageId>> reply) override {
        auto answer = decide(std::move(message));
        if (hold_replies) {
            const std::lock_guard lock(mutex_);
            held_.push_back(
                Task([r = std::move(reply), a = std::move(answer)]() mutable { r(std::move(a)); }));
            return;
        }
        reply(std::move(answer));
    }

    void record(std::vector<store::DeliveryResult>, std::vector<store::NewMessage>,
                Completion<store::Result<void>> reply) override {
        reply(fail(store::Errc::closed, "takes mail in only"));
    }
    void act(std::vector<store::Act>, Completion<store::Result<void>> reply) override {
        reply(fail(store::Errc::closed, "takes mail in only"));
    }
    void read_body(const store::StoredMessage&, std::uint64_t, std::size_t,
                   Completion<store::Result<std::string>> reply) override {
        auto answer = [r = std::move(reply)]() mutable {
            r(fail(store::Errc::not_found, "takes mail in only"));
        };
        if (!hold_replies) return answer();
        const std::lock_guard lock(mutex_);
        held_.emplace_back(std::move(answer));
    }
    void due(store::DueQuestion, Completion<store::Result<store::Due>> reply) override {
        reply(store::Due());
    }
    using store::Store::keep;
    void keep(store::Kept, Completion<store::Result<void>> reply) override {
        if (reply) reply(store::Result<void>());
    }
    void ask(store::Question question, bool) override { question(this); }

  private:
    class Sink final : public store::BodySink {
      public:
        Sink(IntakeStore& store, std::uint64_t limit) : store_(store), limit_(limit) {
            const std::lock_guard lock(store_.mutex_);
            ++store_.open_sinks_;
        }
        ~Sink() override {
            const std::lock_guard lock(store_.mutex_);
            --store_.open_sinks_;
        }
        store::Result<void> write(std::string_view octets) override {
            if (store_.on_write) store_.on_write(octets);
            if (store_.refuse_write) return fail(*store_.refuse_write, "as told");
            if (octets_.size() + octets.size() > limit_)
                return fail(store::Errc::too_big, "beyond the sink's limit");
            octets_ += octets;
            return {};
        }
        std::uint64_t size() const override { return octets_.size(); }
        store::Result<std::string> contents() override { return octets_; }
        store::Result<store::Body> finish() override { return store::Body::of(std::move(octets_)); }

      private:
        IntakeStore& store_;
        std::uint64_t limit_;
        std::string octets_;
    };

    store::Result<store::MessageId> decide(store::NewMessage message) {
        const std::lock_guard lock(mutex_);
        if (refuse_accept) return fail(*refuse_accept, "as told");
        if (message.submission && !submissions_.insert(*message.submission).second)
            return fail(store::Errc::duplicate, "this submission was accepted before");
        accepted_.push_back(message);
        return message.id;
    }

    mutable std::mutex mutex_;
    std::vector<store::NewMessage> accepted_;
    std::set<store::SubmissionId> submissions_;
    std::size_t open_sinks_ = 0;
    std::vector<Task> held_;
    store::Opened opened_;
};

}  // namespace sternpost::fake
