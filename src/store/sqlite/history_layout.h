// The files of history: what they are called, and what is in their rows. Used by those that write and read
// them.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/history.h"
#include "store/journal/disk.h"

namespace sternpost::store::sqlite {

using Days = std::chrono::sys_days;

constexpr const char* folder_name = "history";

// Fields of `head`: the message, and the entries that came with it (number, what).
enum HeadTag : std::uint64_t { head_message = 1, head_sequence = 2, head_what = 3 };

Days day_of(WallTime time);
std::string file_name(Days day);
/// The days that have a file, the latest first.
Result<std::vector<Days>> days_kept(Disk& disk);
/// nullopt: of a type that a later release has made, or damaged.
std::optional<HistoryEntry> entry_of(std::uint64_t sequence, std::string_view what);

}  // namespace sternpost::store::sqlite
