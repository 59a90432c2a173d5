#include "smtp/data_reader.h"

#include <algorithm>
#include <cassert>

#include "mail/line_ends.h"

namespace sternpost::smtp {

void DataReader::line_break(std::string& out, bool bare) {
    out += "\r\n";
    bare_line_end_ |= bare;
}

// Inside a line, up to its end: how much of `rest` that is.
std::size_t DataReader::take_text(std::string_view rest, std::string& out) {
    if (rest.front() == '\r') {
        state_ = State::cr;
        crs_ = 1;
        return 1;
    }
    if (lines_ == Lines::any) {
        if (rest.front() == '\n') {
            line_break(out, true);
            state_ = State::line_start;
            return 1;
        }
        const auto end = std::min(rest.find_first_of("\r\n"), rest.size());
        out += rest.substr(0, end);
        return end;
    }
    // up to the next CR in one go; bare LFs are rare enough to be looked for in a second sweep
    std::string_view run = rest.substr(0, rest.find('\r'));
    const std::size_t taken = run.size();
    for (auto lf = run.find('\n'); lf != std::string_view::npos; lf = run.find('\n')) {
        out += run.substr(0, lf);
        line_break(out, true);
        run.remove_prefix(lf + 1);
    }
    out += run;
    return taken;
}

std::size_t DataReader::feed(std::string_view stream, std::string& out) {
    assert(!ended());
    const std::size_t before = out.size();
    std::size_t i = 0;
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
            case State::text:
                i += take_text(stream.substr(i), out);
                break;
            case State::cr:
                if (c == '\r' && crs_ < mail::max_crs) {
                    ++crs_;
                    ++i;
                    break;
                }
                bare_line_end_ |= crs_ > 1;
                for (std::size_t n = c == '\n' ? 1 : crs_; n > 0; --n) line_break(out, c != '\n');
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
