// What somebody sends as a TLS report: a mail, JSON, gzip (RFC 8460 §4.4, §5).
#include <cstdlib>

#include "tlsrpt/incoming.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace sternpost;
    const std::string_view file(reinterpret_cast<const char*>(data), size);
    tlsrpt::Sums sums;
    for (const auto& octets : tlsrpt::reports_in(file)) {
        const auto report = tlsrpt::read_report(octets);
        if (!report) {
            if (report.error().text.empty()) std::abort();  // there is always a reason
            continue;
        }
        sums.add(*report);
        if (!report->id.empty() && sums.add(*report)) std::abort();  // never twice
    }
    return 0;
}
