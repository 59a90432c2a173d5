#include "lab/check.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <set>
#include <sstream>
#include <variant>

#include "lab/dialogue.h"
#include "lab/toml_text.h"
#include "util/file.h"
#include "util/text.h"

namespace sternpost::lab {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_file = 4UL << 20U;

// What stands in every check's world that does not say otherwise: a home for senders, answers that no one may
// keep, and no questions about the real internet.
constexpr std::string_view usual_world = R"(
[lab]
ttl = 0
[domain."sender.example"]
mx = ["mx.sender.example"]
)";

struct Form {
    StepKind kind;
    std::string_view word;
    std::string_view options;  // separated by blanks
};
constexpr std::array<Form, 16> forms{{
    {StepKind::send, "send", "from header requiretls smtputf8 eight_bit ret"},
    {StepKind::set, "set", "to"},
    {StepKind::flush, "flush", ""},
    {StepKind::restart, "restart", ""},
    {StepKind::pass, "pass", ""},
    {StepKind::wait, "wait", ""},
    {StepKind::run, "run", "exit says says_not"},
    {StepKind::dialogue, "dialogue", ""},
    {StepKind::arrived, "arrived", "at tls requiretls count sni says says_not"},
    {StepKind::deferred, "deferred", "status says"},
    {StepKind::told_nothing, "told_nothing", ""},
    {StepKind::not_contacted, "not_contacted", ""},
    {StepKind::sessions, "sessions", "count says says_not sni tls"},
    {StepKind::asked, "asked", "type count at_least"},
    {StepKind::requested, "requested", "count at_least says says_not sni"},
    {StepKind::logged, "logged", "with count"},
}};

using Member = std::variant<std::string Step::*, std::optional<bool> Step::*, bool Step::*,
                            std::optional<std::uint32_t> Step::*, std::uint32_t Step::*,
                            std::map<std::string, std::string> Step::*>;
struct Option {
    std::string_view name;
    Member member;
};
const std::array<Option, 18> options{{
    {"from", &Step::from},
    {"header", &Step::header},
    {"to", &Step::to},
    {"at", &Step::at},
    {"status", &Step::status},
    {"says", &Step::says},
    {"says_not", &Step::says_not},
    {"sni", &Step::sni},
    {"type", &Step::type},
    {"ret", &Step::ret},
    {"tls", &Step::tls},
    {"requiretls", &Step::requiretls},
    {"smtputf8", &Step::smtputf8},
    {"eight_bit", &Step::eight_bit},
    {"count", &Step::count},
    {"at_least", &Step::at_least},
    {"exit", &Step::exit},
    {"with", &Step::with},
}};

// ---- values: empty where `node` is one, else what would be

std::string take(const toml::node& node, std::string& into) {
    const auto* text = node.as_string();
    if (text != nullptr) into = text->get();
    return text != nullptr ? "" : "a text in quotes";
}
std::string take(const toml::node& node, bool& into) {
    const auto* value = node.as_boolean();
    if (value != nullptr) into = value->get();
    return value != nullptr ? "" : "true or false";
}
std::string take(const toml::node& node, std::uint32_t& into) {
    const auto* value = node.as_integer();
    const bool good = value != nullptr && value->get() >= 0 && value->get() <= INT32_MAX;
    if (good) into = static_cast<std::uint32_t>(value->get());
    return good ? "" : "a whole number, 0 or more";
}
template <class T>
std::string take(const toml::node& node, std::optional<T>& into) {
    T value{};
    std::string wrong = take(node, value);
    if (wrong.empty()) into = value;
    return wrong;
}
std::string take(const toml::node& node, std::map<std::string, std::string>& into) {
    constexpr const char* allowed = "a table of tags, each with a text";
    const auto* table = node.as_table();
    if (table == nullptr) return allowed;
    for (const auto& [key, value] : *table)
        if (!take(value, into[std::string(key.str())]).empty()) return allowed;
    return "";
}
std::string take(const toml::node& node, std::vector<std::string>& into) {
    std::string one;
    if (take(node, one).empty()) {
        into.push_back(std::move(one));
        return "";
    }
    const auto* list = node.as_array();
    bool good = list != nullptr && !list->empty();
    if (good)
        for (const auto& item : *list) good = good && take(item, into.emplace_back()).empty();
    return good ? "" : "a text in quotes, or a list of them";
}

bool says_ttl(const std::string& world) {
    try {
        const toml::table parsed = toml::parse(world);
        const auto* general = parsed.get_as<toml::table>("lab");
        return general != nullptr && general->contains("ttl");
    } catch (const toml::parse_error&) {  // told elsewhere
        return true;
    }
}

// ---- one file

class ChecksReader {
  public:
    ChecksReader(Suite& suite, std::string file) : suite_(suite), file_(std::move(file)) {}

