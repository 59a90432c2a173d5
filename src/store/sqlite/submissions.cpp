#include "store/sqlite/submissions.h"

namespace sternpost::store::sqlite {

Result<std::unique_ptr<Submissions>> Submissions::open(const DatabasePlace& place) {
    auto database = Database::open(place, Access::read);
    if (!database) return fail(std::move(database).error());
    return std::unique_ptr<Submissions>(new Submissions(std::move(*database)));
}

Result<std::optional<MessageId>> Submissions::find(const SubmissionId& id) {
    const Blob key{{reinterpret_cast<const char*>(id.octets.data()), id.octets.size()}};
    std::optional<MessageId> found;
    if (find_.with(key).row()) found = MessageId{find_.id(0)};
    find_.reset();
    if (auto error = database_->take_error()) return fail(std::move(*error));
    return found;
}

}  // namespace sternpost::store::sqlite
