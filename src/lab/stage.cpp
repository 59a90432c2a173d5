#include "lab/stage.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <future>

#include "control/client.h"
#include "lab/dialogue.h"
#include "util/text.h"

namespace sternpost::lab {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto patience = seconds(15);       // until what is expected shows
constexpr auto time_to_start = seconds(20);  // for the daemon, and for it to end
constexpr std::size_t max_log = 64UL << 20U;
constexpr std::uint16_t listener_port = 2525;

// What a check's daemon has that the check does not say: no one is asked about the real internet, and a
// session ends with its message, so that the next one is judged on its own.
constexpr std::string_view usual_config = R"(
[dns]
probe_secure = ""
probe_bogus = ""
[delivery]
idle_time = "0s"
)";

std::string field(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    if (value == nullptr || value->is_null()) return "";
    return value->is_string() ? std::string(value->as_string()) : json::serialize(*value);
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

// `~part` or the whole.
bool is_like(const std::string& seen, const std::string& wanted) {
    return wanted.starts_with('~') ? contains(seen, wanted.substr(1)) : seen == wanted;
}

// `count` exactly, else `at_least`, else once or more.
bool often_enough(const Step& step, std::size_t found) {
    return step.count ? found == *step.count : found >= step.at_least.value_or(1);
}
std::string how_often(const Step& step) {
    return step.count ? std::to_string(*step.count) : fmt::format("at least {}", step.at_least.value_or(1));
}

std::string message_of(const Step& step) {
    std::string text = step.header;
    if (!contains(lowered(text), "from:")) text += "From: Alice <alice@sender.example>\n";
    text += "To: bob\nSubject: a check\n";
    if (step.eight_bit)
        text +=
            "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n";
    return text + "\nOCTETS-OF-THE-BODY" + (step.eight_bit ? " gr\xc3\xbc\xc3\x9f" : "") + "\n";
}

// Whether TLS was as `wanted`: `yes`, `no`, or a version.
bool tls_is(const std::string& seen, const std::string& wanted) {
    if (wanted.empty()) return true;
    if (wanted == "yes" || wanted == "no") return seen.empty() == (wanted == "no");
    return seen == wanted;
}

}  // namespace

std::vector<std::map<std::string, std::string>> events_of(std::string_view log, std::string_view event) {
    std::vector<std::map<std::string, std::string>> out;
    for (std::string_view line : split(log, '\n')) {
        const std::string whole(line);
        if (line.starts_with('<') && line.size() > 3) line.remove_prefix(3);  // systemd's level
        if (const auto blank = line.find(' ');
            blank != std::string_view::npos && line.substr(0, blank).ends_with('Z'))
            line.remove_prefix(blank + 1);
        const auto end = line.find(' ');
        if (line.substr(0, end) != event) continue;
        std::map<std::string, std::string> tags{{"line", whole}};
        std::size_t at = end == std::string_view::npos ? line.size() : end + 1;
        while (at < line.size()) {
            const auto equals = line.find('=', at);
            if (equals == std::string_view::npos) break;
            std::string& value = tags[std::string(line.substr(at, equals - at))];
            at = equals + 1;
            const bool quoted = at < line.size() && line[at] == '"';
            if (quoted) ++at;
            for (; at < line.size() && line[at] != (quoted ? '"' : ' '); ++at) {
                if (quoted && line[at] == '\\' && at + 1 < line.size()) ++at;
                value += line[at];
            }
            at += quoted ? 2 : 1;
        }
        out.push_back(std::move(tags));
    }
    return out;
}

Stage::Stage(const Check& check, const Programs& programs, std::string extra, fs::path folder)
    : check_(check), programs_(programs), extra_(std::move(extra)), folder_(std::move(folder)), context_(1) {}

Stage::~Stage() {
    daemon_.reset();
    if (!thread_.joinable()) return;
    asio::post(context_, [this] {
        asio::co_spawn(context_, lab_->stop(), [this](const std::exception_ptr&) { context_.stop(); });
    });
    thread_.join();
}