    void read_all(const toml::table& root) {
        for (const auto& [key, node] : root) {
            const auto* list = node.as_array();
            if (key.str() != "check" || list == nullptr) {
                error(key.source().begin.line, "only [[check]] may stand here, not " + shown_key(key));
                continue;
            }
            for (const auto& item : *list)
                if (const auto* table = item.as_table()) read_check(*table);
        }
    }

  private:
    static std::string shown_key(const toml::key& key) { return printable(key.str(), 80); }

    void read_check(const toml::table& table) {
        Check check;
        check.file = file_;
        check.line = table.source().begin.line;
        std::string world;
        std::size_t world_line = check.line;
        for (const auto& [key, node] : table) {
            const std::size_t line = key.source().begin.line;
            std::string wrong;
            if (key.str() == "ids") {
                wrong = take(node, check.ids);
            } else if (key.str() == "name") {
                wrong = take(node, check.name);
            } else if (key.str() == "world") {
                world_line = line;
                wrong = take(node, world);
            } else if (key.str() == "steps") {
                wrong = read_steps(node, check.steps);
            } else {
                error(line, "unknown key \"" + shown_key(key) + "\"; there are ids, name, world, steps");
            }
            if (!wrong.empty()) error(line, fmt::format("{} = {}: {}", shown_key(key), shown(node), wrong));
        }
        if (check.ids.empty() || check.name.empty() || check.steps.empty())
            error(check.line, "a check has ids, a name and steps");
        read_world(world, world_line, check);
        suite_.checks.push_back(std::move(check));
    }

    // The world's own lines are those of this file: its text begins on the line behind the quotes.
    void read_world(const std::string& text, std::size_t line, Check& check) {
        check.scenario = read_scenario(std::string(line, '\n') + text, file_);
        const Scenario usual = read_scenario(usual_world, file_);
        World& world = check.scenario.world;
        for (const auto& [name, domain] : usual.world.domains) world.domains.try_emplace(name, domain);
        if (!says_ttl(text)) world.general.ttl = usual.world.general.ttl;
        world.complete();
        for (auto& wrong : check.scenario.errors) suite_.errors.push_back(std::move(wrong));
        check.scenario.errors.clear();
    }

    std::string read_steps(const toml::node& node, std::vector<Step>& into) {
        const auto* list = node.as_array();
        if (list == nullptr) return "a list of steps, as in { send = \"bob@b.example\" }";
        for (const auto& item : *list) {
            const auto* table = item.as_table();
            if (table == nullptr) return "a list of steps, as in { send = \"bob@b.example\" }";
            read_step(*table, into);
        }
        return "";
    }

    void read_step(const toml::table& table, std::vector<Step>& into) {
        const std::size_t line = table.source().begin.line;
        const auto form =
            std::find_if(forms.begin(), forms.end(), [&](const Form& f) { return table.contains(f.word); });
        if (form == forms.end()) {
            std::vector<std::string_view> words;
            for (const auto& known : forms) words.push_back(known.word);
            return error(line, fmt::format("this is no step: one of {}", fmt::join(words, ", ")));
        }
        Step step;
        step.kind = form->kind;
        step.line = line;
        for (const auto& [key, node] : table) {
            std::string wrong;
            if (key.str() == form->word)
                wrong = take_subject(node, step);
            else
                wrong = take_option(*form, key.str(), node, step);
            if (!wrong.empty()) error(line, fmt::format("{} = {}: {}", shown_key(key), shown(node), wrong));
        }
        if (std::string wrong = trouble(step); !wrong.empty()) error(line, wrong);
        into.push_back(std::move(step));
    }

    static std::string take_subject(const toml::node& node, Step& step) { return take(node, step.of); }

    static std::string take_option(const Form& form, std::string_view name, const toml::node& node,
                                   Step& step) {
        const auto allowed = split(form.options, ' ');
        const auto option =
            std::find_if(options.begin(), options.end(), [&](const Option& o) { return o.name == name; });
        if (std::find(allowed.begin(), allowed.end(), name) == allowed.end() || option == options.end())
            return form.options.empty() ? fmt::format("{} has no options", form.word)
                                        : fmt::format("{} has {}", form.word, fmt::join(allowed, ", "));
        if (step.kind == StepKind::set) {  // any value
            std::ostringstream out;
            node.visit([&](const auto& n) { out << toml::toml_formatter(n, toml::format_flags::none); });
            step.to = out.str();
            return "";
        }
        return std::visit([&](auto member) { return take(node, step.*member); }, option->member);
    }

