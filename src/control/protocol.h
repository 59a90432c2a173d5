// What the administrator's socket carries: one JSON object a line, a request and its answer. And how the kept
// values look in JSON.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "queue/obstacle.h"
#include "store/store.h"

namespace sternpost::control {

namespace json = boost::json;

inline constexpr std::size_t max_request = 1UL << 20U;   // octets of a request line
inline constexpr std::size_t max_answer = 256UL << 20U;  // and of an answer

/// How a command ends, for shells and scripts; sysexits where there is one.
enum class ExitCode : int {
    done = 0,
    no = 1,          // the answer is no: not found, nothing matched, the configuration has errors
    held = 2,        // explain: what is demanded rules every host out
    unanswered = 3,  // explain, sts diff: a look-up failed, nobody can say now
    usage = 64,
    bad_data = 65,     // tlsrpt read: a file has no report
    no_input = 66,     // tlsrpt read: a file cannot be read
    unavailable = 69,  // the daemon does not answer
    internal = 70,
    not_permitted = 77,
};

/// What a caller asks for. `object` has the verb and its arguments.
struct Request {
    json::object object;
    bool progress = false;  // wants progress_line() before the answer
    bool parts = false;     // wants part_line() before the answer
};
/// Reads a line of the socket; nullopt: it is not a request.
std::optional<Request> request_of(std::string_view line);
/// A member of a request or an answer. Empty, false or 0: there is none of that type.
std::string text_of(const json::object& request, std::string_view key);
bool flag_of(const json::object& request, std::string_view key);
std::uint64_t number_of(const json::object& object, std::string_view key);

/// An answer: `code` as above, `text` for people when it is not done, `data` for programs.
struct Answer {
    ExitCode code = ExitCode::done;
    std::string text;
    json::value data;
};

/// Before its answer, a request with `progress: true` may get lines that say how far it is.
inline constexpr std::string_view progress_begin = "{\"progress\":";
std::string progress_line(const json::object& so_far);
/// What such a line says; nullopt: it is an answer.
std::optional<json::object> progress_of(std::string_view line);

/// Before its answer, a request with `parts: true` may get pieces of the answer's data: arrays that belong at
/// the end of those of the same name in `data`.
inline constexpr std::string_view part_begin = "{\"part\":";
std::string part_line(const json::object& piece);
/// What such a line brings; nullopt: it is an answer.
std::optional<json::object> part_of(std::string_view line);
/// Puts what came in parts before the arrays of the same name in `data`, or where that is an array, their
/// `items` before its own.
void join_parts(json::value& data, json::object parts);

std::string to_line(const Answer& answer);
Answer answer_of(std::string_view line);

/// One message of a queue listing. `blocked`: what is in the way of each recipient.
json::object to_json(const store::StoredMessage& message, const std::vector<queue::Blocked>& blocked);
/// A next hop as `queue hops` shows it.
struct HopRow {
    std::string name;
    std::uint64_t recipients = 0;  // that wait
    unsigned connections = 0;
    unsigned failures = 0;            // in a row
    std::optional<WallTime> next_at;  // where it fails
    std::string status;
    std::string text;
    queue::Blocked blocked;  // of mail that comes now
};
json::object to_json(const HopRow& hop);
json::object to_json(const store::QueueTotals& totals);
/// Counts a message that a listing shows.
void add(store::QueueTotals& totals, const store::StoredMessage& message);
json::object to_json(const store::StoredSuspension& suspension);
json::object to_json(const store::StoredPolicy& policy, bool with_text);

}  // namespace sternpost::control
