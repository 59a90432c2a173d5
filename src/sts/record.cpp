#include "sts/record.h"

#include <algorithm>

#include "util/text.h"

namespace sternpost::sts {
namespace {

// RFC 8461 §3.1: "v=STSv1" and a delimiter; blanks before the delimiter are in the grammar (D-01).
bool is_sts_record(std::string_view text) {
    if (!text.starts_with("v=STSv1")) return false;
    const std::string_view rest = trimmed(text.substr(7));
    return rest.starts_with(';');
}

bool alnum(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_id(std::string_view text) {
    return !text.empty() && text.size() <= 32 && std::all_of(text.begin(), text.end(), alnum);
}

// sts-ext-name of RFC 8461 §3.1.
bool is_name(std::string_view text) {
    return !text.empty() && text.size() <= 32 && alnum(text[0]) &&
           std::all_of(text.begin(), text.end(),
                       [](char c) { return alnum(c) || c == '_' || c == '-' || c == '.'; });
}

// sts-ext-value: visible ASCII but '=' and ';'.
bool is_value(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c > 32 && c < 127 && c != '='; });
}

// What was meant for the id, where something was.
std::string nearly_id(const std::vector<std::string_view>& fields) {
    for (const auto field : fields)
        if (const auto name = trimmed(field.substr(0, field.find('='))); iequals(name, "id"))
            return ": the name of `" + printable(trimmed(field), 60) + "` must be in small letters: `id`";
    return "";
}

}  // namespace

Result<std::optional<Record>> parse_record(const std::vector<std::string>& texts) {
    std::vector<std::string_view> ours;
    for (const auto& text : texts)
        if (is_sts_record(text)) ours.push_back(text);
    if (ours.empty()) return std::optional<Record>();
    if (ours.size() > 1)
        return fail(Errc::bad_record,
                    std::to_string(ours.size()) + " STSv1 records stand at the name; exactly one may");
    std::optional<std::string> id;
    bool first = true;
    const auto fields = split(ours[0], ';');
    for (std::size_t i = 0; i < fields.size(); ++i) {
        const std::string_view field = trimmed(fields[i]);
        if (field.empty() && i + 1 == fields.size()) break;  // the final delimiter is optional
        const auto equals = field.find('=');
        if (equals == std::string_view::npos)
            return fail(Errc::bad_record, "a field of the record has no '=': " + printable(field));
        const std::string_view name = field.substr(0, equals);
        const std::string_view value = field.substr(equals + 1);
        if (std::exchange(first, false)) continue;  // the version
        if (name == "id") {
            if (!is_id(value))
                return fail(Errc::bad_record, "id is not 1 to 32 letters and digits: " + printable(value));
            if (!id) id = std::string(value);  // of repeated fields the first counts (RFC 8461 §3.2)
        } else if (!is_name(name) || !is_value(value)) {
            return fail(Errc::bad_record,
                        "not a field of an STSv1 record: " + printable(field) +
                            (name == trimmed(name) ? "" : " (a blank stands before the `=`)"));
        }
    }
    if (!id) return fail(Errc::bad_record, "the record has no id" + nearly_id(fields));
    return std::optional<Record>(Record{std::move(*id)});
}

}  // namespace sternpost::sts
