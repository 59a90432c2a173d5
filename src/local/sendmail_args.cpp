#include "local/sendmail_args.h"

#include <algorithm>

#include "mail/header.h"
#include "util/text.h"

namespace sternpost::local {
namespace {

constexpr std::string_view with_value = "ABCFLNORVXbefhopr";  // attached or the next word
constexpr std::string_view with_attached_value = "dq";        // attached or none
constexpr std::string_view flags = "GIUcimntvx";
constexpr std::size_t max_envid = 100;  // RFC 3461 §4.4
constexpr std::size_t max_name = 200;   // ours: of a person

template <class T>
using Parsed = Expected<T, Exit>;

// A bare name is judged as the local-part that it will be (RFC 5321 §4.1.2).
bool is_path(std::string_view text) {
    const std::string whole =
        text.find('@') == std::string_view::npos ? std::string(text) + "@localhost" : std::string(text);
    return mail::ForwardPath::parse(whole, true).has_value();
}

class Parser {
  public:
    explicit Parser(std::span<const std::string_view> words) : words_(words) {}

    Parsed<Arguments> parse(std::string_view program) {
        const std::string_view name = program.substr(program.rfind('/') + 1);
        if (name == "mailq") out_.mode = Mode::list_queue;
        if (name == "newaliases") out_.mode = Mode::do_nothing;
        for (; at_ < words_.size(); ++at_) {
            const std::string_view word = words_[at_];
            Parsed<void> done;
            if (word == "--help")
                out_.mode = Mode::help;
            else if (word == "--version")
                out_.mode = Mode::version;
            else if (word == "--" && !options_ended_)
                options_ended_ = true;
            else if (word.size() > 1 && word[0] == '-' && !options_ended_)
                done = cluster(word.substr(1));
            else
                done = recipient(word);
            if (!done) return fail(std::move(done).error());
        }
        if (out_.mode == Mode::verify && out_.recipients.empty())
            return fail(Exit::usage, "-bv needs an address");
        if (out_.mode == Mode::send && out_.recipients.empty() && !out_.recipients_from_header)
            return fail(Exit::usage, "no recipients: name them, or use -t to read them from the header");
        return std::move(out_);
    }

  private:
    // `-ti`, `-fbob`, `-oi`: letters up to one that takes a value, which is the rest or the next word.
    Parsed<void> cluster(std::string_view letters) {
        for (; !letters.empty(); letters.remove_prefix(1)) {
            const char letter = letters[0];
            if (flags.find(letter) != std::string_view::npos) {
                flag(letter);
                continue;
            }
            std::string_view value = letters.substr(1);
            if (with_attached_value.find(letter) != std::string_view::npos) return option(letter, value);
            if (with_value.find(letter) == std::string_view::npos)
                return fail(Exit::usage, "unknown option -" + printable(letters.substr(0, 1)));
            if (value.empty()) {
                if (at_ + 1 == words_.size())
                    return fail(Exit::usage, std::string("option -") + letter + " needs a value");
                value = words_[++at_];
            }
            return option(letter, value);
        }
        return {};
    }

    void flag(
        char letter) {  // the others mean nothing here, and are taken for the sake of programs that use them
        if (letter == 't') out_.recipients_from_header = true;
        if (letter == 'i') out_.dot_ends = false;
        if (letter == 'G') out_.gateway = true;
        if (letter == 'I') out_.mode = Mode::do_nothing;
    }

