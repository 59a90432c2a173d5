// What a verb answers: a value or why there is none, and how a command ends that asked for it.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "store/errc.h"
#include "util/result.h"

namespace sternpost::admin {

/// How a command ends, for shells and scripts; sysexits where there is one.
enum class ExitCode : int {
    done = 0,
    no = 1,          // the answer is no: not found, nothing matched, the configuration has errors
    held = 2,        // explain: what is demanded rules every host out
    unanswered = 3,  // explain, sts diff: a look-up failed, no one can say now
    usage = 64,
    bad_data = 65,     // tlsrpt read: a file has no report
    no_input = 66,     // tlsrpt read: a file cannot be read
    unavailable = 69,  // the daemon does not answer
    internal = 70,
    not_permitted = 77,
};

/// Why there is no answer.
struct Refusal {
    ExitCode code = ExitCode::no;
    std::string text;
};
inline Refusal refusal(std::string text) {
    return {ExitCode::no, std::move(text)};
}
inline Refusal misused(std::string text) {
    return {ExitCode::usage, std::move(text)};
}
inline Refusal internal(std::string text) {
    return {ExitCode::internal, std::move(text)};
}
inline Refusal caller_is_gone() {
    return {ExitCode::unavailable, "the caller is gone"};
}

/// A value, a refusal, or both: a value that is no good news has a code and a text too.
template <class T>
struct Answer {
    Answer(T found) : value(std::move(found)) {}
    Answer(T found, ExitCode why, std::string told = {})
        : code(why), text(std::move(told)), value(std::move(found)) {}
    Answer(Refusal why) : code(why.code), text(std::move(why.text)) {}
    Answer(const Error<store::Errc>& error) : Answer(internal(error.text)) {}

    ExitCode code = ExitCode::done;
    std::string text;
    std::optional<T> value;
};

/// The request of a verb that needs none, and the value of one that only does something.
struct NoRequest {};
BOOST_DESCRIBE_STRUCT(NoRequest, (), ())
struct Nothing {};
BOOST_DESCRIBE_STRUCT(Nothing, (), ())

/// What a verb does to the daemon and to the world.
enum class Access {
    read,     // shows what the daemon knows, in bounded time
    look_up,  // asks hosts outside, or reads much: for administrators
    act,      // changes something: for administrators
};

/// Who asks, as the kernel says.
struct Caller {
    std::uint32_t uid = 0;
    bool admin = false;  // root, the daemon's own account, or a member of the administrators' group

    /// In the log, and wherever else it stands who did something.
    std::string name() const { return "uid " + std::to_string(uid); }
};

}  // namespace sternpost::admin
