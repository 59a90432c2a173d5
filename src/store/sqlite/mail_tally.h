// Mail counted in memory, entry by entry of the journal, before the sums go to the index. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "store/mail_counts.h"
#include "store/message.h"
#include "store/results.h"

namespace sternpost::store {

/// Whom a recipient's result counts for.
struct CountedFor {
    std::string destination;
    std::string sender;
    std::string from_domain;
};
CountedFor counted_for(std::string_view hop_group, const Origin& origin, MessageClass message_class,
                       const mail::ReversePath& reverse_path);

class MailTally {
  public:
    using Key = std::tuple<std::int64_t, CountedBy, std::string>;  // hours since 1970

    MailTally() = default;
    MailTally(const MailTally&) = delete;
    MailTally& operator=(const MailTally&) = delete;

    void accepted(const NewMessage& message, const CountedFor& whom);
    void ended(const DeliveryResult& result, const CountedFor& whom);
    /// The next hop failed, and all that waits for it.
    void failed(const HopState& hop);

    const std::map<Key, MailNumbers>& numbers() const { return numbers_; }

  private:
    /// Where a count of this kind went last: the next one mostly has the same key.
    struct Last {
        std::int64_t hour = 0;
        std::string key;
        MailNumbers* numbers = nullptr;  // in numbers_, whose entries stay where they are
    };
    MailNumbers& at(std::int64_t hour, CountedBy by, const std::string& key);

    std::map<Key, MailNumbers> numbers_;
    std::array<Last, static_cast<std::size_t>(last_of(CountedBy{})) + 1> last_{};
};

/// Those with the most mail first, and no more than `most`: the others are summed under the empty key.
std::vector<MailCount> largest(std::vector<MailCount> counts, std::size_t most);

/// The answer to a question about counts, of rows in any order.
class MailSums {
  public:
    explicit MailSums(const MailCountFilter& filter);
    /// Hours that the question is about, both ends included.
    std::int64_t first_hour() const { return first_; }
    std::int64_t last_hour() const { return last_; }

    void add(const MailTally::Key& key, const MailNumbers& numbers);
    void add(const MailCount& count) { sums_[count.key] += count.numbers; }
    std::vector<MailCount> taken();

  private:
    MailCountFilter filter_;
    std::int64_t first_;
    std::int64_t last_;
    std::map<std::string, MailNumbers> sums_;
};

}  // namespace sternpost::store
