// The configuration file: TOML to Settings. Every error names file, line, the value seen and what is allowed.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "config/options.h"

namespace sternpost::config {

struct Loaded {
    Settings settings;
    std::vector<std::string> errors;    // `FILE:LINE: …`; the daemon does not start with any
    std::vector<std::string> warnings;  // what works, but not as one would wish
};

/// Reads TOML text; `name` stands in front of errors.
Loaded read_text(std::string_view text, std::string_view name);
/// Reads a file; that it cannot be read is an error of its own. An empty path: the defaults.
Loaded read_file(const std::filesystem::path& path);

/// `65536`, `64KiB`, `50MiB`, `1GiB`.
std::optional<std::uint64_t> parse_size(std::string_view text);

/// The name to go by: the configured one, else the machine's. Empty when neither is fully qualified: then
/// only loopback is served.
std::string effective_hostname(const Settings& settings);

/// Where DKIM's keys are.
std::string dkim_folder(const Settings& settings);

/// How many threads run SMTP sessions on a machine with so many processors. 1: the control thread does.
unsigned effective_io_threads(const Settings& settings, unsigned processors);

}  // namespace sternpost::config