    static std::string trouble(const Step& step) {
        const std::string first = step.of.empty() ? "" : step.of.front();
        if (step.kind == StepKind::restart && first != "term" && first != "kill")
            return "restart is by \"term\" or \"kill\"";
        if ((step.kind == StepKind::pass || step.kind == StepKind::wait) && !span_of(first))
            return "a span is as in \"90s\", \"5m\", \"12h\", \"2d\"";
        if (step.kind == StepKind::dialogue)
            for (const auto& line : step.of)
                if (!is_dialogue_line(line))
                    return "a line of a dialogue is \"C: …\", \"S: …\", \"TLS\", \"no TLS\" or \"closed\", "
                           "not \"" +
                           printable(line, 80) + "\"";
        if (step.kind == StepKind::set && step.to.empty()) return "set needs to";
        return "";
    }

    void error(std::size_t line, const std::string& text) {
        suite_.errors.push_back(fmt::format("{}:{}: {}", file_, line, text));
    }

    Suite& suite_;
    std::string file_;
};

// ---- the folder

// Lines of fields, without the first line and empty ones: calls `take(fields, line number)`.
template <class Take>
void read_fields(const fs::path& path, std::size_t fields, Suite& suite, const Take& take) {
    const auto text = util::read_file(path, max_file);
    if (!text) {
        suite.errors.push_back(text.error().text);
        return;
    }
    std::size_t number = 0;
    for (const auto line : split(*text, '\n')) {
        if (++number == 1 || line.empty()) continue;
        const auto parts = split(line, '\t');
        if (parts.size() < fields)
            suite.errors.push_back(
                fmt::format("{}:{}: {} fields, separated by tabs", path.string(), number, fields));
        else
            take(parts, number);
    }
}

void read_obligations(const fs::path& folder, Suite& suite) {
    fs::path path = folder / "obligations.tsv";
    if (!fs::exists(path)) path = folder / ".." / ".." / ".." / "doc" / "obligations.tsv";  // a source tree
    read_fields(path, 3, suite, [&](const auto& parts, std::size_t) {
        suite.obligations.push_back(
            {std::string(parts[0]), std::string(parts[1]), std::string(parts[2]), ""});
    });
    const fs::path unseen = folder / "unseen.tsv";
    read_fields(unseen, 2, suite, [&](const auto& parts, std::size_t number) {
        const auto found = std::find_if(suite.obligations.begin(), suite.obligations.end(),
                                        [&](const Obligation& o) { return o.id == parts[0]; });
        if (found == suite.obligations.end())
            suite.errors.push_back(fmt::format("{}:{}: there is no obligation {}", unseen.string(), number,
                                               printable(parts[0], 80)));
        else
            found->unseen = parts[1];
    });
}

void compare(Suite& suite) {
    std::set<std::string> known;
    std::set<std::string> shown_ids;
    for (const auto& obligation : suite.obligations) known.insert(obligation.id);
    for (const auto& check : suite.checks)
        for (const auto& id : check.ids) {
            shown_ids.insert(id);
            if (!known.contains(id))
                suite.errors.push_back(fmt::format("{}:{}: there is no obligation {}", check.file, check.line,
                                                   printable(id, 80)));
        }
    for (const auto& obligation : suite.obligations)
        if (shown_ids.contains(obligation.id) != obligation.unseen.empty())
            suite.errors.push_back(fmt::format("{}: {}", obligation.id,
                                               obligation.unseen.empty()
                                                   ? "no check shows it, and unseen.tsv does not say why"
                                                   : "a check shows it, and unseen.tsv says that none does"));
}

}  // namespace

std::optional<std::chrono::seconds> span_of(std::string_view text) {
    if (text.size() < 2) return std::nullopt;
    const auto number = decimal(text.substr(0, text.size() - 1));
    constexpr std::string_view units = "smhd";
    constexpr std::array<std::int64_t, 4> seconds{1, 60, 3600, 86400};
    const auto unit = units.find(text.back());
    if (!number || *number > 100000 || unit == std::string_view::npos) return std::nullopt;
    return std::chrono::seconds(static_cast<std::int64_t>(*number) * seconds[unit]);
}

void read_checks(std::string_view text, const std::string& name, Suite& suite) {
    try {
        const toml::table parsed = toml::parse(text);
        ChecksReader(suite, name).read_all(parsed);
    } catch (const toml::parse_error& e) {
        suite.errors.push_back(
            fmt::format("{}:{}: not TOML: {}", name, e.source().begin.line, e.description()));
    }
}

Suite read_suite(const fs::path& folder) {
    Suite suite;
    std::vector<fs::path> files;
    std::error_code ec;
    for (const auto& entry : fs::directory_iterator(folder, ec))
        if (entry.path().extension() == ".toml") files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    if (files.empty()) suite.errors.push_back(folder.string() + ": there are no checks (*.toml)");
    for (const auto& file : files) {
        const auto text = util::read_file(file, max_file);
        if (text)
            read_checks(*text, file.string(), suite);
        else
            suite.errors.push_back(text.error().text);
    }
    read_obligations(folder, suite);
    if (suite.errors.empty()) compare(suite);
    return suite;
}

}  // namespace sternpost::lab
