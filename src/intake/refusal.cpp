#include "intake/refusal.h"

#include <fmt/format.h>

namespace sternpost::intake {
namespace {

struct Row {
    int reply_code;
    std::string_view status;
};

Row row_of(Errc code) {
    switch (code) {
        case Errc::malformed:
            return {500, "5.5.2"};
        case Errc::incomplete:  // the sender was cut off: the same message may come again whole
            return {451, "4.4.2"};
        case Errc::too_big:
            return {552, "5.3.4"};
        case Errc::bad_sender:
            return {553, "5.1.7"};
        case Errc::bad_sender_domain:
            return {553, "5.1.8"};
        case Errc::bad_recipient:
            return {553, "5.1.3"};
        case Errc::bad_domain:
            return {553, "5.1.2"};
        case Errc::recipient_loop:
            return {550, "5.4.6"};
        case Errc::needs_smtputf8:  // RFC 6531 §3.5
            return {553, "5.6.7"};
        case Errc::bad_message:
            return {554, "5.6.0"};
        case Errc::bare_line_end:
            return {550, "5.6.11"};
        case Errc::not_allowed:
        case Errc::refused:
            return {550, "5.7.1"};
        case Errc::loop:
            return {554, "5.4.6"};
        case Errc::no_space:
            return {452, "4.3.1"};
        case Errc::limited:
            return {450, "4.7.1"};
        case Errc::stopping:
            return {421, "4.3.2"};
        case Errc::not_stored:
        case Errc::io:
            break;
    }
    return {451, "4.3.0"};
}

}  // namespace

bool may_pass(Errc code) {
    return row_of(code).reply_code < 500;
}

int reply_code_of(Errc code) {
    return row_of(code).reply_code;
}

std::string_view status_of(Errc code) {
    return row_of(code).status;
}

std::string reply_of(const Refusal& refusal) {
    return fmt::format("{} {} {}", reply_code_of(refusal.code), status_of(refusal.code), refusal.text);
}

Refusal bad_sender(const Error<mail::Errc>& error) {
    switch (error.code) {
        case mail::Errc::needs_utf8:
            return {Errc::needs_smtputf8, error.text};
        case mail::Errc::bad_domain:
            return {Errc::bad_sender_domain, error.text};
        case mail::Errc::loop:
        case mail::Errc::too_long:
        case mail::Errc::bad_address:
        case mail::Errc::bad_parameter:
            break;
    }
    return {Errc::bad_sender, error.text};
}

Refusal bad_recipient(const Error<mail::Errc>& error) {
    switch (error.code) {
        case mail::Errc::needs_utf8:
            return {Errc::needs_smtputf8, error.text};
        case mail::Errc::bad_domain:
            return {Errc::bad_domain, error.text};
        case mail::Errc::loop:
            return {Errc::recipient_loop, error.text};
        case mail::Errc::too_long:
        case mail::Errc::bad_address:
        case mail::Errc::bad_parameter:
            break;
    }
    return {Errc::bad_recipient, error.text};
}

Refusal not_stored(const Error<store::Errc>& error) {
    switch (error.code) {
        case store::Errc::full:
            return {Errc::no_space, "no space for the message, try again later"};
        case store::Errc::too_big:
            return {Errc::too_big, "the message is too big"};
        case store::Errc::closed:
            return {Errc::stopping, "shutting down"};
        case store::Errc::duplicate:
        case store::Errc::not_found:
        case store::Errc::busy:
        case store::Errc::unavailable:
        case store::Errc::fenced:
        case store::Errc::newer_schema:
        case store::Errc::damaged:
        case store::Errc::io:
            break;
    }
    return {Errc::not_stored, "the message could not be stored, try again later"};
}

}  // namespace sternpost::intake
