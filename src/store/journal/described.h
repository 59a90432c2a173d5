// Values that store/kept.h describes, as the octets of records, and back. Reads any octets without harm.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "store/errc.h"
#include "store/journal/fields.h"
#include "store/kept.h"

namespace sternpost::store {

/// Without outcomes: for the history and the index.
enum class WithOutcomes { no, yes };
template <class Value>
std::string encode(const Value& value, WithOutcomes outcomes = WithOutcomes::yes);
/// Errors: damaged.
template <class Value>
Result<Value> decode(std::string_view octets);

inline constexpr std::uint32_t most_days = 3'000'000;  // since 1970

inline tl::unexpected<Error<Errc>> unreadable_record(const char* what) {
    return fail(Errc::damaged, std::string("not a readable record: ") + what);
}

// Takes fields one by one into the places named for their tags; remembers the first that does not fit.
class Into {
  public:
    explicit Into(const Field& field) : field_(field) {}

    void text(std::string& place) const { place.assign(field_.octets); }
    template <class Number>
    void number(Number& place) {
        const auto value = field_.number();
        if (!value || *value > std::numeric_limits<Number>::max()) {
            ok_ = false;
            return;
        }
        place = static_cast<Number>(*value);
    }
    template <class Enum>
    void choice(Enum& place, Enum most) {
        std::uint64_t value = 0;
        number(value);
        if (value > static_cast<std::uint64_t>(most)) ok_ = false;
        if (ok_) place = static_cast<Enum>(value);
    }
    void time(WallTime& place) {
        if (const auto value = field_.time())
            place = *value;
        else
            ok_ = false;
    }
    void day(std::chrono::sys_days& place) {
        std::uint32_t days = 0;
        number(days);
        if (days > most_days) ok_ = false;
        if (ok_) place = std::chrono::sys_days(std::chrono::days(static_cast<int>(days)));
    }
    void flag(bool& place) {
        std::uint64_t value = 0;
        number(value);
        place = value != 0;
    }
    void refuse() { ok_ = false; }
    bool ok() const { return ok_; }

  private:
    const Field& field_;
    bool ok_ = true;
};

namespace described {

// Writes the fields that it is shown.
class Encoder {
  public:
    explicit Encoder(WithOutcomes outcomes) : outcomes_(outcomes) {}
    std::string take() { return out_.take(); }

    void key(std::uint64_t tag, const auto& value) { always(tag, value); }
    void always(std::uint64_t tag, const std::string& text) { out_.octets(tag, text); }
    void always(std::uint64_t tag, const auto& value) { out_.number(tag, number_of(value)); }
    void some(std::uint64_t tag, const std::string& text) { out_.some_octets(tag, text); }
    void some(std::uint64_t tag, ReasonCode code) { out_.some_octets(tag, name_of(code)); }
    void some(std::uint64_t tag, const AttemptDetail& detail) {
        out_.some_octets(tag, encode(detail, outcomes_));
    }
    void some(std::uint64_t tag, const auto& value) { out_.some_number(tag, number_of(value)); }
    void unless_same(std::uint64_t tag, const std::string& text, const std::string& other) {
        if (text != other) out_.octets(tag, text);
    }
    void cut(std::uint64_t tag, const std::string& text, std::size_t most) {
        out_.some_octets(tag, std::string_view(text).substr(0, most));
    }
    void each(std::uint64_t tag, const std::vector<std::string>& texts, std::size_t most) {
        for (std::size_t n = 0; n < texts.size() && n < most; ++n) out_.octets(tag, texts[n]);
    }
    void each(std::uint64_t tag, const std::vector<TlsOutcome>& outcomes) {
        if (outcomes_ == WithOutcomes::no) return;
        for (const auto& one : outcomes) out_.octets(tag, encode(one));
    }
    void each(std::uint64_t tag, const std::vector<ReportPlace>& places) {
        for (const auto& one : places) out_.octets(tag, encode(one));
    }

