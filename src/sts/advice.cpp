#include "sts/advice.h"

#include <algorithm>
#include <array>
#include <map>

#include "util/text.h"

namespace sternpost::sts {
namespace {

constexpr auto day = std::chrono::hours(24);
constexpr auto week = day * 7;
constexpr auto certificate_margin = day * 14;
constexpr std::size_t read_by_all = 10'240;  // octets of a policy: some senders stop there

class Findings {
  public:
    void error(std::string text) { add(Severity::error, std::move(text)); }
    void warning(std::string text) { add(Severity::warning, std::move(text)); }
    void hint(std::string text) { add(Severity::hint, std::move(text)); }
    std::vector<Finding> take() {
        std::stable_sort(found_.begin(), found_.end(),
                         [](const Finding& a, const Finding& b) { return a.severity < b.severity; });
        return std::move(found_);
    }

  private:
    void add(Severity severity, std::string text) { found_.push_back({severity, std::move(text)}); }
    std::vector<Finding> found_;
};

// One TXT record next to, or as, the one that counts.
void lint_text(const std::string& name, const std::string& text, Findings& out) {
    const std::string shown = "\"" + printable(text, 60) + "\"";
    constexpr std::string_view version = "v=STSv1";
    if (!text.starts_with(version)) {
        out.hint(name + ": there is another TXT record, " + shown + "; some senders then look for no policy");
        return;
    }
    const std::string_view rest = std::string_view(text).substr(version.size());
    if (!rest.empty() && rest.front() != ';' && trimmed(rest) == rest)
        out.warning(name + ": the record " + shown + " begins with `" +
                    printable(std::string_view(text).substr(0, text.find(';')), 40) +
                    "`, which is no version that senders know: it must be `v=STSv1;`");
    else if (!trimmed(rest).starts_with(';'))
        out.warning(
            name + ": the record " + shown +
            " lacks the `;` after the version: no sender uses it, and some take it for a second record");
    else if (!rest.starts_with(';'))
        out.warning(name + ": blanks before the first `;` make some senders pass over the record");
    if (text.ends_with(' ') || text.ends_with('\t'))
        out.warning(name + ": blanks at the end of the record make some senders pass over it");
    std::map<std::string_view, int> seen;
    for (const auto field : split(text, ';'))
        if (const auto key = trimmed(field.substr(0, field.find('='))); !key.empty() && ++seen[key] == 2)
            out.warning(
                name + ": `" + printable(key, 40) +
                "` stands twice in the record: the first one counts, and some senders refuse the record");
}

void lint_record(const Published& published, Findings& out) {
    const std::string name = "_mta-sts." + published.domain.text();
    if (!published.records) {
        out.error(name + " cannot be looked up: " + published.records_problem);
        return;
    }
    const auto record = parse_record(*published.records);
    if (!record) {
        out.error(name + ": " + record.error().text + "; senders act as if there were no record");
        return;
    }
    if (!*record) {
        const bool other_case = std::any_of(published.records->begin(), published.records->end(),
                                            [](const std::string& t) { return istarts_with(t, "v=stsv1"); });
        out.error(other_case
                      ? name + ": the record must begin with `v=STSv1;`, in just these letters"
                      : name + " has no TXT record with `v=STSv1; id=…`: senders do not look for a policy");
        return;
    }
    for (const auto& text : *published.records) lint_text(name, text, out);
}

// A value that we take and stricter senders do not.
void lint_value(std::string_view key, std::string_view value, const std::string& where, Findings& out) {
    if (key == "mx" && value.ends_with('.'))
        out.warning(where + "`" + printable(value, 80) +
                    "` ends with a dot; some senders refuse the whole policy for it");
    if (key == "max_age" && decimal(value).value_or(0) > longest_max_age)
        out.warning(where + "max_age " + printable(value, 40) + " is above the maximum of " +
                    std::to_string(longest_max_age) +
                    " (RFC 8461 §3.2); some senders refuse the whole policy for it");
    const std::string small = lowered(value);
    if (key == "mode" && small != value && (small == "none" || small == "testing" || small == "enforce"))
        out.error(where + "the mode must be in small letters: `" + small + "`");
}

// Deviations that we let pass and stricter senders do not.
void lint_lines(std::string_view text, Findings& out) {
    static constexpr std::array<std::string_view, 4> keys{"version", "mode", "max_age", "mx"};
    if (text.starts_with("\xef\xbb\xbf")) {
        out.error(
            "the policy file begins with a byte order mark: some senders take it for part of `version`");
        text.remove_prefix(3);
    }
    if (text.size() > read_by_all)
        out.warning("the policy has " + std::to_string(text.size()) +
                    " octets: some senders read only the first " + std::to_string(read_by_all) +
                    ", and others refuse it");
    if (!is_ascii(text))
        out.warning(
            "the policy has octets that are not ASCII: some senders refuse the whole policy for them");
    std::map<std::string, int, std::less<>> seen;
    std::size_t number = 0;
    auto lines = split(text, '\n');
    if (!lines.empty() && lines.back().empty()) lines.pop_back();  // the final newline
    for (std::string_view line : lines) {
        ++number;
        const std::string where = "line " + std::to_string(number) + " of the policy: ";
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (trimmed(line).empty()) {
            out.warning(where + "an empty line; some senders refuse the whole policy for it");
            continue;
        }
        const std::string_view key = line.substr(0, line.find(':'));
        const std::string_view nearly = trimmed(key);
        if (std::any_of(line.begin(), line.end(), [](char c) { return (c >= 0 && c < ' ') || c == 127; }))
            out.warning(where + "a control character; some senders refuse the whole policy for it");
        if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
            if (std::find(keys.begin(), keys.end(), lowered(nearly)) != keys.end() &&
                lowered(nearly) != nearly) {
                out.error(where + "the key `" + printable(nearly, 40) + "` must be in small letters: `" +
                          lowered(nearly) + "`");
                continue;
            }
            if (line.find(':', line.find(':') + 1) != std::string_view::npos)
                out.warning(where + "a second `:`; some senders refuse the whole policy for it");
            const auto meant = nearest(lowered(nearly), keys);
            out.warning(where + "`" + printable(nearly, 40) + "` is no field that senders know" +
                        (meant.empty() ? "" : "; did you mean `" + std::string(meant) + "`?"));
            continue;
        }
        if (++seen[std::string(key)] == 2 && key != "mx")
            out.warning(
                where + "`" + std::string(key) +
                "` stands there twice: the first one counts, and some senders refuse the whole policy");
        lint_value(key, trimmed(line.substr(key.size() + 1)), where, out);
    }
}

void lint_mx(const Published& published, const Policy& policy, Findings& out) {
    if (!published.mx && !published.mx_problem.empty())
        out.error("the MX records of " + published.domain.text() + " cannot be looked up: " +
                  published.mx_problem + "; whether they agree with the policy is unknown");
    if (!published.mx || policy.mode == Mode::none) return;
    if (published.mx->size() == 1 && (published.mx->front().empty() || published.mx->front() == ".")) {
        out.hint(published.domain.text() + " takes no mail (null MX): a policy of mode none would do");
        return;
    }
    const bool enforce = policy.mode == Mode::enforce;
    std::vector<dns::MxHost> hosts;
    for (const auto& text : *published.mx)
        if (auto name = dns::Domain::parse(text)) hosts.emplace_back(std::move(*name));
    std::size_t allowed = 0;
    for (const auto& host : hosts) {
        if (policy.allows(host)) {
            ++allowed;
            continue;
        }
        std::string text =
            "MX host " + host.text() + " is not in the policy: senders that enforce it do not deliver there";
        for (const auto& pattern : policy.mx)
            if (pattern.wildcard && host.text().ends_with("." + pattern.domain.text()))
                text += "; `" + pattern.text() + "` covers one label only";
        enforce ? out.error(std::move(text)) : out.warning(std::move(text));
    }
    if (enforce && !hosts.empty() && allowed == 0)
        out.error("no MX host is in the policy: senders that enforce it cannot deliver at all");
    for (const auto& pattern : policy.mx)
        if (std::none_of(hosts.begin(), hosts.end(),
                         [&](const dns::MxHost& h) { return pattern.matches(h); }))
            out.hint("`mx: " + pattern.text() + "` matches none of the MX hosts");
}

void lint_policy(const Published& published, WallTime now, Findings& out) {
    const std::string url = "https://mta-sts." + published.domain.text() + "/.well-known/mta-sts.txt";
    if (!published.policy) {
        out.error(url + " gives no policy: " + published.policy_problem);
        return;
    }
    if (!published.content_type)
        out.warning(url + " is served without Content-Type; it should be text/plain");
    else if (!iequals(
                 trimmed(
                     std::string_view(*published.content_type).substr(0, published.content_type->find(';'))),
                 "text/plain"))
        out.error(url + " is served as " + printable(*published.content_type, 60) +
                  "; it must be text/plain");
    if (published.certificate_ends && *published.certificate_ends - now < certificate_margin)
        out.warning("the certificate of mta-sts." + published.domain.text() + " ends at " +
                    rfc3339(*published.certificate_ends) +
                    ": without a valid one, senders see no new policy");
    lint_lines(*published.policy, out);
    const auto policy = Policy::parse(*published.policy);
    if (!policy) {
        out.error("the policy is invalid: " + policy.error().text);
        return;
    }
    if (policy->mx.size() > max_mx_patterns)
        out.error("the policy lists " + std::to_string(policy->mx.size()) +
                  " mx patterns: this sender takes no " + "policy with more than " +
                  std::to_string(max_mx_patterns) +
                  "; a wildcard such as `mx: *.example.net` stands for many hosts");
    lint_mx(published, *policy, out);
    const auto max_age = std::to_string(policy->max_age.count());
    if (policy->mode == Mode::none)
        out.hint("mode none: senders use no TLS policy for this domain");
    else if (policy->max_age < day)
        out.warning("max_age " + max_age + " is less than a day: between two fetches there is no protection");
    else if (policy->mode == Mode::enforce && policy->max_age < week)
        out.hint("max_age " + max_age + " is less than a week; with mode enforce, weeks protect better");
    if (policy->mode == Mode::none && policy->mx.empty())
        out.hint(
            "mode none without an mx line is allowed, but some senders refuse such a policy and keep the one "
            "before");
    if (policy->mode == Mode::testing)
        out.hint(
            "mode testing: mail goes also where the policy fails; when reports are clean, publish enforce");
}

}  // namespace

