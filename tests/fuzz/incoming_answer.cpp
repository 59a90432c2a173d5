// What comes in over one HTTPS connection, as it is counted and kept (src/util/incoming_answer.h). Input: an
// octet of the body's limit, then steps: an octet of kind, two of length, and so many octets.
#include "util/incoming_answer.h"

#include <algorithm>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace sternpost::util;
    if (size < 1) return 0;
    const std::size_t max_body = *data++ * std::size_t{16};
    --size;
    IncomingAnswer answer(max_body);
    std::uint64_t received = 0;
    bool refused = false;
    while (size >= 3) {
        const unsigned kind = data[0] % 4U;
        const std::size_t told = data[1] * std::size_t{256} + data[2];
        data += 3;
        size -= 3;
        const std::string_view piece(reinterpret_cast<const char*>(data), std::min(told, size));
        if (kind == 0) {  // octets off the socket: as many as it says, whatever they are
            const bool taken = answer.received(told);
            if (!refused && taken != (received + told <= IncomingAnswer::budget_of(max_body))) std::abort();
            if (refused && taken) std::abort();
            received += told;
            refused = refused || !taken;
            continue;
        }
        if (kind == 1) answer.header_line(piece);
        if (kind == 2) {
            const std::size_t before = answer.body_size();
            const bool kept = answer.body_piece(piece);
            if (answer.body_size() != before + (kept ? piece.size() : 0)) std::abort();
        }
        data += piece.size();
        size -= piece.size();
        if (answer.body_size() > max_body) std::abort();
        if (answer.content_type() && answer.content_type()->size() > 256) std::abort();
    }
    if (refused && !answer.too_big()) std::abort();
    if (answer.too_big() && answer.excess().empty()) std::abort();
    if (answer.take_body().size() > max_body) std::abort();
    return 0;
}
