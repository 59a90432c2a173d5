#include "store/sqlite/database.h"

namespace sternpost::store::sqlite {
namespace {

// Long enough for another connection's checkpoint, short enough that mail does not wait for someone's
// backup.
constexpr int busy_milliseconds = 100;

Errc errc_of(int code) {
    switch (code & 0xFF) {
        case SQLITE_FULL:
            return Errc::full;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return Errc::busy;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return Errc::damaged;
        case SQLITE_CANTOPEN:
            return Errc::not_found;
        default:
            return Errc::io;
    }
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const DatabasePlace& place, Access access) {
    sqlite3* handle = nullptr;
    const int flags =
        (access == Access::write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY) |
        SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    const int code =
        sqlite3_open_v2(place.path.c_str(), &handle, flags, place.vfs.empty() ? nullptr : place.vfs.c_str());
    std::unique_ptr<Database> database(new Database(handle));  // also a failed open has a handle to be closed
    if (code != SQLITE_OK)
        return fail(errc_of(code), "cannot open " + place.path + ": " + sqlite3_errmsg(handle));
    sqlite3_busy_timeout(handle, busy_milliseconds);
    database->run("PRAGMA temp_store = MEMORY");
    database->run("PRAGMA trusted_schema = OFF");
    if (access == Access::read) {
        database->run("PRAGMA query_only = ON");
    } else {
        database->run("PRAGMA journal_mode = WAL");
        database->run("PRAGMA synchronous = NORMAL");
        database->run("PRAGMA wal_autocheckpoint = 0");
        database->run("PRAGMA journal_size_limit = 67108864");
        database->run("PRAGMA cache_size = -8192");
    }
    // Last: "PRAGMA wal_autocheckpoint" puts a hook of its own, or none, in the place of this one.
    sqlite3_wal_hook(
        handle,
        [](void* self, sqlite3*, const char*, int pages) {
            static_cast<Database*>(self)->wal_pages_ = pages;
            return SQLITE_OK;
        },
        database.get());
    if (auto error = database->take_error()) {
        error->text = place.path + ": " + error->text;
        return fail(std::move(*error));
    }
    return database;
}

Database::~Database() {
    sqlite3_close_v2(handle_);
}

void Database::check(int code) {
    if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE || error_) return;
    const int extended = sqlite3_extended_errcode(handle_);
    sync_failed_ = sync_failed_ || extended == SQLITE_IOERR_FSYNC || extended == SQLITE_IOERR_DIR_FSYNC;
    error_ = Error<Errc>{errc_of(code), std::string("database: ") + sqlite3_errmsg(handle_)};
}

void Database::run(const char* sql) {
    if (!failed()) check(sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr));
}

std::int64_t Database::number(const char* sql) {
    Statement statement(*this, sql);
    const std::int64_t value = statement.row() ? statement.integer(0) : 0;
    return value;
}

std::int64_t Database::changes() const {
    return sqlite3_changes64(handle_);
}

std::optional<Error<Errc>> Database::take_error() {
    return std::exchange(error_, std::nullopt);
}

Result<void> Database::end_transaction() {
    run("COMMIT");
    auto error = take_error();
    if (!error) return {};
    if (sqlite3_get_autocommit(handle_) == 0) run("ROLLBACK");
    take_error();  // a rollback that fails has already taken place
    return fail(std::move(*error));
}

Result<bool> Database::checkpoint(bool whole) {
    int in_wal = 0;
    int moved = 0;
    const int code = sqlite3_wal_checkpoint_v2(
        handle_, nullptr, whole ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &in_wal, &moved);
    if ((code & 0xFF) == SQLITE_BUSY) return false;
    check(code);
    if (auto error = take_error()) return fail(std::move(*error));
    if (in_wal == moved) wal_pages_ = 0;
    return in_wal == moved;
}

Statement::Statement(Database& database, const char* sql) : database_(database) {
    if (!database.failed())
        database.check(
            sqlite3_prepare_v3(database.handle_, sql, -1, SQLITE_PREPARE_PERSISTENT, &handle_, nullptr));
}

bool Statement::row() {
    if (database_.failed() || handle_ == nullptr) return false;
    const int code = sqlite3_step(handle_);
    if (code == SQLITE_ROW) return true;
    database_.check(code);
    reset();
    return false;
}

void Statement::reset() {
    if (handle_ != nullptr) sqlite3_reset(handle_);
}

std::string_view Statement::octets(int column) const {
    const auto* octets = static_cast<const char*>(sqlite3_column_blob(handle_, column));
    const int size = sqlite3_column_bytes(handle_, column);
    return octets == nullptr ? std::string_view() : std::string_view(octets, static_cast<std::size_t>(size));
}

void Statement::bind(int index, std::string_view text) {
    database_.check(sqlite3_bind_text64(handle_, index, text.data() == nullptr ? "" : text.data(),
                                        text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

void Statement::bind(int index, Blob blob) {
    database_.check(sqlite3_bind_blob64(handle_, index,
                                        blob.octets.data() == nullptr ? "" : blob.octets.data(),
                                        blob.octets.size(), SQLITE_TRANSIENT));
}

}  // namespace sternpost::store::sqlite
