#include "store/sqlite/history_layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "store/journal/codec.h"
#include "util/text.h"

namespace sternpost::store::sqlite {
namespace {

std::optional<Days> day_of_file(std::string_view name) {
    if (name.size() != 13 || !name.ends_with(".db")) return std::nullopt;
    const auto year = decimal(name.substr(0, 4));
    const auto month = decimal(name.substr(5, 2));
    const auto day = decimal(name.substr(8, 2));
    if (!year || !month || !day) return std::nullopt;
    const std::chrono::year_month_day date(std::chrono::year(static_cast<int>(*year)),
                                           std::chrono::month(static_cast<unsigned>(*month)),
                                           std::chrono::day(static_cast<unsigned>(*day)));
    if (!date.ok() || file_name(Days(date)) != name) return std::nullopt;
    return Days(date);
}

}  // namespace

Days day_of(WallTime time) {
    return std::chrono::floor<std::chrono::days>(time);
}

std::string file_name(Days day) {
    const std::chrono::year_month_day date(day);
    return fmt::format("{:04}-{:02}-{:02}.db", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

Result<std::vector<Days>> days_kept(Disk& disk) {
    const auto there = disk.exists(folder_name);
    if (!there) return fail(there.error());
    std::vector<Days> out;
    if (!*there) return out;
    const auto names = disk.list(folder_name);
    if (!names) return fail(names.error());
    for (const auto& name : *names)
        if (const auto day = day_of_file(name)) out.push_back(*day);
    std::sort(out.rbegin(), out.rend());
    return out;
}

std::optional<HistoryEntry> entry_of(std::uint64_t sequence, std::string_view what) {
    const auto field = FieldReader(what).next();
    if (!field) return std::nullopt;
    HistoryEntry out;
    out.sequence = sequence;
    const auto take = [&](auto value) {
        if (!value) return false;
        out.at = value->at;
        out.what = std::move(*value);
        return true;
    };
    bool known = false;
    if (field->tag == static_cast<std::uint64_t>(RecordType::result))
        known = take(decode<DeliveryResult>(field->octets));
    if (field->tag == static_cast<std::uint64_t>(RecordType::act)) known = take(decode<Act>(field->octets));
    if (field->tag == static_cast<std::uint64_t>(RecordType::hop))
        known = take(decode<HopState>(field->octets));
    return known ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace sternpost::store::sqlite
