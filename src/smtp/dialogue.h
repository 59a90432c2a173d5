// What was said in a session, kept short for people: commands and replies, never message text.
#pragma once

#include <deque>
#include <string>
#include <string_view>

namespace sternpost::smtp {

/// Keeps the first lines and the last ones, at most 4 KiB in all; a line is cut at 256 octets.
class Dialogue {
  public:
    void sent(std::string_view octets) { add("C: ", octets); }
    void received(std::string_view line) { add("S: ", line); }
    /// Something that is no line of the protocol: `(TLS 1.3, certificate for mx1.example.com)`.
    void note(std::string_view text);
    std::string text() const;

  private:
    void add(std::string_view who, std::string_view octets);
    void keep(std::string line);

    std::string first_;
    std::deque<std::string> last_;
    std::size_t last_octets_ = 0;
    std::size_t left_out_ = 0;
};

}  // namespace sternpost::smtp
