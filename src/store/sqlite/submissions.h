// Which submissions the index knows, for the thread that accepts mail.
#pragma once

#include <memory>
#include <optional>

#include "store/message.h"
#include "store/sqlite/database.h"

namespace sternpost::store::sqlite {

/// A connection of its own to the index. One thread at a time.
class Submissions {
  public:
    /// Errors: not_found, damaged, io.
    static Result<std::unique_ptr<Submissions>> open(const DatabasePlace& place);
    /// The message that the submission became, nullopt where the index knows none. Errors: damaged, io.
    Result<std::optional<MessageId>> find(const SubmissionId& id);

  private:
    explicit Submissions(std::unique_ptr<Database> database)
        : database_(std::move(database)), find_(*database_, "SELECT message FROM submission WHERE id = ?1") {}

    std::unique_ptr<Database> database_;
    Statement find_;
};

}  // namespace sternpost::store::sqlite
