// What the administrator's socket carries: one JSON object a line, a request and its answer.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/answer.h"

namespace sternpost::control {

namespace json = boost::json;

inline constexpr std::size_t max_request = 1UL << 20U;   // octets of a request line
inline constexpr std::size_t max_answer = 256UL << 20U;  // and of an answer

using admin::ExitCode;

/// What a caller asks for. `object` has the verb and its arguments.
struct Request {
    json::object object;
    bool progress = false;  // wants progress_line() before the answer
    bool parts = false;     // wants part_line() before the answer
};
/// Reads a line of the socket; nullopt: it is not a request.
std::optional<Request> request_of(std::string_view line);
/// A member of a request. Empty: there is no such text.
std::string text_of(const json::object& request, std::string_view key);

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

}  // namespace sternpost::control
