// What the store is asked to keep, gathered into batches, written to the journal, answered. A core: no
// thread, no clock; who runs it says when, so that a crash may be made to fall between any two of its disk
// operations.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "store/journal/accepted.h"
#include "store/journal/body.h"
#include "store/journal/journal.h"
#include "store/store.h"

namespace sternpost::store {

/// What a record says: an accepted message, a result, an act, or one of what is Kept.
template <class Values>
struct JournalValueOf;
template <class... Values>
struct JournalValueOf<std::variant<Values...>> {
    using type = std::variant<Accepted, DeliveryResult, Act, Values...>;
};
using JournalValue = JournalValueOf<Kept>::type;

/// One record of the journal, read.
struct JournalEntry {
    std::uint64_t sequence = 0;
    JournalPlace place;
    JournalValue what;
};

/// The record's value. nullopt: of a type that a later release has made. Errors: damaged.
Result<std::optional<JournalEntry>> decode_entry(const RecordView& record);

class Writer {
  public:
    /// The message that was accepted with this submission id, if any is known.
    using Known = std::function<std::optional<MessageId>(const SubmissionId&)>;
    /// Told of each batch's new messages, small bodies attached, after the sync and before the replies.
    using OnAccepted = std::function<void(std::vector<StoredMessage>)>;

    Writer(Journal& journal, Bodies& bodies, Known known, OnAccepted on_accepted)
        : journal_(journal),
          bodies_(bodies),
          known_(std::move(known)),
          on_accepted_(std::move(on_accepted)) {}

    // What Store's operations of these names ask for. Large bodies are durable before they come here. The
    // replies are called by commit().
    void accept(NewMessage message, Completion<Result<MessageId>> reply);
    void record(std::vector<DeliveryResult> results, std::vector<NewMessage> notices,
                Completion<Result<void>> reply);
    void act(const std::vector<Act>& acts, Completion<Result<void>> reply);
    /// Copies of messages that the journal has, with their copied state and small bodies: one batch, whole or
    /// not at all. No one waits for it.
    void copy(std::vector<Accepted> messages);
    void keep(Kept kept, Completion<Result<void>> reply);

    /// Nothing waits to be written or answered.
    bool idle() const { return requests_.empty(); }
    /// Octets gathered for the next batch.
    std::size_t gathered() const { return octets_; }
    bool has_mail() const { return has_mail_; }      // someone waits for a 250
    bool has_others() const { return has_others_; }  // someone waits for another answer

    /// Writes all that was gathered, in batches of at most 2 MiB (one request is never split), each synced
    /// once, and answers. Returns what is on stable storage now and was not before, in order.
    std::vector<JournalEntry> commit();
    /// How the last commit() went: why the first batch that was refused could not be written.
    const Result<void>& committed() const { return committed_; }
    /// Answers all that was gathered with `why`.
    void refuse(const Error<Errc>& why);

  private:
    struct Item {
        Record record;
        JournalValue what;
        std::shared_ptr<const std::string> octets;  // of a small body
    };
    struct Request {
        std::vector<Item> items;
        std::size_t octets = 0;
        std::function<void(const Result<void>&)> answer;
    };

    Result<void> add_message(Request& request, NewMessage message);
    void add(Request request);
    std::vector<Request> take();
    Result<void> write(std::vector<Request> batch, std::vector<JournalEntry>& written);
    void refuse(std::vector<Request>& batch, const Error<Errc>& why);

    Journal& journal_;
    Bodies& bodies_;
    Known known_;
    OnAccepted on_accepted_;
    std::vector<Request> requests_;
    std::map<SubmissionId, MessageId> submissions_;  // of the accepts in requests_
    Result<void> committed_;
    std::size_t octets_ = 0;
    bool has_mail_ = false;
    bool has_others_ = false;
};

}  // namespace sternpost::store
