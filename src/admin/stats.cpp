#include "admin/stats.h"

#include <algorithm>

#include "util/text.h"

namespace sternpost::admin {
namespace {

constexpr std::uint64_t most_rows = 10'000;  // ours: memory holds one answer

StatsRow row_of(const store::MailCount& count) {
    const store::MailNumbers& n = count.numbers;
    return {count.key, n.accepted, n.octets, n.sent, n.deferred, n.bounced, n.expired};
}

}  // namespace

Stats::Stats(const Request& request, const Caller&, Paging) {
    filter_.from = request.from;
    filter_.limit = std::min(request.limit, most_rows);
    filter_.by_hour = request.by == "hour";
    answer_.from = std::chrono::floor<std::chrono::hours>(request.from);
    answer_.by = request.by.empty() ? "all" : request.by;
    if (filter_.by_hour || request.by.empty()) return;
    for (int n = 0; n <= static_cast<int>(last_of(store::CountedBy{})); ++n)
        if (name_of(static_cast<store::CountedBy>(n)) == request.by) {
            filter_.by = static_cast<store::CountedBy>(n);
            return;
        }
    refused_ = misused("mail is not counted by " + printable(request.by) +
                       ": wanted is destination, sender, from-domain, error or hour");
}

store::Result<void> Stats::read(store::Questions& questions) {
    auto counts = questions.mail_counts(filter_);
    if (!counts) return fail(std::move(counts).error());
    store::MailCountFilter all = filter_;
    all.by = store::CountedBy::all;
    all.by_hour = false;
    const auto total = questions.mail_counts(all);
    if (!total) return fail(total.error());
    for (const auto& count : *counts) answer_.rows.push_back(row_of(count));
    for (const auto& count : *total) answer_.total = row_of(count);
    return {};
}

Answer<StatsAnswer> Stats::answer(const Live& live) {
    answer_.to = live.now();
    return std::move(answer_);
}

}  // namespace sternpost::admin
