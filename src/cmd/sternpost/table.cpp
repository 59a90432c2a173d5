#include "cmd/sternpost/table.h"

#include <fmt/format.h>
#include <libsmartcols/libsmartcols.h>
#include <unistd.h>

#include <array>
#include <new>

#include "cmd/tell.h"

namespace sternpost::cmd {

Table::Table(std::initializer_list<Column> columns) : table_(scols_new_table()) {
    if (table_ == nullptr) throw std::bad_alloc();
    for (const auto& column : columns) {
        const int flags = column.kind == Kind::text      ? SCOLS_FL_TRUNC
                          : column.kind == Kind::number  ? SCOLS_FL_RIGHT
                          : column.kind == Kind::wrapped ? SCOLS_FL_WRAP
                                                         : 0;
        scols_table_new_column(table_, column.title, 0, flags);
    }
    scols_table_enable_noencoding(table_, 1);  // what is shown is printable already, and UTF-8 may stay
    // A pipe gets all of it: who reads there can cut for himself.
    if (::isatty(STDOUT_FILENO) == 0) scols_table_set_termforce(table_, SCOLS_TERMFORCE_NEVER);
}

Table::~Table() {
    scols_unref_table(table_);
}

void Table::add(const std::vector<std::string>& cells) {
    libscols_line* line = scols_table_new_line(table_, nullptr);
    if (line == nullptr) throw std::bad_alloc();
    for (std::size_t n = 0; n < cells.size(); ++n) scols_line_set_data(line, n, cells[n].c_str());
    empty_ = false;
}

void Table::print() const {
    if (empty_) return;
    char* text = nullptr;
    if (scols_print_table_to_string(table_, &text) != 0 || text == nullptr) throw std::bad_alloc();
    tell("{}\n", text);
    std::free(text);  // NOLINT: malloc's, says libsmartcols
}

std::string size_of(std::uint64_t octets) {
    constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB"};
    double size = static_cast<double>(octets);
    std::size_t unit = 0;
    while (size >= 1024 && unit + 1 < units.size()) {
        size /= 1024;
        ++unit;
    }
    return unit == 0 ? fmt::format("{} B", octets) : fmt::format("{:.1f} {}", size, units.at(unit));
}

}  // namespace sternpost::cmd