std::string Stage::start(Ports ports) {
    ports_ = ports;
    Scenario scenario = check_.scenario;
    auto config = merged_config({usual_config, scenario.sternpost, extra_});
    if (!config) return "the configuration is no TOML: " + config.error().text;
    scenario.sternpost = std::move(*config);
    auto authority = Authority::make();
    if (!authority) return authority.error().text;
    lab_log_ = file_log(STDERR_FILENO, Level::error, false);
    lab_ = std::make_unique<Lab>(context_, std::move(scenario), std::move(*authority), folder_, *lab_log_,
                                 [] {});
    if (const auto started = lab_->start(ports); !started) return "no lab: " + started.error().text;
    thread_ = std::thread([this] { context_.run(); });
    const auto at = [&](const char* name) { return (folder_ / name).string(); };
    environment_ =
        clean_environment({"STERNPOST_CONFIG=" + at("sternpost.toml"),
                           "STERNPOST_SOCKET=" + at("submit.sock"), "STERNPOST_MAILDROP=" + at("maildrop")});
    const bool moves = std::any_of(check_.steps.begin(), check_.steps.end(),
                                   [](const Step& step) { return step.kind == StepKind::pass; });
    if (moves) {
        if (programs_.faketime.empty())
            return "days cannot pass here: there is no libfaketime (Debian's package faketime)";
        for (const std::string& text :
             {"LD_PRELOAD=" + programs_.faketime, "FAKETIME_TIMESTAMP_FILE=" + at("time"),
              std::string("FAKETIME_NO_CACHE=1"), std::string("FAKETIME_DONT_FAKE_MONOTONIC=1"),
              std::string("NO_FAKE_STAT=1")})
            environment_.push_back(text);
        if (const auto written = util::write_file(at("time"), "+0"); !written) return written.error().text;
    }
    return start_daemon();
}

std::string Stage::start_daemon() {
    log_start_ = log().size();
    daemon_ = std::make_unique<Running>();
    const auto started = daemon_->start({programs_.daemon, "--config", (folder_ / "sternpost.toml").string()},
                                        environment_, folder_ / "daemon.log");
    if (!started) return "no daemon: " + started.error().text;
    bool ended = false;
    const auto trouble = until_there(
        [&]() -> std::string {
            if (!events_of(std::string_view(log()).substr(log_start_), "ready").empty()) return "";
            ended = !daemon_->alive();
            return ended ? "" : "it does not say that it is ready";
        },
        time_to_start);
    if (ended || !trouble.empty())
        return fmt::format("the daemon does not start{}: {}", ended ? "" : " in time",
                           printable(std::string_view(log()).substr(log_start_), 500));
    return "";
}

std::string Stage::log() const {
    const auto text = util::read_file(folder_ / "daemon.log", max_log);
    return text ? *text : "";
}

std::string Stage::until_there(const Look& look, milliseconds limit) const {
    hopeless_ = false;
    const auto deadline = std::chrono::steady_clock::now() + limit;
    auto pause = milliseconds(10);
    for (;;) {
        std::string trouble = look();
        if (trouble.empty() || hopeless_ || std::chrono::steady_clock::now() > deadline) return trouble;
        std::this_thread::sleep_for(pause);
        pause = std::min(pause * 2, milliseconds(80));
    }
}

util::Result<Ended> Stage::run(const std::string& program, std::vector<std::string> words,
                               const std::string& input) const {
    words.insert(words.begin(), program);
    return run_program(words, environment_, input, patience);
}

json::array Stage::show(const char* what, const std::string& id) const {
    const auto answer = control::ask((folder_ / socket_name).string(),
                                     {{"verb", "show"}, {"what", what}, {"id", id}}, patience);
    return answer && answer->data.is_array() ? answer->data.as_array() : json::array();
}

json::value Stage::ask(std::vector<std::string> words) const {
    words.emplace_back("--json");
    const auto done = run(programs_.command, std::move(words));
    boost::system::error_code ec;
    return done ? json::parse(done->said, ec) : json::value();
}

// ---- what is done

