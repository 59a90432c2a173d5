// How described values (Boost.Describe) look in JSON, in both directions. What has no value has no member. A
// member that is missing or of another type keeps its default, so that a command and a daemon of different
// releases understand each other. A final underscore of a name is not part of its key.
#pragma once

#include <boost/describe/members.hpp>
#include <boost/json.hpp>
#include <boost/mp11/algorithm.hpp>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "control/protocol.h"
#include "queue/obstacle.h"
#include "store/kept.h"
#include "tlsrpt/report.h"
#include "util/clock.h"

namespace sternpost::control {

namespace detail {

template <class T>
using Members =
    boost::describe::describe_members<T, boost::describe::mod_any_access | boost::describe::mod_inherited>;

template <class T>
concept Described = boost::describe::has_describe_members<T>::value;

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;

inline std::string_view key_of(const char* member) {
    std::string_view key = member;
    if (key.ends_with('_')) key.remove_suffix(1);
    return key;
}

}  // namespace detail

template <class T>
json::value to_json(const T& value) {
    using namespace detail;
    if constexpr (std::same_as<T, WallTime>) {
        return json::value(rfc3339(value));
    } else if constexpr (std::same_as<T, tlsrpt::Report>) {
        return json::parse(tlsrpt::json_of(value));
    } else if constexpr (std::is_enum_v<T>) {
        return json::value(name_of(value));
    } else if constexpr (is_vector<T>) {
        json::array out;
        for (const auto& one : value) out.push_back(to_json(one));
        return out;
    } else if constexpr (Described<T>) {
        json::object out;
        boost::mp11::mp_for_each<Members<T>>([&](auto member) {
            const auto& one = value.*member.pointer;
            if constexpr (is_optional<std::remove_cvref_t<decltype(one)>>) {
                if (one) out[key_of(member.name)] = to_json(*one);
            } else {
                out[key_of(member.name)] = to_json(one);
            }
        });
        return out;
    } else {
        return json::value(value);
    }
}

template <class T>
void from_json(const json::value& text, T& value) {
    using namespace detail;
    if constexpr (std::same_as<T, WallTime>) {
        const auto* string = text.if_string();
        const auto time = string != nullptr ? parse_rfc3339(*string) : std::nullopt;
        if (time) value = *time;
    } else if constexpr (std::same_as<T, tlsrpt::Report>) {
        // no one reads it back: it travels for other programs
    } else if constexpr (std::is_enum_v<T>) {
        const auto* string = text.if_string();
        for (int n = 0; string != nullptr && n <= static_cast<int>(last_of(T{})); ++n)
            if (name_of(static_cast<T>(n)) == std::string_view(*string)) value = static_cast<T>(n);
    } else if constexpr (is_optional<T>) {
        value.emplace();
        from_json(text, *value);
    } else if constexpr (is_vector<T>) {
        const auto* array = text.if_array();
        if (array == nullptr) return;
        value.clear();
        for (const auto& one : *array) from_json(one, value.emplace_back());
    } else if constexpr (Described<T>) {
        const auto* object = text.if_object();
        if (object == nullptr) return;
        boost::mp11::mp_for_each<Members<T>>([&](auto member) {
            const auto* one = object->if_contains(key_of(member.name));
            if (one != nullptr && !one->is_null()) from_json(*one, value.*member.pointer);
        });
    } else if constexpr (std::same_as<T, bool>) {
        if (const auto* flag = text.if_bool()) value = *flag;
    } else if constexpr (std::is_arithmetic_v<T>) {
        boost::system::error_code ec;
        const auto number = text.is_number() ? text.to_number<T>(ec) : T{};
        if (text.is_number() && !ec) value = number;
    } else {
        if (const auto* string = text.if_string()) value = std::string(*string);
    }
}

template <class T>
T from_json(const json::value& text) {
    T out;
    from_json(text, out);
    return out;
}

/// A typed answer as it travels.
template <class T>
Answer to_answer(const admin::Answer<T>& answer) {
    Answer out{answer.code, answer.text, {}};
    if constexpr (!std::same_as<T, admin::Nothing>)
        if (answer.value) out.data = to_json(*answer.value);
    return out;
}

}  // namespace sternpost::control
