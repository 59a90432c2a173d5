// Changes single options in the text of a configuration, and leaves everything else as its author wrote it.
// Pure.
#pragma once

#include <string>
#include <string_view>

namespace sternpost::config {

/// `text` with the option set. `name`: as in config/options, such as `tlsrpt.contact`; `value`: as TOML has
/// it. A line that sets the option is replaced, one that is commented out becomes real, else the option is
/// added at the beginning of its section. The option's value must be on one line.
std::string with_option(std::string_view text, std::string_view name, std::string_view value);

/// A text as TOML has it, with its quotes.
std::string toml_text(std::string_view text);

}  // namespace sternpost::config