std::string Stage::play(const Step& step) {
    const auto each = [&](const auto& look) -> std::string {
        for (const auto& one : step.of)
            if (std::string trouble = until_there([&] { return look(one); }, patience); !trouble.empty())
                return trouble;
        return "";
    };
    const auto now = [&](const auto& look) -> std::string {
        for (const auto& one : step.of)
            if (std::string trouble = look(one); !trouble.empty()) return trouble;
        return "";
    };
    switch (step.kind) {
        case StepKind::send:
            return send(step);
        case StepKind::set:
            return set(step);
        case StepKind::flush:
            return flush(step);
        case StepKind::restart:
            return restart(step.of.front() == "kill" ? SIGKILL : SIGTERM);
        case StepKind::pass:
            return pass(step);
        case StepKind::wait:
            std::this_thread::sleep_for(*span_of(step.of.front()));
            return "";
        case StepKind::run:
            return until_there([&] { return verb(step); }, step.says.empty() ? seconds(0) : patience);
        case StepKind::dialogue:
            return play_dialogue(step.of, listener_port);
        case StepKind::arrived:
            return each([&](const auto& one) { return arrived(step, one); });
        case StepKind::deferred:
            return each([&](const auto& one) { return deferred(step, one); });
        case StepKind::told_nothing:
            return now([&](const auto& one) { return told_nothing(one); });
        case StepKind::not_contacted: {
            Step none = step;
            none.count = 0;
            return now([&](const auto& one) { return sessions(none, one); });
        }
        case StepKind::sessions:
            return each([&](const auto& one) { return sessions(step, one); });
        case StepKind::asked:
            return each([&](const auto& one) { return asked(step, one); });
        case StepKind::requested:
            return each([&](const auto& one) { return requested(step, one); });
        case StepKind::logged:
            return each([&](const auto& one) { return logged(step, one); });
    }
    return "";
}

std::string Stage::send(const Step& step) const {
    std::vector<std::string> words{"-f", step.from};
    if (step.requiretls.value_or(false)) words.insert(words.end(), {"-O", "requiretls=yes"});
    if (step.smtputf8) words.insert(words.end(), {"-O", "smtputf8=yes"});
    if (!step.ret.empty()) words.insert(words.end(), {"-R", step.ret});
    words.emplace_back("--");
    words.insert(words.end(), step.of.begin(), step.of.end());
    const auto done = run(programs_.sendmail, std::move(words), message_of(step));
    if (!done) return "sendmail: " + done.error().text;
    return done->code == 0 ? ""
                           : fmt::format("expected sendmail to take a message; it ends with {} and says: {}",
                                         done->code, printable(done->said, 500));
}

std::string Stage::set(const Step& step) const {
    const auto answer =
        control::ask((folder_ / socket_name).string(),
                     {{"verb", "set"}, {"path", step.of.front()}, {"value", step.to}}, patience);
    if (answer && answer->code == control::ExitCode::done) return "";
    return "set " + step.of.front() + ": " + (answer ? answer->text : "the lab does not answer");
}

std::string Stage::flush(const Step& step) const {
    std::vector<std::string> words{"queue", "retry"};
    for (const auto& domain : step.of)
        if (domain == "all")
            words.emplace_back("--all");
        else
            words.insert(words.end(), {"--domain", domain});
    return until_there(
        [&]() -> std::string {  // an attempt that is under way is waited for
            const auto done = run(programs_.command, words);
            if (!done) return done.error().text;
            return done->code == 0 ? "" : "sternpost queue retry: " + printable(done->said, 500);
        },
        patience);
}

std::string Stage::restart(int signal) {
    const auto ended = daemon_->end(signal, time_to_start);
    if (!ended) return "expected the daemon to end; " + ended.error().text;
    if (signal == SIGTERM && *ended != 0)
        return fmt::format("expected the daemon to end with 0 after SIGTERM; it ends with {}", *ended);
    return start_daemon();
}

std::string Stage::pass(const Step& step) {
    passed_ += *span_of(step.of.front());
    const auto written = util::write_file(folder_ / "time", fmt::format("+{}", passed_.count()));
    return written ? "" : written.error().text;
}

std::string Stage::verb(const Step& step) const {
    const auto done = run(programs_.command, step.of);
    if (!done) return done.error().text;
    const std::string words = fmt::format("sternpost {}", fmt::join(step.of, " "));
    const std::string seen =
        fmt::format("it ends with {} and says: {}", done->code, printable(done->said, 600));
    if (static_cast<std::uint32_t>(done->code) != step.exit)
        return fmt::format("expected {} to end with {}; {}", words, step.exit, seen);
    if (!contains(done->said, step.says))
        return fmt::format("expected {} to say \"{}\"; {}", words, step.says, seen);
    if (!step.says_not.empty() && contains(done->said, step.says_not))
        return fmt::format("expected {} not to say \"{}\"; {}", words, step.says_not, seen);
    return "";
}

// ---- what is expected

