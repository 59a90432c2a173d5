// What may fail says so in its type. A value or an Error; the error's code is a closed enum of the folder it
// comes from.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace sternpost {

/// What went wrong: a code that programs switch over, a text for people (ends up in logs and replies; no
/// secrets).
template <class Code>
struct Error {
    Code code;
    std::string text;
};

/// A value of T, or an Error with a code of the folder's own enum. Each folder declares
/// `template <class T> using Result = Expected<T, Errc>;`.
template <class T, class Code>
using Expected = tl::expected<T, Error<Code>>;

/// The unhappy end of a function that returns an Expected.
template <class Code>
[[nodiscard]] tl::unexpected<Error<Code>> fail(Code code, std::string text) {
    return tl::unexpected<Error<Code>>(Error<Code>{code, std::move(text)});
}

template <class Code>
[[nodiscard]] tl::unexpected<Error<Code>> fail(Error<Code> error) {
    return tl::unexpected<Error<Code>>(std::move(error));
}

namespace util {

enum class Errc {
    io,         // the operating system refused; errno's text is in the message
    not_found,  // the file is not there
    exists,     // it is there already
    busy,       // someone else holds the lock
    timed_out,
    closed,     // the other side ended the connection
    too_big,    // beyond the limit that the caller set
    malformed,  // not the format that was expected
};

template <class T>
using Result = Expected<T, Errc>;

}  // namespace util
}  // namespace sternpost
