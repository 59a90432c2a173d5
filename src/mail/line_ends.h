// Line ends from anywhere, made CRLF: programs on Unix write LF, mail is CRLF (RFC 5321 §2.3.8).
#pragma once

#include <string>
#include <string_view>

namespace sternpost::mail {

/// LF, CRLF and a CR that stands alone each become one CRLF. Octets in, octets out, however they are cut; a
/// CRLF is never cut in `out`.
class LineEnds {
  public:
    void feed(std::string_view octets, std::string& out);
    /// The end of the text: a last line without an end gets one (RFC 5321 §4.1.1.4).
    void finish(std::string& out);

  private:
    bool after_cr_ = false;  // a CR was read whose line end is not written yet
    bool in_line_ = false;
};

}  // namespace sternpost::mail
