// The TXT record at _mta-sts (RFC 8461 §3.1). Input: TXT records, each ended by LF.
#include <cstdlib>

#include "sts/record.h"
#include "util/text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace sternpost;
    std::vector<std::string> texts;
    const std::string_view all(reinterpret_cast<const char*>(data), size);
    for (const auto line : split(all, '\n')) texts.emplace_back(line);
    const auto record = sts::parse_record(texts);
    if (!record || !*record) return 0;
    const std::string& id = (*record)->id;
    if (id.empty() || id.size() > 32) std::abort();
    for (const char c : id)
        if (!std::isalnum(static_cast<unsigned char>(c))) std::abort();
    // What was read, written plainly, reads the same.
    const auto again = sts::parse_record({"v=STSv1; id=" + id + ";"});
    if (!again || !*again || (*again)->id != id) std::abort();
    return 0;
}
