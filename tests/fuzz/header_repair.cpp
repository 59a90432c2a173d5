// mail::repaired and the HeaderFilter around it, as originated mail goes through them: whatever a program
// writes, what comes out is sound, is ASCII unless an address needs UTF-8, has no line that is too long, is
// not much larger, and is not repaired a second time. Input: an octet for the pieces, then the message.
#include <algorithm>
#include <cstdlib>

#include "mail/header.h"
#include "mail/header_filter.h"
#include "mail/line_ends.h"
#include "mail/seven_bit.h"
#include "util/text.h"

namespace {

using namespace sternpost;
using namespace sternpost::mail;

struct Filtered {
    std::string out;
    Repairs repairs;
    std::size_t longest = 0;
    bool eight_bit = false;
};

Filtered filter(std::string_view message, std::size_t piece) {
    HeaderRules rules;
    rules.drop_private = rules.drop_mbox_line = rules.repair = true;
    rules.from = "a@host.example";
    rules.date = "Mon, 23 Nov 2026 16:49:39 +0000";
    rules.message_id = "1.2@host.example";
    rules.domain = "host.example";
    HeaderFilter header(rules);
    Filtered out;
    while (!message.empty()) {
        header.feed(message.substr(0, piece), out.out);
        message.remove_prefix(std::min(piece, message.size()));
    }
    header.finish(out.out);
    out.repairs = header.repairs();
    out.longest = header.longest_line();
    out.eight_bit = header.eight_bit();
    return out;
}

bool bare_line_end(std::string_view text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n')) return true;
        if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) return true;
    }
    return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return 0;
    const std::size_t piece = *data % 32U + 1U;
    std::string message;
    LineEnds ends;
    ends.feed({reinterpret_cast<const char*>(data) + 1, size - 1}, message);
    ends.finish(message);

    for (const auto& field : read_header(message).fields) {
        Repairs none;
        if (is_plainly_sound(field.whole) &&
            (repaired(field.whole, "host.example", none) != field.whole || !(none == Repairs())))
            std::abort();
    }

    const Filtered once = filter(message, message.size() + 1);
    const Filtered cut = filter(message, piece);
    if (cut.out != once.out || !(cut.repairs == once.repairs) || cut.longest != once.longest) std::abort();
    if (bare_line_end(once.out)) std::abort();
    if (once.repairs == Repairs() && once.repairs.text() != "none") std::abort();
    const Header header = read_header(once.out);
    const std::string_view head = std::string_view(once.out).substr(0, header.end);
    if (once.repairs.too_long.empty() && has_long_line(head)) std::abort();
    if (!is_ascii(head) && !once.repairs.utf8_address) std::abort();
    // Each octet may become two characters, each of these its part of an encoded-word, and each bare name
    // gets a domain.
    if (once.out.size() > 16 * message.size() + 1024) std::abort();
    const Filtered twice = filter(once.out, piece);
    if (twice.out != once.out) std::abort();  // what was corrected is correct
    if (twice.repairs.latin1 || twice.repairs.qualified || twice.repairs.encoded) std::abort();

    if (!once.repairs.too_long.empty() || once.longest <= max_line) return 0;
    const auto shorter = to_short_lines(once.out);
    if (!shorter) return 0;
    if (has_long_line(*shorter) || bare_line_end(*shorter)) std::abort();
    if (to_short_lines(*shorter) != *shorter) std::abort();
    return 0;
}
