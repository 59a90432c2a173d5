// What a host says: replies, and what its EHLO reply offers (RFC 5321 §4.2, §4.1.1.1). Input: an octet that
// says where the stream is cut, then the stream.
#include <cstdlib>

#include "smtp/extensions.h"
#include "smtp/reply.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace sternpost::smtp;
    if (size < 1) return 0;
    const std::string stream(reinterpret_cast<const char*>(data) + 1, size - 1);
    const auto read = [](ReplyParser& parser, std::vector<Reply>& out) {
        for (;;) {
            auto reply = parser.next();
            if (!reply) return false;
            if (!*reply) return true;
            if ((*reply)->lines.size() > 100) std::abort();
            (void)Extensions::parse(**reply);
            (void)(*reply)->enhanced();
            if ((*reply)->text().empty()) std::abort();
            out.push_back(std::move(**reply));
        }
    };
    std::vector<Reply> whole;
    ReplyParser at_once;
    at_once.feed(stream);
    const bool sound = read(at_once, whole);
    // However it is cut, it reads the same.
    std::vector<Reply> pieces;
    ReplyParser in_two;
    const std::size_t cut = stream.empty() ? 0 : *data % stream.size();
    in_two.feed(stream.substr(0, cut));
    bool sound_too = read(in_two, pieces);
    if (sound_too) {
        in_two.feed(stream.substr(cut));
        sound_too = read(in_two, pieces);
    }
    for (const auto stage : {Stage::connect, Stage::greeting, Stage::helo, Stage::starttls, Stage::handshake,
                             Stage::mail, Stage::rcpt, Stage::data, Stage::body, Stage::dot, Stage::quit})
        if (name_of(stage).empty()) std::abort();
    if (sound != sound_too || whole.size() != pieces.size()) std::abort();
    for (std::size_t i = 0; i < whole.size(); ++i)
        if (!(whole[i] == pieces[i])) std::abort();
    return 0;
}