  private:
    static std::uint64_t number_of(MessageId id) { return id.value; }
    static std::uint64_t number_of(WallTime time) {
        return static_cast<std::uint64_t>(time.time_since_epoch().count());
    }
    static std::uint64_t number_of(std::chrono::sys_days day) {
        return static_cast<std::uint64_t>(day.time_since_epoch().count());
    }
    template <class Number>
    requires(std::integral<Number> || std::is_enum_v<Number>) static std::uint64_t number_of(Number number) {
        return static_cast<std::uint64_t>(number);
    }

    WithOutcomes outcomes_;
    FieldWriter out_;
};

// Takes one field into the place that has its tag.
class Decoder {
  public:
    explicit Decoder(const Field& field) : field_(field), into_(field) {}
    bool ok() const { return into_.ok(); }

    void key(std::uint64_t tag, auto& place) { take(tag, place); }
    void always(std::uint64_t tag, auto& place) { take(tag, place); }
    void some(std::uint64_t tag, auto& place) { take(tag, place); }
    void unless_same(std::uint64_t tag, std::string& place, const std::string&) { take(tag, place); }
    void cut(std::uint64_t tag, std::string& place, std::size_t) { take(tag, place); }
    template <class Value>
    void each(std::uint64_t tag, std::vector<Value>& places, std::size_t = 0) {
        if (field_.tag == tag) read(places.emplace_back());
    }

  private:
    void take(std::uint64_t tag, auto& place) {
        if (field_.tag == tag) read(place);
    }
    void read(std::string& place) { into_.text(place); }
    void read(ReasonCode& place) { place = reason_code_of(field_.octets); }
    void read(MessageId& place) { into_.number(place.value); }
    void read(WallTime& place) { into_.time(place); }
    void read(std::chrono::sys_days& place) { into_.day(place); }
    void read(bool& place) { into_.flag(place); }
    template <std::integral Number>
    void read(Number& place) {
        into_.number(place);
    }
    template <class Enum>
    requires std::is_enum_v<Enum>
    void read(Enum& place) { into_.choice(place, last_of(Enum())); }
    template <class Value>
    requires requires { Description<Value>::name; }
    void read(Value& place) {
        if (auto value = decode<Value>(field_.octets))
            place = std::move(*value);
        else
            into_.refuse();
    }

    const Field& field_;
    Into into_;
};

// Whether each key is there.
class Keys {
  public:
    bool all() const { return all_; }
    template <class Value>
    void key(std::uint64_t, const Value& value) {
        all_ = all_ && !(value == Value());
    }
    void always(std::uint64_t, const auto&) {}
    void some(std::uint64_t, const auto&) {}
    void unless_same(std::uint64_t, const auto&, const auto&) {}
    void cut(std::uint64_t, const auto&, std::size_t) {}
    void each(std::uint64_t, const auto&, std::size_t = 0) {}

  private:
    bool all_ = true;
};

// What an earlier release left out.
inline void complete(auto&) {}
inline void complete(TlsOutcome& outcome) {
    if (outcome.policy_domain.empty()) outcome.policy_domain = outcome.domain;
}
inline void complete(DeliveryResult& result) {
    // Releases that did not count lost replies named the last one.
    if (result.reason_code == ReasonCode::possibly_delivered && result.lost_replies == 0)
        result.lost_replies = std::max(result.tries, 1U);
}

}  // namespace described

template <class Value>
std::string encode(const Value& value, WithOutcomes outcomes) {
    described::Encoder encoder(outcomes);
    fields(encoder, value);
    return encoder.take();
}

template <class Value>
Result<Value> decode(std::string_view octets) {
    Value value;
    FieldReader reader(octets);
    while (const auto field = reader.next()) {
        described::Decoder decoder(*field);
        fields(decoder, value);
        if (!decoder.ok()) return unreadable_record(Description<Value>::name);
    }
    described::Keys keys;
    fields(keys, std::as_const(value));
    if (reader.damaged() || !keys.all()) return unreadable_record(Description<Value>::name);
    described::complete(value);
    return value;
}

}  // namespace sternpost::store
