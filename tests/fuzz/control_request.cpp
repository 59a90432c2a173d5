// The lines of the administrator's socket, in both directions: a request as the daemon reads it, an answer, a
// piece of one and a progress line as the caller reads them.
#include <cstdlib>

#include "admin/queue.h"
#include "control/json.h"
#include "control/protocol.h"

using namespace sternpost;

namespace {

bool is_one_line(const std::string& text) {
    return !text.empty() && text.find('\n') == text.size() - 1;
}

void request(std::string_view line) {
    const auto read = control::request_of(line);
    if (!read) return;
    const auto again = control::request_of(control::json::serialize(read->object));
    if (!again || again->progress != read->progress || again->parts != read->parts) std::abort();
    // whatever an administrator's request holds is read without trouble, and what is read is kept
    const auto typed = control::from_json<admin::ActionRequest>(read->object);
    const control::json::value written = control::to_json(typed);
    if (control::to_json(control::from_json<admin::ActionRequest>(written)) != written) std::abort();
}

void answer(std::string_view line) {
    const control::Answer read = control::answer_of(line);
    const std::string written = control::to_line(read);
    if (!is_one_line(written)) std::abort();  // else the next line would be taken for another answer
    const control::Answer again = control::answer_of(written);
    if (again.code != read.code || again.text != read.text) std::abort();
    // Success is never made up.
    if (read.code == control::ExitCode::done && line.find("\"code\"") == std::string_view::npos &&
        line.find('\\') == std::string_view::npos)
        std::abort();

    if (auto so_far = control::progress_of(line)) {
        const std::string progress = control::progress_line(*so_far);
        if (!is_one_line(progress) || !progress.starts_with(control::progress_begin)) std::abort();
    }
    if (auto piece = control::part_of(line)) {
        const std::string part = control::part_line(*piece);
        if (!is_one_line(part) || !part.starts_with(control::part_begin)) std::abort();
        control::json::value data = control::json::object();
        control::join_parts(data, *piece);
        control::json::value twice = data;
        control::join_parts(twice, std::move(*piece));
        for (const auto& [key, value] : data.as_object())
            if (twice.as_object().at(key).as_array().size() != 2 * value.as_array().size()) std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view line(reinterpret_cast<const char*>(data), size);
    request(line);
    answer(line);
    return 0;
}
