// Message octets to DATA octets: a dot more at each line's dot, the final dot (RFC 5321 §4.5.2).
#pragma once

#include <string>
#include <string_view>

namespace sternpost::smtp {

class DotStuffer {
  public:
    /// The DATA form of the next piece of a message with CRLF line ends; pieces may be cut anywhere.
    std::string stuff(std::string_view octets) {
        std::string out;
        out.reserve(octets.size() + octets.size() / 32);
        std::size_t from = 0;
        for (std::size_t i = 0; i < octets.size(); ++i) {
            if (at_line_start_ && octets[i] == '.') {
                out += octets.substr(from, i - from);
                out += '.';
                from = i;
            }
            at_line_start_ = octets[i] == '\n';
        }
        out += octets.substr(from);
        return out;
    }
    /// What ends the data: the last line's own CRLF is used where there is one (RFC 5321 §4.1.1.4).
    std::string_view end() const { return at_line_start_ ? ".\r\n" : "\r\n.\r\n"; }

  private:
    bool at_line_start_ = true;
};

}  // namespace sternpost::smtp
