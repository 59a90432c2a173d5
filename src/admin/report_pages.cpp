#include "admin/report_pages.h"

#include <algorithm>
#include <utility>

namespace sternpost::admin {

ReportPages::ReportPages(store::ReportFilter filter, std::size_t of_a_page)
    : filter_(std::move(filter)), of_a_page_(of_a_page) {
    filter_.limit = of_a_page_;
}

std::vector<store::StoredReport> ReportPages::take(std::vector<store::StoredReport> found) {
    const std::size_t before = std::min(given_, found.size());
    done_ = found.size() < filter_.limit;
    if (!done_) {
        filter_.from = found.back().day;
        given_ = static_cast<std::size_t>(
            std::count_if(found.begin(), found.end(),
                          [this](const store::StoredReport& report) { return report.day == filter_.from; }));
        filter_.limit = given_ + of_a_page_;
    }
    found.erase(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(before));
    found.shrink_to_fit();
    return found;
}

}  // namespace sternpost::admin