    Parsed<void> option(char letter, std::string_view value) {
        switch (letter) {
            case 'f':
            case 'r':
                return reverse_path(value);
            case 'F':
                return full_name(value);
            case 'b':
                return mode(value);
            case 'o':
                if (value == "i" || (value.starts_with('i') && !istarts_with(value.substr(1), "f")))
                    out_.dot_ends = false;
                return {};
            case 'O':
                return long_option(value);
            case 'B':
                if (!iequals(value, "7BIT") && !iequals(value, "8BITMIME"))
                    return fail(Exit::usage, "-B takes 7BIT or 8BITMIME, not " + printable(value, 40));
                out_.body =
                    iequals(value, "7BIT") ? mail::BodyType::seven_bit : mail::BodyType::eight_bit_mime;
                return {};
            case 'N':
                if (const auto notify = parse_notify(value)) {
                    out_.notify = *notify;
                    return {};
                }
                return fail(Exit::usage, "-N takes never, or success, failure, delay between commas, not " +
                                             printable(value, 40));
            case 'R':
                if (const auto ret = parse_ret(value)) {
                    out_.ret = *ret;
                    return {};
                }
                return fail(Exit::usage, "-R takes full or hdrs, not " + printable(value, 40));
            case 'V':
                out_.envid = xtext(value);
                if (value.empty() || out_.envid.size() > max_envid)
                    return fail(Exit::usage, "-V takes 1 to 100 characters");
                return {};
            case 'q':
                // `-qI ID` as well as `-qIID`
                if ((value == "I" || value == "R" || value == "S") && at_ + 1 < words_.size())
                    return queue_run(std::string(value) + std::string(words_[++at_]));
                return queue_run(value);
            default:
                return {};  // -A -C -L -X -d -e -h -p: of no meaning here
        }
    }

    Parsed<void> mode(std::string_view value) {
        if (value == "p") {
            out_.mode = Mode::list_queue;
        } else if (value == "m") {
            out_.mode = Mode::send;
        } else if (value == "s") {
            out_.mode = Mode::smtp_session;
        } else if (value == "v") {
            out_.mode = Mode::verify;
        } else if (value == "i") {
            out_.mode = Mode::do_nothing;  // there is no alias database
        } else if (value == "d" || value == "D") {
            return fail(Exit::usage, "the daemon is sternpostd; start it by \"systemctl start sternpost\"");
        } else {
            return fail(Exit::usage, "mode -b" + printable(value, 20) + " is not supported");
        }
        return {};
    }

    Parsed<void> queue_run(std::string_view value) {
        const char kind = value.empty() ? '\0' : value[0];
        const std::string_view rest = value.substr(value.empty() ? 0 : 1);
        if (value.empty() || value == "f") {  // f: in the foreground
            out_.mode = Mode::run_queue;
            out_.retry = {"--all"};
        } else if ((kind >= '0' && kind <= '9') || kind == 'p') {
            out_.mode = Mode::do_nothing;  // an interval: the daemon has its own schedule
        } else if (kind == 'I' && !rest.empty()) {
            if (!store::MessageId::parse(rest))
                return fail(Exit::usage, "not a queue id: " + printable(rest, 40));
            out_.mode = Mode::run_queue;
            out_.retry = {std::string(rest)};
        } else if ((kind == 'R' || kind == 'S') && !rest.empty()) {
            out_.mode = Mode::run_queue;
            out_.retry = {(kind == 'R' ? "--recipient=" : "--from=") + std::string(rest)};
        } else {
            return fail(Exit::usage,
                        "-q" + printable(value, 40) + " is not supported; see \"sternpost queue retry\"");
        }
        return {};
    }

    Parsed<void> reverse_path(std::string_view value) {
        value = trimmed(value);
        if (value.empty() || value == "<>") {
            out_.reverse_path = "";
            return {};
        }
        const auto parsed = mail::addresses(value);
        if (!parsed || parsed->size() != 1 || !is_path(parsed->front()))
            return fail(Exit::usage, "not an address: " + printable(value));
        out_.reverse_path = parsed->front();
        return {};
    }

    Parsed<void> full_name(std::string_view value) {
        const bool control = std::any_of(value.begin(), value.end(), [](char c) {
            return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
        });
        if (control || value.size() > max_name || !valid_utf8(value))
            return fail(Exit::usage, "-F takes a name of at most 200 octets of UTF-8");
        out_.full_name = value;
        return {};
    }

    // Two long options are promises, and so not to be misread in silence; all others are dropped.
    Parsed<void> long_option(std::string_view option) {
        const auto equals = option.find('=');
        const std::string_view name = trimmed(option.substr(0, equals));
        const std::string_view value =
            equals == std::string_view::npos ? std::string_view() : trimmed(option.substr(equals + 1));
        if (iequals(name, "requiretls")) {
            if (!iequals(value, "yes") && !iequals(value, "no"))
                return fail(Exit::usage, "-O requiretls takes yes or no, not " + printable(value, 40));
            out_.requiretls = iequals(value, "yes");
        } else if (iequals(name, "smtputf8")) {
            if (iequals(value, "auto"))
                out_.smtputf8 = Utf8Wish::automatic;
            else if (iequals(value, "yes"))
                out_.smtputf8 = Utf8Wish::yes;
            else if (iequals(value, "no"))
                out_.smtputf8 = Utf8Wish::no;
            else
                return fail(Exit::usage, "-O smtputf8 takes yes, no or auto, not " + printable(value, 40));
        }
        return {};
    }

