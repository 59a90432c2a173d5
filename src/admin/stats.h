// How much mail there was, as administrators see it.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "admin/reading.h"
#include "store/mail_counts.h"

namespace sternpost::admin {

struct StatsRequest {
    WallTime from{};
    std::string by;  // a name of store::CountedBy, or `hour`; empty: all
    std::uint64_t limit = 20;
};
BOOST_DESCRIBE_STRUCT(StatsRequest, (), (from, by, limit))

struct StatsRow {
    std::string key;  // empty: what is not among the others
    std::uint64_t accepted = 0;
    std::uint64_t octets = 0;
    std::uint64_t sent = 0;
    std::uint64_t deferred = 0;
    std::uint64_t bounced = 0;
    std::uint64_t expired = 0;
};
BOOST_DESCRIBE_STRUCT(StatsRow, (), (key, accepted, octets, sent, deferred, bounced, expired))

struct StatsAnswer {
    WallTime from{};  // the hour that it begins with
    WallTime to{};
    std::string by;
    std::vector<StatsRow> rows;
    StatsRow total;
};
BOOST_DESCRIBE_STRUCT(StatsAnswer, (), (from, to, by, rows, total))

class Stats : public ReadingVerb {
  public:
    using Request = StatsRequest;
    using Value = StatsAnswer;
    static constexpr std::string_view name = "stats";
    static constexpr Access access = Access::read;

    Stats(const Request& request, const Caller&, Paging);
    store::Result<void> read(store::Questions& questions);
    Answer<Value> answer(const Live& live);

  private:
    store::MailCountFilter filter_;
    StatsAnswer answer_;
};

}  // namespace sternpost::admin
