// The TXT record at _smtp._tls (RFC 8460 §3). Input: TXT records, each ended by LF.
#include <cstdlib>

#include "tlsrpt/record.h"
#include "util/text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace sternpost;
    std::vector<std::string> texts;
    const std::string_view all(reinterpret_cast<const char*>(data), size);
    for (const auto line : split(all, '\n')) texts.emplace_back(line);
    const auto record = tlsrpt::parse_record(texts);
    const auto problems = tlsrpt::problems_of("_smtp._tls.d.test", texts);
    if (!record && problems.empty()) std::abort();  // nothing is said to be in order that no sender can use
    for (const auto& problem : problems)
        if (problem != printable(problem, problem.size())) std::abort();
    if (!record || !*record) return 0;
    if ((*record)->destinations.empty()) std::abort();
    for (const auto& destination : (*record)->destinations) {
        // What a URI leads to is something that can stand in a command, or in a request, on one line.
        if (const auto* task_queue = std::get_if<mail::Mailbox>(&destination.place)) {
            for (const char c : task_queue->text())
                if (c == '\r' || c == '\n' || c == '\0') std::abort();
            continue;
        }
        const auto& https = std::get<tlsrpt::HttpsPlace>(destination.place);
        if (https.port == 0 || !https.path.starts_with('/')) std::abort();
        for (const char c : https.path)
            if (c <= ' ' || c > '~') std::abort();
    }
    return 0;
}
