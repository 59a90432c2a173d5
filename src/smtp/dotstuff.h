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
        if (octets.empty()) return out;
        if (at_line_start_ && octets.front() == '.') out += '.';
        at_line_start_ = octets.back() == '\n';
        for (auto end = octets.find("\n."); end != std::string_view::npos; end = octets.find("\n.")) {
            out += octets.substr(0, end + 1);
            out += '.';
            octets.remove_prefix(end + 1);  // begins with its dot, which is no line's end
        }
        out += octets;
        return out;
    }
    /// What ends the data: the last line's own CRLF is used where there is one (RFC 5321 §4.1.1.4).
    std::string_view end() const { return at_line_start_ ? ".\r\n" : "\r\n.\r\n"; }

  private:
    bool at_line_start_ = true;
};

}  // namespace sternpost::smtp
