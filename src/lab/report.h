// What a run of the suite has shown, by obligation: as a table, as Markdown, as JSON.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "lab/check.h"

namespace sternpost::lab {

/// What became of one check.
struct Verdict {
    bool ran = false;     // false: it was not chosen
    std::string trouble;  // what was expected and what was seen; empty: it passed
    std::chrono::milliseconds took{0};
};

/// An obligation's row.
struct Row {
    enum class State { passed, failed, unseen, not_run };

    const Obligation* obligation = nullptr;
    State state = State::not_run;
    std::vector<std::string> troubles;  // `CHECK: what was expected, what was seen (FILE:LINE)`
};

struct Totals {
    std::size_t passed = 0, failed = 0, unseen = 0, not_run = 0;  // obligations
    std::size_t checks = 0, checks_failed = 0;
};

/// The verdicts are in the order of the suite's checks. An obligation has passed when every check that shows
/// it has.
std::vector<Row> rows_of(const Suite& suite, const std::vector<Verdict>& verdicts);
Totals totals_of(const std::vector<Row>& rows, const std::vector<Verdict>& verdicts);

/// One line a row, those that were not run left out; then the totals.
std::string as_text(const std::vector<Row>& rows, const Totals& totals, std::chrono::milliseconds took);
std::string as_markdown(const std::vector<Row>& rows, const Totals& totals, std::chrono::milliseconds took);
boost::json::object as_json(const Suite& suite, const std::vector<Row>& rows,
                            const std::vector<Verdict>& verdicts, std::chrono::milliseconds took);

}  // namespace sternpost::lab
