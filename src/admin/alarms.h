// Alarms as administrators see them, and what they do with them.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/reading.h"

namespace sternpost::admin {

struct AlarmRow {
    std::string kind;
    std::string subject;
    std::string reason;
    WallTime first{};
    WallTime last{};
    std::uint64_t count = 0;
    bool open = true;  // no administrator has acknowledged it since
    std::optional<WallTime> acked;
    std::string acked_by;
    std::optional<WallTime> muted_until;
    std::string advice;  // what to do
};
BOOST_DESCRIBE_STRUCT(AlarmRow, (),
                      (kind, subject, reason, first, last, count, open, acked, acked_by, muted_until, advice))
AlarmRow row_of(const store::StoredAlarm& alarm, WallTime now);

struct AlarmsRequest {
    bool all = false;  // those too that are acknowledged, muted, or older than a week
};
BOOST_DESCRIBE_STRUCT(AlarmsRequest, (), (all))

struct AlarmsAnswer {
    std::vector<AlarmRow> alarms;  // the latest first
    std::uint64_t muted = 0;       // further open alarms, which are muted
};
BOOST_DESCRIBE_STRUCT(AlarmsAnswer, (), (alarms, muted))

class AlarmsList : public ReadingVerb {
  public:
    using Request = AlarmsRequest;
    using Value = AlarmsAnswer;
    static constexpr std::string_view name = "alarms.list";
    static constexpr Access access = Access::read;

    AlarmsList(const Request& request, const Caller&, Paging) : all_(request.all) {}
    store::Result<void> read(store::Questions& questions);
    Answer<Value> answer(const Live& live);

  private:
    bool all_;
    std::vector<store::StoredAlarm> found_;
};

/// Which alarms are meant: of this kind, about this subject. Empty: any.
struct AlarmAction {
    std::string kind;
    std::string subject;
    bool all = false;  // whatever they are
    std::string span;  // mute: for how long, such as 7d; `off` ends it
};
BOOST_DESCRIBE_STRUCT(AlarmAction, (), (kind, subject, all, span))

struct AlarmsDone {
    std::vector<AlarmRow> alarms;
};
BOOST_DESCRIBE_STRUCT(AlarmsDone, (), (alarms))

}  // namespace sternpost::admin
