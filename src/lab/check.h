// The suite of `sternpost-lab check` as values: each check is a world, steps in it, and the obligations that
// they show. Read from a folder of TOML files; errors name file, line, what was seen, what is allowed.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lab/scenario.h"
#include "util/result.h"

namespace sternpost::lab {

enum class StepKind {
    // what is done
    send,
    set,
    flush,
    restart,
    pass,
    wait,
    run,
    dialogue,
    // what is expected
    arrived,
    deferred,
    told_nothing,
    not_contacted,
    sessions,
    asked,
    requested,
    logged,
};

/// One step. Which members count depends on its kind (sternpost-lab(1), CHECKS).
struct Step {
    StepKind kind = StepKind::send;
    std::size_t line = 0;
    std::vector<std::string> of;  // recipients, hosts, names, the words of a command, lines of a dialogue
    std::string from = "alice@sender.example";
    std::string header;  // more fields of the message, each with its line end
    std::string to;      // of `set`: TOML
    std::string at, status, says, says_not, sni, type, ret, tls;
    std::optional<bool> requiretls;
    bool smtputf8 = false;
    bool eight_bit = false;
    std::optional<std::uint32_t> count, at_least;
    std::uint32_t exit = 0;
    std::map<std::string, std::string> with;  // tags of a log line
};

struct Check {
    std::vector<std::string> ids;
    std::string name;
    std::string file;  // as it is shown
    std::size_t line = 0;
    Scenario scenario;
    std::vector<Step> steps;
};

/// An obligation as doc/obligations.tsv has it, and whether it shows at all from outside.
struct Obligation {
    std::string id;
    std::string section;
    std::string demand;
    std::string unseen;  // why no check shows it; empty: one does
};

struct Suite {
    std::vector<Check> checks;
    std::vector<Obligation> obligations;
    std::vector<std::string> errors;  // `FILE:LINE: …`; not to be run with any
};

/// Adds what a file of checks says; `name` stands in front of errors.
void read_checks(std::string_view text, const std::string& name, Suite& suite);

/// Reads every *.toml of `folder`, obligations.tsv and unseen.tsv. An obligation that no check shows and
/// unseen.tsv does not name is an error, as is an id that no obligation has.
Suite read_suite(const std::filesystem::path& folder);

/// `90s`, `5m`, `12h`, `2d`; nullopt for anything else.
std::optional<std::chrono::seconds> span_of(std::string_view text);

}  // namespace sternpost::lab
