// What a shell completes after `sternpost`: the verbs and options that the command itself knows.
#include <algorithm>

#include "cmd/sternpost/command.h"

namespace sternpost::cmd {
namespace {

/// A verb, or a group of them, with what may come next.
struct Node {
    std::string path;  // "queue list"; empty: the command itself
    std::vector<const CLI::App*> verbs;
    std::vector<const CLI::Option*> options;
};

void collect(const CLI::App& app, const std::string& path, std::vector<Node>& out) {
    Node node{path, {}, {}};
    for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
        if (verb->get_group().empty()) continue;
        node.verbs.push_back(verb);
    }
    for (const CLI::Option* option : app.get_options())
        if (!option->get_lnames().empty()) node.options.push_back(option);
    out.push_back(node);
    for (const CLI::App* verb : node.verbs)
        collect(*verb, path.empty() ? verb->get_name() : path + ' ' + verb->get_name(), out);
}

std::vector<Node> nodes_of(const CLI::App& app) {
    std::vector<Node> out;
    collect(app, "", out);
    return out;
}

/// For use between single quotes.
std::string quoted(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == '\'')
            out += "'\\''";
        else if (c == '\n')
            out += ' ';
        else
            out += c;
    }
    return out;
}

// The words of the line that are verbs name the node; options with values come in between.
constexpr const char* bash_head = R"(# bash completion for sternpost(1); made by "sternpost completion bash"
_sternpost() {
    local cur=${COMP_WORDS[COMP_CWORD]} verb='' word i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case "$verb $word" in
)";

constexpr const char* bash_middle = R"(        esac
    done
    case "$verb" in
)";

constexpr const char* bash_tail = R"(    esac
}
complete -F _sternpost sternpost
)";

// Which node each word leads to, for the loop of the head.
std::string cases_of(const std::vector<Node>& nodes) {
    std::string out;
    for (const Node& node : nodes)
        if (!node.path.empty()) {
            const auto last = node.path.rfind(' ');
            const std::string before = last == std::string::npos ? "" : node.path.substr(0, last);
            const std::string word = last == std::string::npos ? node.path : node.path.substr(last + 1);
            out += "            '" + before + ' ' + word + "') verb='" + node.path + "' ;;\n";
        }
    return out;
}

std::string bash(const CLI::App& app) {
    std::string out = bash_head;
    const auto nodes = nodes_of(app);
    out += cases_of(nodes);
    out += bash_middle;
    for (const Node& node : nodes) {
        std::string words;
        for (const CLI::App* verb : node.verbs) words += verb->get_name() + ' ';
        for (const CLI::Option* option : node.options)
            for (const auto& name : option->get_lnames()) words += "--" + name + ' ';
        words.pop_back();
        out += "        '" + node.path + "') mapfile -t COMPREPLY < <(compgen -W '" + words +
               "' -- \"$cur\") ;;\n";
    }
    return out + bash_tail;
}

constexpr const char* zsh_head = R"(#compdef sternpost
# zsh completion for sternpost(1); made by "sternpost completion zsh"
_sternpost() {
    local verb='' word
    local -a offers
    for word in "${(@)words[2,CURRENT-1]}"; do
        case "$verb $word" in
)";

constexpr const char* zsh_tail = R"(    esac
    _describe -V sternpost offers
}
_sternpost "$@"
)";

std::string zsh_offer(const std::string& word, const std::string& help) {
    std::string out = "            '";
    for (const char c : quoted(word + ':' + help.substr(0, help.find(';')))) out += c;
    return out + "'\n";
}

std::string zsh(const CLI::App& app) {
    std::string out = zsh_head;
    const auto nodes = nodes_of(app);
    out += cases_of(nodes);
    out += bash_middle;
    for (const Node& node : nodes) {
        out += "        '" + node.path + "') offers=(\n";
        for (const CLI::App* verb : node.verbs) out += zsh_offer(verb->get_name(), verb->get_description());
        for (const CLI::Option* option : node.options)
            for (const auto& name : option->get_lnames())
                out += zsh_offer("--" + name, option->get_description());
        out += "            ) ;;\n";
    }
    return out + zsh_tail;
}

}  // namespace

void add_completion(Command& command) {
    auto* verb = command.app().add_subcommand("completion", "Prints a completion script for a shell");
    auto shell = std::make_shared<std::string>();
    verb->add_option("shell", *shell, "bash or zsh")->required()->check(CLI::IsMember({"bash", "zsh"}));
    verb->callback([&command, shell] {
        command.choose([&command, shell] {
            std::cout << (*shell == "bash" ? bash(command.app()) : zsh(command.app()));
            return 0;
        });
    });
}

}  // namespace sternpost::cmd
