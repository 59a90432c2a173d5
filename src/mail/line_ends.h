// Line ends from anywhere, made CRLF: programs on Unix write LF, mail is CRLF (RFC 5321 §2.3.8).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sternpost::mail {

/// The longest run of CRs that is taken for one line end with the LF behind it: what is held back stays
/// bounded. Ours.
constexpr std::size_t max_crs = 1000;

/// LF, CRLF, a CR that stands alone, and a run of CRs with an LF behind it each become one CRLF. Octets in,
/// octets out, however they are cut; a CRLF is never cut in `out`.
class LineEnds {
  public:
    void feed(std::string_view octets, std::string& out);
    /// The end of the text: a last line without an end gets one (RFC 5321 §4.1.1.4).
    void finish(std::string& out);

  private:
    std::size_t crs_ = 0;  // CRs that were read and whose line ends are not written yet
    bool in_line_ = false;
};

}  // namespace sternpost::mail
