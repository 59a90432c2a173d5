// `queue summary`: what waits, by destination, by age, by size and by what is in its way.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/reading.h"

namespace sternpost::admin {

struct SummaryRow {
    std::string key;               // empty: the others
    std::uint64_t messages = 0;    // of destination and error: counted for each of their recipients' places
    std::uint64_t recipients = 0;  // that wait
    std::uint64_t octets = 0;      // of the messages
    std::optional<WallTime> oldest;
    std::string reason;  // of destination and error: the last that was heard
};
BOOST_DESCRIBE_STRUCT(SummaryRow, (), (key, messages, recipients, octets, oldest, reason))

struct SummaryAnswer {
    SummaryRow total;
    std::vector<SummaryRow> destinations;  // those with the most recipients first
    std::vector<SummaryRow> ages;
    std::vector<SummaryRow> sizes;
    std::vector<SummaryRow> errors;  // by reason code, else by status; `not tried yet`
};
BOOST_DESCRIBE_STRUCT(SummaryAnswer, (), (total, destinations, ages, sizes, errors))

struct SummaryRequest {
    std::uint64_t limit = 20;  // destinations and errors
};
BOOST_DESCRIBE_STRUCT(SummaryRequest, (), (limit))

/// Counts messages one by one, in bounded memory.
class QueueSums {
  public:
    QueueSums(std::uint64_t limit, WallTime now) : limit_(limit), now_(now) {}
    void add(const store::StoredMessage& message);
    SummaryAnswer taken();

  private:
    using Rows = std::map<std::string, SummaryRow>;
    static void count(SummaryRow& row, const store::StoredMessage& message, std::uint64_t recipients);
    SummaryRow& place(Rows& rows, const std::string& key);
    std::vector<SummaryRow> largest(Rows& rows) const;

    std::uint64_t limit_;
    WallTime now_;
    SummaryRow total_;
    Rows destinations_, errors_;
    std::vector<SummaryRow> ages_, sizes_;
};

class QueueSummary : public ReadingVerb {
  public:
    using Request = SummaryRequest;
    using Value = SummaryAnswer;
    static constexpr std::string_view name = "queue.summary";
    static constexpr Access access = Access::read;

    QueueSummary(const Request& request, const Caller&, Paging);
    store::Result<void> read(store::Questions& questions);
    void look(const Live& live);
    Answer<Value> answer(const Live& live);

  private:
    std::uint64_t limit_;
    store::QueueFilter filter_;
    std::vector<store::StoredMessage> found_;
    std::optional<QueueSums> sums_;
};

}  // namespace sternpost::admin
