#include "admin/queue_summary.h"

#include <algorithm>
#include <array>
#include <set>

namespace sternpost::admin {
namespace {

constexpr std::size_t most_summary_keys =
    10'000;  // ours: memory holds so many destinations, and so many errors
constexpr std::uint64_t most_summary_rows = 10'000;  // ours: of an answer
constexpr std::size_t messages_at_a_time = 2'000;    // ours: of one look into the store

struct AgeClass {
    const char* name;
    std::chrono::seconds up_to;
};
constexpr std::array ages{
    AgeClass{"up to 5m", std::chrono::minutes(5)}, AgeClass{"up to 1h", std::chrono::hours(1)},
    AgeClass{"up to 4h", std::chrono::hours(4)},   AgeClass{"up to 1d", std::chrono::hours(24)},
    AgeClass{"up to 3d", std::chrono::hours(72)},  AgeClass{"older", std::chrono::hours(24 * 366 * 1000)},
};
struct SizeClass {
    const char* name;
    std::uint64_t up_to;
};
constexpr std::array sizes{
    SizeClass{"up to 10K", 10 << 10}, SizeClass{"up to 100K", 100 << 10}, SizeClass{"up to 1M", 1 << 20},
    SizeClass{"up to 10M", 10 << 20}, SizeClass{"larger", UINT64_MAX},
};

std::string waits_for_code(const store::StoredRecipient& recipient) {
    if (recipient.reason_code != store::ReasonCode::none) return std::string(name_of(recipient.reason_code));
    if (!recipient.status.empty()) return recipient.status;
    return "not tried yet";
}

}  // namespace

void QueueSums::count(SummaryRow& row, const store::StoredMessage& message, std::uint64_t recipients) {
    ++row.messages;
    row.recipients += recipients;
    row.octets += message.body.size;
    if (!row.oldest || message.arrived < *row.oldest) row.oldest = message.arrived;
}

SummaryRow& QueueSums::place(Rows& rows, const std::string& key) {
    const auto found = rows.find(key);
    if (found != rows.end()) return found->second;
    return rows[rows.size() < most_summary_keys ? key : std::string()];
}

void QueueSums::add(const store::StoredMessage& message) {
    if (ages_.empty()) {
        for (const auto& age : ages) ages_.push_back({age.name, 0, 0, 0, {}, {}});
        for (const auto& size : sizes) sizes_.push_back({size.name, 0, 0, 0, {}, {}});
    }
    std::map<std::string, std::pair<std::uint64_t, const store::StoredRecipient*>> hops, errors;
    std::uint64_t waiting = 0;
    for (const auto& recipient : message.recipients) {
        if (recipient.state != store::RecipientState::queued) continue;
        ++waiting;
        for (auto* one : {&hops[recipient.address.next_hop], &errors[waits_for_code(recipient)]}) {
            ++one->first;
            if (one->second == nullptr || !recipient.text.empty()) one->second = &recipient;
        }
    }
    if (waiting == 0) return;
    count(total_, message, waiting);
    const auto add_to = [&](Rows& rows, const auto& of_message) {
        for (const auto& [key, of_key] : of_message) {
            SummaryRow& row = place(rows, key);
            count(row, message, of_key.first);
            if (!of_key.second->text.empty()) row.reason = of_key.second->status + ' ' + of_key.second->text;
        }
    };
    add_to(destinations_, hops);
    add_to(errors_, errors);
    const auto age = now_ - message.arrived;
    for (std::size_t n = 0; n < ages.size(); ++n)
        if (age <= ages.at(n).up_to || n + 1 == ages.size()) {
            count(ages_[n], message, waiting);
            break;
        }
    for (std::size_t n = 0; n < sizes.size(); ++n)
        if (message.body.size <= sizes.at(n).up_to) {
            count(sizes_[n], message, waiting);
            break;
        }
}

std::vector<SummaryRow> QueueSums::largest(Rows& rows) const {
    SummaryRow others = rows.contains("") ? rows[""] : SummaryRow();
    rows.erase("");
    std::vector<SummaryRow> out;
    for (auto& [key, row] : rows) {
        row.key = key;
        out.push_back(std::move(row));
    }
    std::stable_sort(out.begin(), out.end(),
                     [](const SummaryRow& a, const SummaryRow& b) { return a.recipients > b.recipients; });
    while (out.size() > limit_) {
        const SummaryRow& last = out.back();
        others.messages += last.messages;
        others.recipients += last.recipients;
        others.octets += last.octets;
        if (last.oldest && (!others.oldest || *last.oldest < *others.oldest)) others.oldest = last.oldest;
        out.pop_back();
    }
    others.reason.clear();
    if (others.recipients > 0) out.push_back(std::move(others));
    return out;
}

SummaryAnswer QueueSums::taken() {
    return {total_, largest(destinations_), std::move(ages_), std::move(sizes_), largest(errors_)};
}

QueueSummary::QueueSummary(const Request& request, const Caller&, Paging)
    : limit_(std::min(request.limit, most_summary_rows)) {
    filter_.limit = messages_at_a_time;
    filter_.recipients = messages_at_a_time * 10;
}

store::Result<void> QueueSummary::read(store::Questions& questions) {
    auto found = questions.find(filter_);
    if (!found) return fail(std::move(found).error());
    found_ = std::move(*found);
    more_ = !found_.empty();
    if (more_) filter_.after = found_.back().id;
    return {};
}

void QueueSummary::look(const Live& live) {
    if (!sums_) sums_.emplace(limit_, live.now());
    for (const auto& message : std::exchange(found_, {})) sums_->add(message);
}

Answer<SummaryAnswer> QueueSummary::answer(const Live&) {
    return sums_->taken();
}

}  // namespace sternpost::admin
