// Tables for people, by libsmartcols: columns as wide as they must be and, on a terminal, as they can be.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

struct libscols_table;

namespace sternpost::cmd {

class Table {
  public:
    enum class Kind {
        text,    // cut off where the terminal is too narrow
        whole,   // never cut off: names to copy, times
        number,  // likewise, and flush right
        wrapped  // goes on in the next line where the terminal is too narrow
    };
    struct Column {
        const char* title;
        Kind kind = Kind::text;
    };

    explicit Table(std::initializer_list<Column> columns);
    ~Table();
    Table(const Table&) = delete;
    Table& operator=(const Table&) = delete;

    /// One cell for each column. What is foreign in it must be printable() already.
    void add(const std::vector<std::string>& cells);
    /// To standard output; nothing where there are no rows.
    void print() const;

  private:
    libscols_table* table_;
    bool empty_ = true;
};

/// Such as `1.5 MiB`.
std::string size_of(std::uint64_t octets);

}  // namespace sternpost::cmd