    Parsed<void> recipient(std::string_view word) {
        auto parsed = parse_recipients(word);
        if (!parsed) return fail(std::move(parsed).error());
        out_.recipients.insert(out_.recipients.end(), parsed->begin(), parsed->end());
        return {};
    }

    std::span<const std::string_view> words_;
    std::size_t at_ = 0;
    bool options_ended_ = false;
    Arguments out_;
};

}  // namespace

Expected<Arguments, Exit> parse_arguments(std::string_view program, std::span<const std::string_view> words) {
    return Parser(words).parse(program);
}

Expected<std::vector<std::string>, Exit> parse_recipients(std::string_view word) {
    auto parsed = mail::addresses(word);
    if (!parsed) return fail(Exit::data_error, "not an address: " + printable(word));
    for (const auto& address : *parsed)
        if (!is_path(address)) return fail(Exit::data_error, "not an address: " + printable(address));
    return std::move(*parsed);
}

Expected<bool, Exit> wants_smtputf8(Utf8Wish wish, std::string_view reverse_path,
                                    std::span<const std::string> recipients, bool header_address) {
    const std::string* utf8 = nullptr;
    for (const auto& recipient : recipients)
        if (!is_ascii(recipient)) utf8 = &recipient;
    const bool needed = utf8 != nullptr || !is_ascii(reverse_path);
    if (needed && wish == Utf8Wish::no)
        return fail(Exit::data_error, "-O smtputf8=no forbids the address " +
                                          printable(utf8 != nullptr ? *utf8 : std::string(reverse_path)));
    if (header_address && wish == Utf8Wish::no)
        return fail(Exit::data_error,
                    "-O smtputf8=no forbids an address in the header that has UTF-8 before its @");
    return wish == Utf8Wish::yes || needed || header_address;
}

Exit exit_of(const Answer& answer) {
    switch (answer.kind) {
        case Answer::Kind::ok:
            return Exit::ok;
        case Answer::Kind::temporary:
            return Exit::try_again;
        case Answer::Kind::permanent:
            break;
    }
    // by the enhanced status code at the text's start (RFC 3463)
    const std::string_view text = answer.text;
    if (text.starts_with("5.1.2 ")) return Exit::no_host;
    if (text.starts_with("5.1.3 ")) return Exit::no_user;
    if (text.starts_with("5.7.")) return Exit::not_permitted;
    for (const char* data : {"5.1.7 ", "5.1.8 ", "5.3.4 ", "5.4.6 ", "5.6."})
        if (text.starts_with(data)) return Exit::data_error;
    return Exit::unavailable;
}

std::string_view usage() {
    return R"(Usage: sendmail [options] [recipient ...]
Hands the message on standard input to Sternpost. Exit code 0: it is on stable storage.

  -t              recipients from To, Cc and Bcc as well
  -i, -oi         a line with a single dot does not end the message
  -f, -r ADDRESS  the reverse-path; '' or '<>' is the null one
  -F NAME         your name, should the message have no From
  -G              passed on for others: the header is not completed
  -B TYPE         7BIT or 8BITMIME
  -N WHEN         never, or success, failure, delay between commas
  -R WHAT         full or hdrs: what a notice returns
  -V ENVID        a mark that notices carry
  -O requiretls=yes   only over verified TLS, host by host (RFC 8689), or back to you
  -O smtputf8=WHEN    yes, no or auto: UTF-8 in addresses (RFC 6531)
  -bs             an SMTP session on standard input and output
  -bv             checks the addresses, and sends nothing
  -bp             list the queue, as mailq does
  -q              run the queue now; -qI ID: one message; -qR TEXT, -qS TEXT:
                  those whose recipient, or sender, has this in its address
  --              recipients follow, even those that begin with '-'
  --help, --version

Other options that sendmail programs know are taken and ignored; see sendmail(1).
)";
}

}  // namespace sternpost::local
