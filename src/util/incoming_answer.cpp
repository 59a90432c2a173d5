#include "util/incoming_answer.h"

#include "util/text.h"

namespace sternpost::util {
namespace {

constexpr std::uint64_t beside_the_body = 65536;
constexpr std::size_t max_content_type = 256;  // ours: enough for a type with parameters

}  // namespace

std::uint64_t IncomingAnswer::budget_of(std::size_t max_body) {
    return std::uint64_t{max_body} + max_body / 4 + beside_the_body;
}

bool IncomingAnswer::received(std::size_t octets) {
    const std::uint64_t room = budget_of(max_body_) - received_;
    if (octets > room) over_budget_ = true;
    if (!over_budget_) received_ += octets;
    return !over_budget_;
}

void IncomingAnswer::header_line(std::string_view line) {
    if (line.starts_with("HTTP/")) content_type_.reset();  // a new answer begins (after 100)
    constexpr std::string_view name = "content-type:";
    if (!istarts_with(line, name)) return;
    std::string_view value = line.substr(name.size());
    while (value.ends_with('\n') || value.ends_with('\r')) value.remove_suffix(1);
    content_type_ = std::string(trimmed(value).substr(0, max_content_type));
}

bool IncomingAnswer::body_piece(std::string_view piece) {
    if (body_too_big_ || piece.size() > max_body_ - body_.size()) {
        body_too_big_ = true;
        return false;
    }
    body_.append(piece);
    return true;
}

std::string IncomingAnswer::excess() const {
    return body_too_big_ ? "the body is larger than " + std::to_string(max_body_) + " octets"
                         : "the whole answer, with header and trailer fields, is larger than " +
                               std::to_string(budget_of(max_body_)) + " octets";
}

}  // namespace sternpost::util
