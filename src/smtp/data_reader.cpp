#include "smtp/data_reader.h"

#include <algorithm>
#include <cassert>

#include "mail/line_ends.h"

namespace sternpost::smtp {

std::size_t DataReader::feed(std::string_view stream, std::string& out) {
    assert(!ended());
    const std::size_t before = out.size();
    std::size_t i = 0;
    const auto line_break = [&](bool bare) {
        out += "\r\n";
        bare_line_end_ |= bare;
    };
    while (i < stream.size() && state_ != State::ended) {
        const char c = stream[i];
        switch (state_) {
            case State::line_start:
                if (c == '.') {
                    state_ = State::dot;
                    ++i;
                } else {
                    state_ = State::text;
                }
                break;
            case State::text: {
                if (c == '\r') {
                    state_ = State::cr;
                    crs_ = 1;
                    ++i;
                    break;
                }
                if (lines_ == Lines::any && c == '\n') {
                    line_break(true);
                    state_ = State::line_start;
                    ++i;
                    break;
                }
                if (lines_ == Lines::any) {
                    const auto end = std::min(stream.find_first_of("\r\n", i), stream.size());
                    out += stream.substr(i, end - i);
                    i = end;
                    break;
                }
                // up to the next CR in one go; bare LFs are rare enough to be looked for in a second sweep
                std::string_view run = stream.substr(i, stream.find('\r', i) - i);
                i += run.size();
                for (auto lf = run.find('\n'); lf != std::string_view::npos; lf = run.find('\n')) {
                    out += run.substr(0, lf);
                    line_break(true);
                    run.remove_prefix(lf + 1);
                }
                out += run;
                break;
            }
            case State::cr:
                if (c == '\r' && crs_ < mail::max_crs) {
                    ++crs_;
                    ++i;
                    break;
                }
                bare_line_end_ |= crs_ > 1;
                for (std::size_t n = c == '\n' ? 1 : crs_; n > 0; --n) line_break(c != '\n');
                state_ = c == '\n' ? State::line_start : State::text;  // which looks at `c` again
                if (c == '\n') ++i;
                break;
            case State::dot:  // RFC 5321 §4.5.2: a leading dot goes, whatever follows it
                if (lines_ == Lines::any && c == '\n') {
                    state_ = State::ended;
                    ++i;
                    break;
                }
                state_ = c == '\r' ? State::dot_cr : State::text;
                if (c == '\r') ++i;
                break;
            case State::dot_cr:
                if (c == '\n') {
                    state_ = State::ended;
                    ++i;
                } else {  // a line that begins `.<CR>`: the CR is a bare one
                    bare_line_end_ = true;
                    crs_ = 1;
                    state_ = State::cr;
                }
                break;
            case State::ended:
                break;
        }
    }
    nul_ |= out.find('\0', before) != std::string::npos;
    return i;
}

}  // namespace sternpost::smtp