std::string Stage::wrong_with_mail(const Step& step, const json::object& mail) const {
    const std::string tls = field(mail, "tls");
    const std::string where = " at " + field(mail, "mx");
    if (!tls_is(tls, step.tls))
        return fmt::format("TLS \"{}\"{}; it is {}", step.tls, where, tls.empty() ? "in clear" : tls);
    if (!step.sni.empty() && field(mail, "sni") != step.sni)
        return fmt::format("SNI {}{}; it is \"{}\"", step.sni, where, field(mail, "sni"));
    const std::string parameters = " " + field(mail, "parameters") + " ";
    if (step.requiretls && contains(parameters, " REQUIRETLS ") != *step.requiretls)
        return fmt::format("{}REQUIRETLS in MAIL{}; its parameters are \"{}\"", *step.requiretls ? "" : "no ",
                           where, parameters);
    if (step.says.empty() && step.says_not.empty()) return "";
    const json::array whole = show("mail", field(mail, "id"));
    const std::string text = whole.empty() ? "" : field(whole.front().as_object(), "text");
    if (!contains(text, step.says))
        return fmt::format("\"{}\" in the message{}; it is: {}", step.says, where, printable(text, 1500));
    if (!step.says_not.empty() && contains(text, step.says_not))
        return fmt::format("no \"{}\" in the message{}; there is", step.says_not, where);
    return "";
}

std::string Stage::arrived(const Step& step, const std::string& recipient) const {
    std::size_t found = 0;
    std::string elsewhere;
    const json::array all = show("mail");
    for (const auto& item : all) {
        const json::object& mail = item.as_object();
        const auto& recipients = mail.at("recipients").as_array();
        if (std::none_of(recipients.begin(), recipients.end(),
                         [&](const auto& r) { return std::string_view(r.as_string()) == recipient; }))
            continue;
        if (!step.at.empty() && field(mail, "mx") != step.at) {
            elsewhere = "; one is at " + field(mail, "mx");
            continue;
        }
        ++found;
        if (const std::string wrong = wrong_with_mail(step, mail); !wrong.empty())
            return fmt::format("expected mail for {} with {}", recipient, wrong);
    }
    const std::size_t wanted = step.count.value_or(1);
    if (found == wanted) return "";
    hopeless_ = found > wanted;
    std::string waits;
    if (found < wanted)
        for (const auto& event : events_of(log(), "attempt"))
            if (contains(event.at("line"), recipient))
                waits = "; the log says: " + printable(event.at("line"), 600);
    return fmt::format("expected {} message(s) for {}{}; seen {}{}{}", wanted, recipient,
                       step.at.empty() ? "" : " at " + step.at, found, elsewhere, waits);
}

std::string Stage::deferred(const Step& step, const std::string& recipient) const {
    const json::value answer = ask({"queue", "list", "--limit", "10000"});
    const auto* messages = answer.is_object() ? answer.as_object().if_contains("messages") : nullptr;
    std::string seen = "it is not in the queue";
    if (messages != nullptr)
        for (const auto& message : messages->as_array())
            for (const auto& item : message.as_object().at("recipients").as_array()) {
                const json::object& entry = item.as_object();
                if (field(entry, "path") != recipient) continue;
                const std::string reason = field(entry, "reason");
                seen = fmt::format("it is {}{}: {} {}", field(entry, "state"),
                                   field(entry, "active") == "true" ? " (an attempt is under way)" : "",
                                   field(entry, "status"), printable(reason, 500));
                if (field(entry, "state") == "queued" && field(entry, "active") == "false" &&
                    !reason.empty() && contains(reason, step.says) &&
                    (step.status.empty() || field(entry, "status") == step.status))
                    return "";
            }
    for (const auto& event : events_of(log(), "attempt")) {
        const auto to = event.find("to");
        const auto status = event.find("status");
        if (to == event.end() || to->second != "<" + recipient + ">" || status == event.end() ||
            status->second == "deferred")
            continue;
        hopeless_ = true;
        seen = "the log says: " + printable(event.at("line"), 600);
    }
    return fmt::format("expected mail for {} to wait{}{}; {}", recipient,
                       step.status.empty() ? "" : " with " + step.status,
                       step.says.empty() ? "" : " for \"" + step.says + "\"", seen);
}

