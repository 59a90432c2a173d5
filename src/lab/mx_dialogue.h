// What an MX host of the lab says: SMTP's receiving side with the faults that its MxHost asks for. Shares no
// code with the sending side.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "lab/world.h"

namespace sternpost::lab {

namespace say {
struct NeedInput {};
struct Send {
    std::string octets;
};
struct StartTls {};  // shake hands, then tls_started()
struct Message {     // taken, and the peer told so next
    std::string helo;
    std::string reverse_path;
    std::string parameters;  // of MAIL
    std::vector<std::string> recipients;
    std::string octets;
};
struct Hang {};  // say nothing more, take what comes
struct Close {
    bool abrupt = false;  // without TLS's close_notify
};                        // end the connection
}  // namespace say

using Turn = std::variant<say::NeedInput, say::Send, say::StartTls, say::Message, say::Hang, say::Close>;

/// One session. Follows changes of `host` from command to command. Bounded: a command line, a message.
class MxDialogue {
  public:
    /// `host` must outlive the dialogue.
    MxDialogue(const MxHost& host, std::string name);

    /// Octets from the peer; only when next() said NeedInput.
    void feed(std::string_view octets) { in_ += octets; }
    Turn next();
    void tls_started();

    /// Commands and replies since the last call, as `C: …` and `S: …`.
    std::vector<std::string> take_lines() { return std::exchange(lines_, {}); }

  private:
    void command(const std::string& line);
    void hello(std::string_view argument, bool extended);
    void start_tls();
    void recipient(std::string_view argument);
    bool read_data();
    /// Says `told`, or `usual` where it is empty; whether that was a positive reply.
    bool speak(const Say& told, const std::string& usual);
    void send(std::string octets);
    void reset();

    const MxHost& host_;
    std::string name_;
    std::string in_;
    std::deque<Turn> turns_;
    std::vector<std::string> lines_;
    bool encrypted_ = false;
    bool in_data_ = false;
    bool ended_ = false;
    std::string helo_;
    bool in_transaction_ = false;
    say::Message message_;
};

}  // namespace sternpost::lab