std::string_view name_of(Severity severity) {
    switch (severity) {
        case Severity::error:
            return "error";
        case Severity::warning:
            return "warning";
        case Severity::hint:
            return "hint";
    }
    return "?";
}

std::vector<Finding> lint(const Published& published, WallTime now) {
    Findings out;
    lint_record(published, out);
    lint_policy(published, now, out);
    for (const auto& problem : published.report_problems)
        published.reports_usable ? out.warning(problem) : out.error(problem);
    if (!published.reports_problem.empty())
        out.warning("_smtp._tls." + published.domain.text() + " cannot be looked up: " +
                    published.reports_problem + "; senders cannot learn where their TLS reports should go");
    if (published.report_problems.empty() && !published.reports_usable && published.reports_known)
        out.hint("_smtp._tls." + published.domain.text() +
                 " asks for no TLS reports: failures at other people's senders stay unknown to you");
    return out.take();
}

Result<Publication> publication(const PublicationPlan& plan) {
    const std::string record_text = "v=STSv1; id=" + plan.id + ";";
    const auto record = parse_record({record_text});
    if (!record) return fail(record.error());
    if (!*record) return fail(Errc::bad_record, "no id");
    std::string policy = "version: STSv1\r\nmode: " + std::string(name_of(plan.mode)) + "\r\n";
    for (const auto& pattern : plan.mx) {
        // As it is compared: lower case, A-labels.
        const bool wildcard = pattern.starts_with("*.");
        const auto name = dns::Domain::parse(wildcard ? std::string_view(pattern).substr(2) : pattern);
        if (!name) return fail(Errc::bad_policy, "not an mx pattern: " + printable(pattern));
        policy += "mx: " + std::string(wildcard ? "*." : "") + name->text() + "\r\n";
    }
    policy += "max_age: " + std::to_string(plan.max_age.count()) + "\r\n";
    if (auto parsed = Policy::parse(policy); !parsed) return fail(std::move(parsed).error());

    const std::string& domain = plan.domain.text();
    Publication out;
    out.record = "_mta-sts." + domain + ". 3600 IN TXT \"" + record_text + "\"";
    out.policy_url = "https://mta-sts." + domain + "/.well-known/mta-sts.txt";
    out.policy = std::move(policy);
    if (!plan.rua.empty())
        out.report_record = "_smtp._tls." + domain + ". 3600 IN TXT \"v=TLSRPTv1; rua=" + plan.rua + "\"";
    const std::string serve = "Serve the policy file at " + out.policy_url +
                              " as text/plain, without a redirect, with a certificate for mta-sts." + domain +
                              ".";
    if (!out.report_record.empty())
        out.steps.push_back("Publish the record at _smtp._tls." + domain +
                            " first: other senders' reports then show what would fail.");
    out.steps.push_back(serve);
    out.steps.emplace_back(
        "Then publish the record at _mta-sts." + domain +
        ". Whenever the file changes, change the file first and then give the record a new id.");
    switch (plan.mode) {
        case Mode::testing:
            out.steps.emplace_back(
                "Read the reports for some weeks. When they show no failure at your hosts, publish mode "
                "enforce with a "
                "max_age of some weeks, and a new id.");
            break;
        case Mode::enforce:
            out.steps.emplace_back(
                "Before an MX host changes, list its new name in the policy, give a new id, and wait until "
                "the old "
                "max_age has passed.");
            break;
        case Mode::none:
            out.steps.emplace_back(
                "Keep file and record until the largest max_age that you have published has passed; then "
                "remove the "
                "record, and after it the file (RFC 8461 §8.3).");
            break;
    }
    return out;
}