std::string Stage::told_nothing(const std::string& host) const {
    const json::array all = show("sessions");
    for (const auto& item : all) {
        const json::object& session = item.as_object();
        if (field(session, "mx") != host) continue;
        for (const auto& line : session.at("lines").as_array()) {
            const std::string text(line.as_string());
            if (text.starts_with("C: MAIL") || contains(text, "octets of message"))
                return fmt::format("expected {} to hear nothing of the message; it hears \"{}\"", host, text);
        }
    }
    return "";
}

std::string Stage::sessions(const Step& step, const std::string& host) const {
    std::size_t found = 0;
    bool said = step.says.empty();
    std::string lines_seen;
    const json::array all = show("sessions");
    for (const auto& item : all) {
        const json::object& session = item.as_object();
        if (field(session, "mx") != host) continue;
        ++found;
        if (!tls_is(field(session, "tls"), step.tls))
            return fmt::format("expected TLS \"{}\" at {}; it is \"{}\"", step.tls, host,
                               field(session, "tls"));
        if (!step.sni.empty() && field(session, "sni") != step.sni)
            return fmt::format("expected SNI {} at {}; it is \"{}\"", step.sni, host, field(session, "sni"));
        for (const auto& line : session.at("lines").as_array()) {
            const std::string text(line.as_string());
            lines_seen += text + " | ";
            said = said || contains(text, step.says);
            if (!step.says_not.empty() && contains(text, step.says_not))
                return fmt::format("expected no \"{}\" at {}; there is \"{}\"", step.says_not, host, text);
        }
    }
    if (!often_enough(step, found))
        return fmt::format("expected {} session(s) at {}; seen {}", how_often(step), host, found);
    if (said) return "";
    return fmt::format("expected \"{}\" at {}; seen: {}", step.says, host, printable(lines_seen, 1000));
}

std::string Stage::asked(const Step& step, const std::string& name) const {
    std::size_t found = 0;
    std::string wanted = name;  // checks speak of port 25, wherever MX hosts listen
    if (name.starts_with("_25._tcp.")) wanted = fmt::format("_{}", ports_.smtp) + name.substr(3);
    const json::array all = show("dns");
    for (const auto& item : all) {
        const json::object& question = item.as_object();
        if ((name == "*" || field(question, "name") == wanted) &&
            (step.type.empty() || field(question, "type") == step.type))
            ++found;
    }
    if (often_enough(step, found)) return "";
    return fmt::format("expected {} question(s) for {} {}; seen {}", how_often(step), name, step.type, found);
}

std::string Stage::requested(const Step& step, const std::string& host) const {
    std::size_t found = 0;
    std::string heads;
    const json::array all = show("https");
    for (const auto& item : all) {
        const json::object& request = item.as_object();
        if (field(request, "host") != host) continue;
        ++found;
        const std::string head = field(request, "head");
        heads += head + " | ";
        if (!step.sni.empty() && field(request, "sni") != step.sni)
            return fmt::format("expected SNI {} at {}; it is \"{}\"", step.sni, host, field(request, "sni"));
        if (!step.says_not.empty() && contains(lowered(head), lowered(step.says_not)))
            return fmt::format("expected no \"{}\" in a request to {}; it is: {}", step.says_not, host, head);
    }
    if (!often_enough(step, found))
        return fmt::format("expected {} request(s) to {}; seen {}", how_often(step), host, found);
    if (contains(heads, step.says)) return "";
    return fmt::format("expected \"{}\" in a request to {}; seen: {}", step.says, host,
                       printable(heads, 1000));
}

std::string Stage::logged(const Step& step, const std::string& event) const {
    std::size_t found = 0;
    std::string last;
    for (const auto& tags : events_of(log(), event)) {
        const bool fits = std::all_of(step.with.begin(), step.with.end(), [&](const auto& wanted) {
            const auto tag = tags.find(wanted.first);
            return tag != tags.end() && is_like(tag->second, wanted.second);
        });
        const auto first = step.with.begin();
        const bool near = first != step.with.end() && tags.contains(first->first) &&
                          is_like(tags.at(first->first), first->second);
        if (fits) ++found;
        if (near || last.empty()) last = tags.at("line");
    }
    if (often_enough(step, found)) return "";
    std::string wanted;
    for (const auto& [tag, value] : step.with) wanted += " " + tag + "=" + value;
    return fmt::format("expected {} line(s) \"{}{}\" in the log; seen {}; the nearest is: {}",
                       how_often(step), event, wanted, found, printable(last, 800));
}

}  // namespace sternpost::lab
