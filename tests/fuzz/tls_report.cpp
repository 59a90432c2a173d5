// What somebody sends as a TLS report: a mail, JSON, gzip (RFC 8460 §4.4, §5).
#include <cstdlib>

#include "tlsrpt/incoming.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace sternpost;
    const std::string_view file(reinterpret_cast<const char*>(data), size);
    tlsrpt::Sums sums;
    tlsrpt::read_reports_in(file, [&](tlsrpt::Result<tlsrpt::IncomingReport> report) {
        if (!report) {
            if (report.error().text.empty()) std::abort();  // there is always a reason
            return true;
        }
        sums.add(*report);
        if (!report->id.empty() && sums.add(*report) != tlsrpt::Added::before) std::abort();  // never twice
        return true;
    });
    return 0;
}