std::vector<std::string> diff(std::string_view before, std::string_view after) {
    const auto lines_of = [](std::string_view text) {
        std::vector<std::string_view> out;
        for (std::string_view line : split(text, '\n')) {
            if (line.ends_with('\r')) line.remove_suffix(1);
            out.push_back(line);
        }
        if (!out.empty() && out.back().empty()) out.pop_back();
        constexpr std::size_t most_lines = 500;  // ours: the comparison is quadratic
        if (out.size() > most_lines) out.resize(most_lines);
        return out;
    };
    const auto old_lines = lines_of(before);
    const auto new_lines = lines_of(after);
    // common[i][j]: the longest common row of lines of old[i …] and new[j …].
    std::vector<std::vector<std::size_t>> common(old_lines.size() + 1,
                                                 std::vector<std::size_t>(new_lines.size() + 1));
    for (std::size_t i = old_lines.size(); i-- > 0;)
        for (std::size_t j = new_lines.size(); j-- > 0;)
            common[i][j] = old_lines[i] == new_lines[j] ? common[i + 1][j + 1] + 1
                                                        : std::max(common[i + 1][j], common[i][j + 1]);
    std::vector<std::string> out;
    const auto add = [&](const char* mark, std::string_view line) {
        out.push_back(mark + printable(line, 200));
    };
    std::size_t i = 0;
    std::size_t j = 0;
    while (i < old_lines.size() || j < new_lines.size()) {
        if (i < old_lines.size() && j < new_lines.size() && old_lines[i] == new_lines[j]) {
            add("  ", old_lines[i++]);
            ++j;
        } else if (j == new_lines.size() || (i < old_lines.size() && common[i + 1][j] >= common[i][j + 1])) {
            add("- ", old_lines[i++]);
        } else {
            add("+ ", new_lines[j++]);
        }
    }
    return out;
}

}  // namespace sternpost::sts
