#include "lab/mx_dialogue.h"

#include "util/text.h"

namespace sternpost::lab {
namespace {

constexpr std::size_t max_line = 4096;  // ours; RFC 5321 §4.5.3.1.4 asks for 512
constexpr std::size_t max_message = 64UL << 20U;
constexpr std::size_t max_recipients = 10000;
constexpr std::size_t max_lines = 1000;  // between two looks at them

// What stands between `<` and `>`, or up to a blank where a client left them out.
std::string path_of(std::string_view argument) {
    argument = trimmed(argument);
    if (argument.starts_with('<')) {
        const auto end = argument.find('>');
        return std::string(argument.substr(1, end == std::string_view::npos ? end : end - 1));
    }
    return std::string(argument.substr(0, argument.find(' ')));
}

}  // namespace

MxDialogue::MxDialogue(const MxHost& host, std::string name) : host_(host), name_(std::move(name)) {
    speak(host_.greeting, "220 " + name_ + " ESMTP sternpost-lab");
}

void MxDialogue::send(std::string octets) {
    if (lines_.size() < max_lines)
        for (const auto line : split(octets, '\n'))
            if (!line.empty()) lines_.push_back("S: " + printable(line.substr(0, line.find('\r'))));
    turns_.emplace_back(say::Send{std::move(octets)});
}

bool MxDialogue::speak(const Say& told, const std::string& usual) {
    const std::string& text = told.usual() ? usual : told.text;
    if (text == "cut") {  // a reply that has neither its line end nor, in TLS, an end of data
        lines_.emplace_back("-- cut");
        ended_ = true;
        turns_.emplace_back(say::Send{usual});
        turns_.emplace_back(say::Close{true});
        return false;
    }
    if (text == "hang" || text == "drop") {
        lines_.push_back("-- " + text);
        ended_ = true;
        if (text == "hang")
            turns_.emplace_back(say::Hang{});
        else
            turns_.emplace_back(say::Close{});
        return false;
    }
    send(text + "\r\n");
    if (text.starts_with("421")) ended_ = true;  // RFC 5321 §3.8
    return told.positive();
}

Turn MxDialogue::next() {
    for (;;) {
        if (!turns_.empty()) {
            Turn turn = std::move(turns_.front());
            turns_.pop_front();
            return turn;
        }
        if (ended_) return say::Close{};
        if (in_data_) {
            if (!read_data()) return say::NeedInput{};
            continue;
        }
        const auto end = in_.find('\n');
        if (end == std::string::npos) {
            if (in_.size() <= max_line) return say::NeedInput{};
            send("500 5.5.2 line too long\r\n");
            ended_ = true;
            continue;
        }
        std::string line = in_.substr(0, end);
        in_.erase(0, end + 1);
        if (line.ends_with('\r')) line.pop_back();
        if (lines_.size() < max_lines) lines_.push_back("C: " + printable(line));
        command(line);
    }
}

void MxDialogue::reset() {
    message_ = {};
    in_transaction_ = false;
}

void MxDialogue::tls_started() {
    encrypted_ = true;
    helo_.clear();  // the client begins again (RFC 3207 §4.2)
    in_.clear();
    reset();
}

void MxDialogue::command(const std::string& line) {
    const auto blank = line.find(' ');
    const std::string verb = lowered(line.substr(0, blank));
    const std::string argument = blank == std::string::npos ? "" : line.substr(blank + 1);
    if (verb == "ehlo" || verb == "helo") return hello(argument, verb == "ehlo");
    if (verb == "starttls") return start_tls();
    if (verb == "noop") return send("250 2.0.0 ok\r\n");
    if (verb == "rset") {
        reset();
        return send("250 2.0.0 ok\r\n");
    }
    if (verb == "quit") {
        send("221 2.0.0 bye\r\n");
        ended_ = true;
        return;
    }
    if (verb == "mail" && istarts_with(argument, "FROM:")) {
        if (helo_.empty()) return send("503 5.5.1 say EHLO first\r\n");
        if (in_transaction_) return send("503 5.5.1 one transaction at a time\r\n");
        message_.reverse_path = path_of(std::string_view(argument).substr(5));
        if (const auto end = argument.find("> "); end != std::string::npos)
            message_.parameters = argument.substr(end + 2);
        in_transaction_ = speak(host_.mail, "250 2.1.0 ok");
        return;
    }
    if (verb == "rcpt" && istarts_with(argument, "TO:"))
        return recipient(std::string_view(argument).substr(3));
    if (verb == "data") {
        if (message_.recipients.empty()) return send("554 5.5.1 no valid recipients\r\n");
        in_data_ = speak(host_.data, "354 go on, end with a dot");
        return;
    }
    send("502 5.5.2 command not known\r\n");
}

void MxDialogue::hello(std::string_view argument, bool extended) {
    reset();
    std::string usual = "250 " + name_;
    if (extended) {
        std::vector<std::string> offers =
            encrypted_ && host_.extensions_in_tls ? *host_.extensions_in_tls : host_.extensions;
        const RequireTls promised = host_.requiretls;
        if (promised == RequireTls::always ||
            promised == (encrypted_ ? RequireTls::after : RequireTls::before))
            offers.emplace_back("REQUIRETLS");
        if (!encrypted_ && host_.starttls != StartTls::none) offers.emplace_back("STARTTLS");
        usual = (offers.empty() ? "250 " : "250-") + name_;
        for (std::size_t i = 0; i < offers.size(); ++i)
            usual += (i + 1 == offers.size() ? "\r\n250 " : "\r\n250-") + offers[i];
    }
    if (speak(host_.ehlo, usual)) helo_ = std::string(argument);
}

void MxDialogue::start_tls() {
    if (encrypted_) return send("503 5.5.1 it is on\r\n");
    switch (host_.starttls) {
        case StartTls::offered:
            if (speak(host_.starttls_reply, "220 2.0.0 go ahead")) turns_.emplace_back(say::StartTls{});
            break;
        case StartTls::none:
            send("502 5.5.2 command not known\r\n");
            break;
        case StartTls::refused:
            send("454 4.7.0 TLS not available\r\n");
            break;
        case StartTls::injected:
            send("220 2.0.0 go ahead\r\n250-" + name_ + "\r\n250 INJECTED\r\n");
            turns_.emplace_back(say::StartTls{});
            break;
        case StartTls::garbage:
            send("220 2.0.0 go ahead\r\n");
            send("this is not TLS\r\n");
            ended_ = true;
            break;
        case StartTls::drop:
            lines_.emplace_back("-- drop");
            ended_ = true;
            break;
    }
}

void MxDialogue::recipient(std::string_view argument) {
    if (!in_transaction_) return send("503 5.5.1 say MAIL first\r\n");
    if (message_.recipients.size() >= max_recipients) return send("452 4.5.3 too many recipients\r\n");
    std::string path = path_of(argument);
    const auto own = host_.rcpt_to.find(lowered(path.substr(0, path.rfind('@'))));
    if (speak(own != host_.rcpt_to.end() ? own->second : host_.rcpt, "250 2.1.5 ok"))
        message_.recipients.push_back(std::move(path));
}

// Only <CRLF>.<CRLF> ends the data (RFC 5321 §4.1.1.4). Whether there was a whole line to take.
bool MxDialogue::read_data() {
    std::size_t at = 0;
    for (;;) {
        const auto end = in_.find("\r\n", at);
        if (end == std::string::npos) {
            in_.erase(0, at);
            if (message_.octets.size() + in_.size() <= max_message) return false;
            send("552 5.3.4 message too big\r\n");
            ended_ = true;
            return true;
        }
        std::string_view line = std::string_view(in_).substr(at, end - at);
        const bool dot = line == ".";
        if (!dot) {
            if (line.starts_with('.')) line.remove_prefix(1);
            message_.octets.append(line).append("\r\n");
        }
        at = end + 2;
        if (!dot) continue;
        in_.erase(0, at);
        lines_.push_back("-- " + std::to_string(message_.octets.size()) + " octets of message");
        in_data_ = false;
        message_.helo = helo_;
        if (host_.dot.positive()) turns_.emplace_back(std::move(message_));
        speak(host_.dot, "250 2.0.0 taken");
        reset();
        return true;
    }
}

}  // namespace sternpost::lab
