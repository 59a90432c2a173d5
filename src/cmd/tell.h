// The one way to standard output for what the command says to people.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <utility>

#include "util/text.h"

namespace sternpost::cmd {

/// Prints like fmt::print. Whatever an argument holds, nothing in it steers the terminal: util/text,
/// printable_lines().
template <class... Args>
void tell(fmt::format_string<Args...> format, Args&&... args) {
    const std::string out = printable_lines(fmt::format(format, std::forward<Args>(args)...));
    std::fwrite(out.data(), 1, out.size(), stdout);
}

}  // namespace sternpost::cmd
