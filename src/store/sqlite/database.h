// One SQLite connection and its statements. Errors stick: after one, everything on the connection does
// nothing until take_error(), so that a transaction reads as a list of steps with one check at its end.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/errc.h"
#include "util/clock.h"

namespace sternpost::store::sqlite {

/// Where a database is: a file, and the name of the sqlite3_vfs that keeps it (empty: the operating
/// system's).
struct DatabasePlace {
    std::string path;
    std::string vfs;
};

enum class Access { write, read };

/// One thread at a time.
class Database {
  public:
    static Result<std::unique_ptr<Database>> open(const DatabasePlace& place, Access access);
    ~Database();
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;

    void run(const char* sql);             // any number of statements without rows
    std::int64_t number(const char* sql);  // the first column of the first row; 0 where there is none
    std::int64_t changes() const;

    bool failed() const { return error_.has_value(); }
    /// What went wrong first, and everything works again.
    std::optional<Error<Errc>> take_error();
    /// The error is a sync that failed: what is on disk is unknown, the process must end.
    bool sync_failed() const { return sync_failed_; }

    /// BEGIN IMMEDIATE … COMMIT around `steps`; rolled back, and the first error returned, when any of them
    /// failed.
    template <class Steps>
    Result<void> transaction(Steps steps) {
        run("BEGIN IMMEDIATE");
        if (!failed()) steps();
        return end_transaction();
    }

    /// Moves what readers allow from the WAL into the database and syncs it. True: all of it.
    Result<bool> checkpoint(bool whole);
    /// Pages in the WAL after the last commit.
    int wal_pages() const { return wal_pages_; }

  private:
    friend class Statement;
    explicit Database(sqlite3* handle) : handle_(handle) {}
    void check(int code);
    Result<void> end_transaction();

    sqlite3* handle_;
    std::optional<Error<Errc>> error_;
    bool sync_failed_ = false;
    int wal_pages_ = 0;
};

/// Octets to bind as a blob.
struct Blob {
    std::string_view octets;
};

/// A prepared statement, for use again and again. Must not outlive its Database.
class Statement {
  public:
    Statement(Database& database, const char* sql);
    ~Statement() { sqlite3_finalize(handle_); }
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;

    /// Starts again with these values for ?1 … ?n. Texts are copied.
    template <class... Values>
    Statement& with(const Values&... values) {
        reset();
        int index = 0;
        (bind(++index, values), ...);
        return *this;
    }
    /// Goes to the next row. False: there is none, or an error; the statement is reset.
    bool row();
    /// Runs to the end.
    void run() {
        while (row()) {
        }
    }
    /// Runs to the end; whether it changed a row.
    bool changed() {
        run();
        return !database_.failed() && database_.changes() > 0;
    }
    void reset();

    // Columns of the present row, from 0.
    std::int64_t integer(int column) const { return sqlite3_column_int64(handle_, column); }
    std::uint64_t id(int column) const { return static_cast<std::uint64_t>(integer(column)); }
    WallTime time(int column) const { return WallTime(std::chrono::microseconds(integer(column))); }
    std::string_view octets(int column) const;  // text or blob; valid until the next row
    std::string text(int column) const { return std::string(octets(column)); }

  private:
    void bind(int index, std::int64_t value) { database_.check(sqlite3_bind_int64(handle_, index, value)); }
    void bind(int index, int value) { bind(index, std::int64_t{value}); }
    void bind(int index, bool value) { bind(index, std::int64_t{value}); }
    void bind(int index, std::uint32_t value) { bind(index, std::int64_t{value}); }
    void bind(int index, std::uint64_t value) { bind(index, static_cast<std::int64_t>(value)); }
    void bind(int index, WallTime value) { bind(index, std::int64_t{value.time_since_epoch().count()}); }
    void bind(int index, std::string_view text);
    void bind(int index, const std::string& text) { bind(index, std::string_view(text)); }
    void bind(int index, Blob blob);

    Database& database_;
    sqlite3_stmt* handle_ = nullptr;
};

}  // namespace sternpost::store::sqlite
