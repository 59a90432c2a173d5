#include "dkim/canon.h"

#include <new>
#include <utility>

#include "util/text.h"

namespace sternpost::dkim {
namespace {

constexpr std::size_t most_waiting = 64UL << 10U;  // ours: canonical octets that one call of the hash gets

bool blank(char c) {
    return c == ' ' || c == '\t';
}

}  // namespace

std::string canonical(const mail::Field& field, Form form) {
    if (form == Form::simple) {
        std::string out(field.whole);
        if (!out.ends_with("\r\n")) out += "\r\n";
        return out;
    }
    std::string out = lowered(field.name) + ":";
    bool gap = false;
    const std::size_t start = out.size();
    for (const char c : field.value) {
        if (c == '\r' || c == '\n') continue;  // unfolding takes the line ends and leaves the blanks
        if (blank(c)) {
            gap = true;
            continue;
        }
        if (gap && out.size() > start) out += ' ';
        gap = false;
        out += c;
    }
    return out + "\r\n";
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
    if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
}

void Sha256::feed(std::string_view octets) {
    if (EVP_DigestUpdate(context_.get(), octets.data(), octets.size()) != 1) throw std::bad_alloc();
}

Digest Sha256::finish() {
    Digest out{};
    if (EVP_DigestFinal_ex(context_.get(), out.data(), nullptr) != 1) throw std::bad_alloc();
    return out;
}

void BodyHash::put(std::string_view octets) {
    out_ += octets;
    any_ = true;
    if (out_.size() >= most_waiting) flush();
}

void BodyHash::flush() {
    hash_.feed(out_);
    out_.clear();
}

void BodyHash::text(std::string_view run) {
    for (; line_ends_ > 0; --line_ends_) put("\r\n");
    if (std::exchange(blanks_, false)) put(" ");
    put(run);
}

void BodyHash::feed(std::string_view octets) {
    const std::string_view special = form_ == Form::relaxed ? " \t\r" : "\r";
    while (!octets.empty()) {
        const char c = octets.front();
        if (std::exchange(cr_, false)) {
            if (c == '\n') {
                blanks_ = false;  // at the end of a line they are no part of it
                ++line_ends_;
                octets.remove_prefix(1);
                continue;
            }
            text("\r");  // a bare one is an octet like others
        }
        if (c == '\r') {
            cr_ = true;
            octets.remove_prefix(1);
        } else if (form_ == Form::relaxed && blank(c)) {
            blanks_ = true;
            octets.remove_prefix(1);
        } else {
            const auto run = octets.substr(0, octets.find_first_of(special));
            text(run);
            octets.remove_prefix(run.size());
        }
    }
}

Digest BodyHash::finish() {
    if (std::exchange(cr_, false)) text("\r");
    if (any_ || form_ == Form::simple) put("\r\n");
    flush();
    return hash_.finish();
}

}  // namespace sternpost::dkim
