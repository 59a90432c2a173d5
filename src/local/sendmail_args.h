// What the command lines of sendmail, mailq and newaliases mean. Pure: the program itself is cmd/sendmail.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "local/record.h"
#include "util/result.h"

namespace sternpost::local {

/// The exit codes that callers of sendmail know (sysexits.h).
enum class Exit : int {
    ok = 0,            // queued durably
    usage = 64,        // the command line is wrong
    data_error = 65,   // the message or an address is
    no_user = 67,      // a recipient's mailbox is
    no_host = 68,      // a recipient's domain is
    unavailable = 69,  // refused for another reason
    software = 70,     // a bug
    os_error = 71,     // the operating system refused
    cannot_create = 73,
    io_error = 74,   // reading the message failed
    try_again = 75,  // nothing was queued, later it may be
    not_permitted = 77,
    config = 78,
};

/// -O smtputf8=…; automatic: where an address of the envelope or of the header needs it (RFC 6531).
enum class Utf8Wish { automatic, yes, no };

enum class Mode { send, smtp_session, verify, list_queue, run_queue, do_nothing, help, version };

struct Arguments {
    Mode mode = Mode::send;
    std::vector<std::string> retry;           // of run_queue: the words behind `sternpost queue retry`
    std::vector<std::string> recipients;      // bare names or addr-specs, checked
    bool recipients_from_header = false;      // -t
    bool dot_ends = true;                     // without -i
    std::optional<std::string> reverse_path;  // -f, -r; empty: null
    std::string full_name;                    // -F
    bool gateway = false;                     // -G
    mail::BodyType body = mail::BodyType::seven_bit;
    mail::Notify notify;
    mail::Ret ret = mail::Ret::unspecified;
    std::string envid;                        // xtext
    bool requiretls = false;                  // -O requiretls=yes (RFC 8689)
    Utf8Wish smtputf8 = Utf8Wish::automatic;  // -O smtputf8=…
};

/// Whether a message goes with SMTPUTF8. `header_address`: one in its header has UTF-8 before the @ (D-42).
/// data_error: an address needs it, and `wish` forbids it.
Expected<bool, Exit> wants_smtputf8(Utf8Wish wish, std::string_view reverse_path,
                                    std::span<const std::string> recipients, bool header_address);

/// `program`: the name it was called by, a path or not; `words`: what follows it. Error: what to print, and
/// the exit code.
Expected<Arguments, Exit> parse_arguments(std::string_view program, std::span<const std::string_view> words);

/// The addresses in one word, comma-separated, each `a@b`, `Name <a@b>` or a bare name. data_error: something
/// else.
Expected<std::vector<std::string>, Exit> parse_recipients(std::string_view word);

/// The exit code that says the same as the daemon's answer.
Exit exit_of(const Answer& answer);

std::string_view usage();

}  // namespace sternpost::local
