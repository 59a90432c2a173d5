// A scenario file (TOML) to a World, and single changes to it while it runs. Errors name file, line, what was
// seen, what is allowed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lab/world.h"
#include "util/result.h"

namespace sternpost::lab {

struct Scenario {
    World world;                      // complete
    std::string sternpost;            // the [sternpost] table, as TOML
    std::vector<std::string> errors;  // `FILE:LINE: …`; not to be run with any
};

/// Reads a scenario; `name` stands in front of errors.
Scenario read_scenario(std::string_view text, std::string_view name);

/// One change, as in `mx.mx1.b.example.starttls = "none"`: `path` is the section, the name and the key;
/// `value` is TOML, or taken as a text where it is none. Makes what a domain newly names. malformed: nothing
/// was changed, and the text says what is allowed.
util::Result<void> set(World& world, std::string_view path, std::string_view value);

/// Configurations laid over one another, the later over the earlier. malformed: one is no TOML.
util::Result<std::string> merged_config(const std::vector<std::string_view>& texts);

/// Where the parts of a running lab are, for the configuration of a sternpostd in it.
struct Places {
    std::filesystem::path folder;  // absolute
    std::string resolver;          // `127.0.0.53:53`
    std::uint16_t smtp_port = 25;
    std::uint16_t https_port = 443;
};

/// A whole sternpost.toml: what a sternpostd in this lab needs, and on top what the scenario's [sternpost]
/// says.
std::string daemon_config(const Places& places, std::string_view sternpost_table);

}  // namespace sternpost::lab
