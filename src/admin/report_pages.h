// A long list of TLS reports, page by page: which question to ask the store next. Pure.
#pragma once

#include <vector>

#include "store/store.h"

namespace sternpost::admin {

class ReportPages {
  public:
    /// All that `filter` means; its limit does not count.
    explicit ReportPages(store::ReportFilter filter, std::size_t of_a_page = 5000);

    bool done() const { return done_; }
    /// The store has no other place to begin than a day: what was given of it before is read again.
    const store::ReportFilter& next() const { return filter_; }
    /// Takes the answer to next(), and leaves of it what was not given before: a page at most.
    std::vector<store::StoredReport> take(std::vector<store::StoredReport> found);

  private:
    store::ReportFilter filter_;
    std::size_t of_a_page_;
    std::size_t given_ = 0;  // reports of the day that filter_ begins with
    bool done_ = false;
};

}  // namespace sternpost::admin
