#include "smtp/dialogue.h"

#include "util/text.h"

namespace sternpost::smtp {
namespace {

constexpr std::size_t max_first = 2048;  // ours, all three: what a person reads
constexpr std::size_t max_last = 2000;
constexpr std::size_t max_line = 256;

}  // namespace

void Dialogue::add(std::string_view who, std::string_view octets) {
    while (!octets.empty()) {
        const auto end = octets.find('\n');
        std::string_view line = octets.substr(0, end);
        octets = end == std::string_view::npos ? std::string_view() : octets.substr(end + 1);
        if (line.ends_with('\r')) line.remove_suffix(1);
        keep(std::string(who) + printable(line, max_line) + "\n");
    }
}

void Dialogue::note(std::string_view text) {
    keep("(" + printable(text, max_line) + ")\n");
}

void Dialogue::keep(std::string line) {
    if (last_.empty() && first_.size() + line.size() <= max_first) {
        first_ += line;
        return;
    }
    last_octets_ += line.size();
    last_.push_back(std::move(line));
    while (last_octets_ > max_last) {
        last_octets_ -= last_.front().size();
        last_.pop_front();
        ++left_out_;
    }
}

std::string Dialogue::text() const {
    std::string out = first_;
    if (left_out_ > 0) out += "(" + std::to_string(left_out_) + " lines left out)\n";
    for (const auto& line : last_) out += line;
    return out;
}

}  // namespace sternpost::smtp
