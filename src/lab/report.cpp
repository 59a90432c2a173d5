#include "lab/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>

#include "util/text.h"

namespace sternpost::lab {
namespace {

namespace json = boost::json;

const char* word_of(Row::State state) {
    switch (state) {
        case Row::State::passed:
            return "pass";
        case Row::State::failed:
            return "FAIL";
        case Row::State::unseen:
            return "unseen";
        case Row::State::not_run:
            break;
    }
    return "not run";
}

std::string sum_of(const Totals& totals, std::chrono::milliseconds took) {
    return fmt::format(
        "{} obligations: {} passed, {} failed, {} not seen from outside{}; {} checks, {} failed; {:.1f} s",
        totals.passed + totals.failed + totals.unseen + totals.not_run, totals.passed, totals.failed,
        totals.unseen, totals.not_run > 0 ? fmt::format(", {} not run", totals.not_run) : "", totals.checks,
        totals.checks_failed, static_cast<double>(took.count()) / 1000.0);
}

std::string unseen_of(const Row& row) {
    return "not seen from outside: " + row.obligation->unseen;
}

// A cell of a Markdown table.
std::string cell(std::string text) {
    for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2)
        text.insert(at, 1, '\\');
    return text;
}

}  // namespace

std::vector<Row> rows_of(const Suite& suite, const std::vector<Verdict>& verdicts) {
    std::vector<Row> rows;
    for (const auto& obligation : suite.obligations) {
        Row row;
        row.obligation = &obligation;
        if (!obligation.unseen.empty()) row.state = Row::State::unseen;
        for (std::size_t i = 0; i < suite.checks.size(); ++i) {
            const Check& check = suite.checks[i];
            const auto& ids = check.ids;
            if (!verdicts[i].ran || std::find(ids.begin(), ids.end(), obligation.id) == ids.end()) continue;
            if (row.state == Row::State::not_run) row.state = Row::State::passed;
            if (verdicts[i].trouble.empty()) continue;
            row.state = Row::State::failed;
            row.troubles.push_back(
                fmt::format("{}: {} ({}:{})", check.name, verdicts[i].trouble, check.file, check.line));
        }
        rows.push_back(std::move(row));
    }
    return rows;
}

Totals totals_of(const std::vector<Row>& rows, const std::vector<Verdict>& verdicts) {
    Totals totals;
    for (const auto& row : rows) {
        totals.passed += row.state == Row::State::passed ? 1U : 0U;
        totals.failed += row.state == Row::State::failed ? 1U : 0U;
        totals.unseen += row.state == Row::State::unseen ? 1U : 0U;
        totals.not_run += row.state == Row::State::not_run ? 1U : 0U;
    }
    for (const auto& verdict : verdicts) {
        totals.checks += verdict.ran ? 1U : 0U;
        totals.checks_failed += verdict.ran && !verdict.trouble.empty() ? 1U : 0U;
    }
    return totals;
}

std::string as_text(const std::vector<Row>& rows, const Totals& totals, std::chrono::milliseconds took) {
    std::string out;
    for (const auto& row : rows) {
        if (row.state == Row::State::not_run) continue;
        out +=
            fmt::format("{:<8} {:<7} {}\n", row.obligation->id, word_of(row.state), row.obligation->demand);
        if (row.state == Row::State::unseen) out += "                 " + unseen_of(row) + "\n";
        for (const auto& trouble : row.troubles) out += "                 " + trouble + "\n";
    }
    return out + sum_of(totals, took) + "\n";
}

std::string as_markdown(const std::vector<Row>& rows, const Totals& totals, std::chrono::milliseconds took) {
    std::string out =
        "# Obligations of transport security\n\n" + sum_of(totals, took) +
        "\n\n| id | section | what it demands | result | what was seen |\n|---|---|---|---|---|\n";
    for (const auto& row : rows) {
        if (row.state == Row::State::not_run) continue;
        const std::string seen = row.state == Row::State::unseen
                                     ? unseen_of(row)
                                     : fmt::format("{}", fmt::join(row.troubles, "; "));
        out += fmt::format("| {} | {} | {} | {} | {} |\n", row.obligation->id, cell(row.obligation->section),
                           cell(row.obligation->demand), word_of(row.state), cell(seen));
    }
    return out;
}

json::object as_json(const Suite& suite, const std::vector<Row>& rows, const std::vector<Verdict>& verdicts,
                     std::chrono::milliseconds took) {
    json::array obligations;
    for (const auto& row : rows) {
        json::array troubles;
        for (const auto& trouble : row.troubles) troubles.emplace_back(trouble);
        obligations.push_back(json::object{{"id", row.obligation->id},
                                           {"section", row.obligation->section},
                                           {"demand", row.obligation->demand},
                                           {"result", lowered(word_of(row.state))},
                                           {"unseen", row.obligation->unseen},
                                           {"troubles", std::move(troubles)}});
    }
    json::array checks;
    for (std::size_t i = 0; i < suite.checks.size(); ++i) {
        const Check& check = suite.checks[i];
        if (!verdicts[i].ran) continue;
        json::array ids;
        for (const auto& id : check.ids) ids.emplace_back(id);
        checks.push_back(json::object{{"name", check.name},
                                      {"ids", std::move(ids)},
                                      {"file", check.file},
                                      {"line", check.line},
                                      {"passed", verdicts[i].trouble.empty()},
                                      {"trouble", verdicts[i].trouble},
                                      {"milliseconds", verdicts[i].took.count()}});
    }
    const Totals totals = totals_of(rows, verdicts);
    return {{"obligations", std::move(obligations)},
            {"checks", std::move(checks)},
            {"totals",
             {{"passed", totals.passed},
              {"failed", totals.failed},
              {"unseen", totals.unseen},
              {"not_run", totals.not_run},
              {"checks", totals.checks},
              {"checks_failed", totals.checks_failed},
              {"milliseconds", took.count()}}}};
}

}  // namespace sternpost::lab
