// The octets after DATA: where the mail data ends, dots unstuffed, line ends made CRLF. What to refuse is
// server's decision.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sternpost::smtp {

/// Reads one message's DATA stream, however it is cut. Only `<CRLF>.<CRLF>` ends it (RFC 5321 §4.1.1.4):
/// every relative of it
/// (`<LF>.<LF>`, `<CR><CR><LF>.<CR><CR><LF>` …) is content, which is what keeps a second message from being
/// smuggled in.
class DataReader {
  public:
    /// any: lines, and so the end, may also be `<LF>.<LF>`: where all of the stream is one local program's.
    enum class Lines { crlf, any };
    explicit DataReader(Lines lines = Lines::crlf) : lines_(lines) {}

    /// Appends the message octets in `stream` to `out`; returns how many octets of `stream` were used. That
    /// is all of them, unless the end was among them: what follows are commands again. Not to be called after
    /// that.
    std::size_t feed(std::string_view stream, std::string& out);

    bool ended() const { return state_ == State::ended; }
    /// A CR without LF or an LF without CR was seen (RFC 5321 §2.3.8); in `out` each became CRLF, and a run
    /// of CRs with an LF behind it one CRLF, as in mail::LineEnds.
    bool bare_line_end() const { return bare_line_end_; }
    bool nul() const { return nul_; }

  private:
    void line_break(std::string& out, bool bare);
    std::size_t take_text(std::string_view rest, std::string& out);

    // line_start is only what truly follows CRLF (the one of the DATA command too): after a bare CR or LF a
    // dot is text.
    enum class State { line_start, text, cr, dot, dot_cr, ended };

    Lines lines_;
    State state_ = State::line_start;
    std::size_t crs_ = 0;  // in the state cr: how many
    bool bare_line_end_ = false;
    bool nul_ = false;
};

}  // namespace sternpost::smtp
