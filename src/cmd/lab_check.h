// The verb `sternpost-lab check`: options, where the suite and the programs are, the table.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>

namespace sternpost::cmd {

/// Adds the verb; `choose` is called with what to run when it was asked for.
void add_check_verb(CLI::App& app, const std::function<void(std::function<int()>)>& choose);

}  // namespace sternpost::cmd
