#include "control/protocol.h"

#include <algorithm>
#include <cmath>

#include "util/text.h"

namespace sternpost::control {
namespace {

// Boost.JSON reads 1e999 as infinity, which no line can carry (RFC 8259 §6).
bool has_infinity(const json::value& value) {
    if (const auto* number = value.if_double()) return !std::isfinite(*number);
    if (const auto* array = value.if_array()) return std::ranges::any_of(*array, has_infinity);
    if (const auto* object = value.if_object())
        return std::ranges::any_of(*object, [](const auto& member) { return has_infinity(member.value()); });
    return false;
}

// The object that a line holds; nullopt: it holds something else.
std::optional<json::object> object_in(std::string_view line) {
    boost::system::error_code ec;
    json::value read = json::parse(line, ec);
    if (ec || !read.is_object() || has_infinity(read)) return std::nullopt;
    return std::move(read.as_object());
}

// `{"KEY": {…}}`
std::optional<json::object> object_in(std::string_view line, std::string_view key) {
    auto object = object_in(line);
    auto* const value = object ? object->if_contains(key) : nullptr;
    if (value == nullptr || !value->is_object()) return std::nullopt;
    return std::move(value->as_object());
}

}  // namespace

std::string text_of(const json::object& request, std::string_view key) {
    const auto* value = request.if_contains(key);
    return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

std::optional<Request> request_of(std::string_view line) {
    auto object = object_in(line);
    if (!object) return std::nullopt;
    Request out;
    out.object = std::move(*object);
    const auto wants = [&out](std::string_view key) {
        const auto* value = out.object.if_contains(key);
        return value != nullptr && value->is_bool() && value->as_bool();
    };
    out.progress = wants("progress");
    out.parts = wants("parts");
    return out;
}

std::string progress_line(const json::object& so_far) {
    return json::serialize(json::object{{"progress", so_far}}) + "\n";
}

std::optional<json::object> progress_of(std::string_view line) {
    return object_in(line, "progress");
}

std::string part_line(const json::object& piece) {
    return printable_json(json::serialize(json::object{{"part", piece}})) + "\n";
}

std::optional<json::object> part_of(std::string_view line) {
    return object_in(line, "part");
}

void join_parts(json::value& data, json::object parts) {
    if (data.is_array()) {
        const auto* items = parts.if_contains("items");
        if (items == nullptr || !items->is_array()) return;
        json::array all = items->as_array();
        for (auto& one : data.as_array()) all.push_back(std::move(one));
        data = std::move(all);
        return;
    }
    if (parts.empty() || !data.is_object()) return;
    for (auto& [key, value] : parts) {
        if (!value.is_array()) continue;
        json::array all = std::move(value.as_array());
        json::value& last = data.as_object()[key];
        if (last.is_array())
            for (auto& one : last.as_array()) all.push_back(std::move(one));
        last = std::move(all);
    }
}

std::string to_line(const Answer& answer) {
    json::object out;
    out["code"] = static_cast<int>(answer.code);
    out["text"] = answer.text;
    out["data"] = answer.data;
    return printable_json(json::serialize(out)) + "\n";
}

Answer answer_of(std::string_view line) {
    const auto object = object_in(line);
    const auto* const code = object ? object->if_contains("code") : nullptr;
    boost::system::error_code ec;
    const int number = code == nullptr ? 0 : code->to_number<int>(ec);
    Answer out;
    if (code == nullptr || ec) {
        out.code = ExitCode::internal;
        out.text = "the daemon's answer cannot be read";
        return out;
    }
    out.code = static_cast<ExitCode>(number);
    if (const auto* text = object->if_contains("text"); text != nullptr && text->is_string())
        out.text = std::string(text->as_string());
    if (const auto* data = object->if_contains("data")) out.data = *data;
    return out;
}

}  // namespace sternpost::control
