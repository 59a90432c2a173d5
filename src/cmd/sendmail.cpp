// sendmail, mailq and newaliases: what every program on a Unix system expects, in front of the daemon or
// while it is down.
#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "local/client.h"
#include "local/message_buffer.h"
#include "local/sendmail_args.h"
#include "local/sendmail_message.h"
#include "mail/local_names.h"
#include "smtp/server.h"
#include "util/clock.h"
#include "util/random.h"
#include "util/text.h"

namespace {

using namespace sternpost;
using local::Exit;

constexpr const char* default_socket = "/run/sternpost/submit.sock";
constexpr const char* default_maildrop = "/var/spool/sternpost/maildrop";

Exit complain(const Error<Exit>& error) {
    fmt::print(stderr, "sendmail: {}\n", error.text);
    return error.code;
}

Exit complain(Exit code, std::string text) {
    return complain(Error<Exit>{code, std::move(text)});
}

// What the environment says, unless this program runs with rights that its caller lacks.
std::string setting(const char* name, const char* otherwise) {
    const char* value = ::secure_getenv(name);
    return value != nullptr && *value != '\0' ? value : otherwise;
}

// The set-gid group lets us write into the maildrop and is not needed for anything else: it is put on for
// that alone.
class DropGroup {
  public:
    DropGroup() : group_(::getegid()) { take_off(); }
    bool put_on() const { return ::setegid(group_) == 0; }
    void take_off() const {
        if (::setegid(::getgid()) != 0) ::_exit(static_cast<int>(Exit::os_error));
    }
    // For another program: for good.
    bool drop() const { return ::setresgid(::getgid(), ::getgid(), ::getgid()) == 0; }

  private:
    gid_t group_;
};

// Becomes `sternpost` with these words: the one next to this program, else the installed one.
Exit run_sternpost(const DropGroup& group, std::vector<const char*> words) {
    if (!group.drop()) return complain(Exit::os_error, "cannot drop the group");
    std::array<char, PATH_MAX> self{};
    const ssize_t n = ::readlink("/proc/self/exe", self.data(), self.size() - 1);
    std::string beside = n > 0 ? std::string(self.data(), static_cast<std::size_t>(n)) : std::string();
    beside = beside.substr(0, beside.rfind('/') + 1) + "sternpost";
    words.insert(words.begin(), "sternpost");
    words.push_back(nullptr);
    for (const std::string& path : {beside, std::string(STERNPOST_BINDIR "/sternpost")})
        ::execv(path.c_str(),
                const_cast<char* const*>(words.data()));  // the interface of execv(3); nothing is written to
    return complain(Exit::unavailable, "cannot run sternpost: " + util::errno_text(errno));
}

// The caller's name from NAME or the user database, for a From field.
std::string full_name() {
    std::string name;
    if (const char* given = ::secure_getenv("NAME"); given != nullptr) {
        name = given;
    } else if (const passwd* entry = ::getpwuid(::getuid()); entry != nullptr && entry->pw_gecos != nullptr) {
        name = entry->pw_gecos;
        name = name.substr(0, name.find(','));
        std::string login = entry->pw_name;  // `&` in it stands for the login name, capitalized (passwd(5))
        if (!login.empty() && login[0] >= 'a' && login[0] <= 'z')
            login[0] = static_cast<char>(login[0] - 'a' + 'A');
        if (const auto at = name.find('&'); at != std::string::npos) name.replace(at, 1, login);
    }
    for (const char c : name)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return {};
    return name.size() <= 200 && valid_utf8(name) ? name : std::string();
}

Expected<void, Exit> read_message(local::SendmailMessage& message, local::MessageBuffer& spool) {
    std::vector<char> chunk(65536);
    std::string out;
    const auto keep = [&]() -> Expected<void, Exit> {
        if (auto kept = spool.append(out); !kept)
            return fail(kept.error().code == local::Errc::too_big ? Exit::data_error : Exit::try_again,
                        std::move(kept.error().text));
        out.clear();
        return {};
    };
    while (!message.ended()) {
        const ssize_t got = ::read(STDIN_FILENO, chunk.data(), chunk.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(Exit::io_error, "cannot read the message: " + util::errno_text(errno));
        if (got == 0) break;
        message.feed(std::string_view(chunk.data(), static_cast<std::size_t>(got)), out);
        if (auto kept = keep(); !kept) return kept;
    }
    message.finish(out);
    return keep();
}

// Into the maildrop. A service with NoNewPrivileges gets no group from a set-gid program, so it cannot.
local::Result<void> leave(const DropGroup& group, const local::Submission& submission,
                          const local::MessageBuffer& spool) {
    if (!group.put_on()) return fail(local::Errc::io, "cannot take on the group");
    auto left = local::leave(setting("STERNPOST_MAILDROP", default_maildrop), submission, spool);
    group.take_off();
    if (!left && ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        left.error().text +=
            " (this service runs with NoNewPrivileges=yes, which keeps sendmail from the maildrop: its mail "
            "is taken "
            "only while the daemon runs)";
    return left;
}

Exit deliver(const DropGroup& group, const local::Submission& submission, const local::MessageBuffer& spool) {
    auto answer = local::submit(setting("STERNPOST_SOCKET", default_socket), submission, spool);
    if (answer) {
        const Exit code = local::exit_of(*answer);
        return code == Exit::ok ? code : complain(code, answer->text);
    }
    // No answer came. Should the daemon have taken it all the same, the same id keeps it from being taken
    // twice.
    const auto left = leave(group, submission, spool);
    if (left) return Exit::ok;
    return complain(Exit::try_again,
                    fmt::format("the message was not taken: {}; {}", answer.error().text, left.error().text));
}

// ---- -bs: SMTP on standard input and output, through the same core as the daemon's listener

smtp::ServerOptions session_options() {
    smtp::ServerOptions out;
    std::array<char, 256> name{};
    out.hostname =
        ::gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0' ? name.data() : "localhost";
    out.max_message_size = local::max_spooled;
    out.hands_over = true;
    // which names are this host's is for the daemon to say
    out.resolve_recipient = [](std::string_view path, bool utf8) {
        const bool bare = path.find('@') == std::string_view::npos;
        auto parsed =
            mail::ForwardPath::parse(bare ? std::string(path) + "@localhost" : std::string(path), utf8);
        if (parsed && parsed->mailbox().host() != "localhost" && !mail::fully_qualified(parsed->mailbox()))
            return mail::Result<mail::ForwardPath>(
                fail(mail::Errc::bad_domain,
                     "the domain is not fully qualified: " + printable(std::string(path))));
        return parsed;
    };
    return out;
}

class Session {
  public:
    explicit Session(const DropGroup& group)
        : group_(group), options_(session_options()), server_(options_, client()) {}

    Exit run() {
        for (;;) {
            smtp::Action action = server_.next();
            if (std::holds_alternative<smtp::action::Close>(action))
                return write() ? Exit::ok : Exit::io_error;
            if (std::holds_alternative<smtp::action::NeedInput>(action)) {
                if (!write()) return Exit::io_error;
                const ssize_t got = read();
                if (got < 0) return complain(Exit::io_error, "cannot read: " + util::errno_text(errno));
                if (got == 0) return server_.in_data() ? Exit::io_error : Exit::ok;  // half a message is none
            } else if (std::holds_alternative<smtp::action::SendOutput>(action)) {
                if (!write()) return Exit::io_error;
            } else {
                perform(std::move(action));
            }
        }
    }

  private:
    static smtp::Client client() {
        smtp::Client out;
        out.address = dns::Address::parse("127.0.0.1").value();
        out.role = smtp::ClientRole::originate;
        return out;
    }

    void perform(smtp::Action action) {
        if (std::holds_alternative<smtp::action::AskTransaction>(action)) {
            server_.transaction(smtp::TransactionVerdict::go);
        } else if (std::holds_alternative<smtp::action::AskNextHop>(action)) {
            server_.next_hop(smtp::NextHopKnowledge::usable_or_unknown);
        } else if (std::holds_alternative<smtp::action::StartTls>(action)) {
            server_.refuse_tls();
        } else if (std::holds_alternative<smtp::action::BeginBody>(action)) {
            spool_.emplace(setting("TMPDIR", "/tmp"));
            server_.begin_body(store::MessageId{}, SystemClock().wall());
        } else if (const auto* write = std::get_if<smtp::action::WriteBody>(&action)) {
            const auto kept = spool_->append(write->octets);
            server_.written(kept ? store::Result<void>() : fail(store::Errc::full, kept.error().text));
        } else if (std::holds_alternative<smtp::action::ShortenLines>(action)) {
            server_.shortened({});
        } else if (const auto* accept = std::get_if<smtp::action::AcceptMessage>(&action)) {
            server_.answered(hand_over(accept->message));
        } else if (std::holds_alternative<smtp::action::DropBody>(action)) {
            spool_.reset();
        }
    }

    // The reply to the final dot.
    std::string hand_over(const store::NewMessage& message) {
        local::Submission submission;
        submission.id = store::SubmissionId::make(random_);
        submission.reverse_path = message.envelope.reverse_path.text();
        submission.body = message.envelope.body;
        submission.smtputf8 = message.envelope.smtputf8;
        for (const auto& recipient : message.recipients)
            submission.recipients.push_back(recipient.recipient.path.text());
        submission.octets = spool_->size();
        auto answer = local::submit(setting("STERNPOST_SOCKET", default_socket), submission, *spool_);
        if (answer && answer->kind == local::Answer::Kind::permanent) return "554 " + answer->text;
        if (answer && answer->kind == local::Answer::Kind::ok) return "250 2.0.0 " + answer->text + " queued";
        // The daemon is down or cannot take it now: the maildrop keeps it for a later look.
        const auto left = leave(group_, submission, *spool_);
        if (left) return "250 2.0.0 " + submission.id.text() + " in the maildrop";
        return "451 4.3.0 " + (answer ? answer->text : answer.error().text) + "; " + left.error().text;
    }

    bool write() {
        const std::string out = server_.output();
        for (std::size_t at = 0; at < out.size();) {
            const ssize_t put = ::write(STDOUT_FILENO, out.data() + at, out.size() - at);
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) return false;
            at += static_cast<std::size_t>(put);
        }
        return true;
    }

    ssize_t read() {
        ssize_t got = -1;
        do got = ::read(STDIN_FILENO, chunk_.data(), chunk_.size());
        while (got < 0 && errno == EINTR);
        if (got > 0) server_.feed(std::string_view(chunk_.data(), static_cast<std::size_t>(got)));
        return got;
    }

    const DropGroup& group_;
    smtp::ServerOptions options_;
    smtp::Server server_;
    SystemRandom random_;
    std::optional<local::MessageBuffer> spool_;
    std::vector<char> chunk_ = std::vector<char>(65536);
};

// -bv: what can be said of an address without a connection.
Exit verify(const local::Arguments& arguments) {
    for (const auto& address : arguments.recipients) {
        if (address.find('@') == std::string::npos) {
            fmt::print(
                "{}: well-formed; mail for a name without a domain goes to the administrator, where "
                "admin_address is set\n",
                printable(address));
            continue;
        }
        const auto path = mail::ForwardPath::parse(address, true);
        if (!path) return complain(Exit::no_user, path.error().text);
        if (path->mailbox().host() != "localhost" && !mail::fully_qualified(path->mailbox()))
            return complain(Exit::no_host, "the domain is not fully qualified: " + printable(address));
        fmt::print(
            "{}: well-formed; mail for it goes to the hosts of {}, which decide whether the mailbox exists\n",
            printable(address), path->mailbox().host());
    }
    return Exit::ok;
}

Exit send(const DropGroup& group, local::Arguments arguments) {
    local::SendmailMessage message(arguments, rfc5322_date(SystemClock().wall()));
    local::MessageBuffer spool(setting("TMPDIR", "/tmp"));
    if (auto read = read_message(message, spool); !read) return complain(read.error());

    local::Submission submission;
    submission.recipients = std::move(arguments.recipients);
    if (arguments.recipients_from_header) {
        auto found = message.recipients();
        if (!found) return complain(found.error());
        submission.recipients.insert(submission.recipients.end(), found->begin(), found->end());
        if (submission.recipients.empty()) return complain(Exit::usage, "the header names no recipients");
    }
    SystemRandom random;
    submission.id = store::SubmissionId::make(random);
    submission.reverse_path = std::move(arguments.reverse_path);
    submission.body = arguments.body;
    submission.gateway = arguments.gateway;
    submission.notify = arguments.notify;
    submission.ret = arguments.ret;
    submission.requiretls = arguments.requiretls;
    const auto utf8 = local::wants_smtputf8(arguments.smtputf8, submission.reverse_path.value_or(""),
                                            submission.recipients, message.utf8_address());
    if (!utf8) return complain(utf8.error());
    submission.smtputf8 = *utf8;
    submission.envid = std::move(arguments.envid);
    submission.octets = spool.size();
    if (!arguments.gateway && !message.has_from())
        submission.full_name = arguments.full_name.empty() ? full_name() : std::move(arguments.full_name);
    return deliver(group, submission, spool);
}

Exit run(std::string_view program, const std::vector<std::string_view>& words) {
    const DropGroup group;
    auto arguments = local::parse_arguments(program, words);
    if (!arguments) return complain(arguments.error());
    switch (arguments->mode) {
        case local::Mode::help:
            fmt::print("{}", local::usage());
            return Exit::ok;
        case local::Mode::version:
            fmt::print("sendmail (Sternpost) {}\n", STERNPOST_VERSION);
            return Exit::ok;
        case local::Mode::do_nothing:
            return Exit::ok;  // newaliases: there is no alias database
        case local::Mode::list_queue:
            return run_sternpost(group, {"queue", "list", "--mailq", "--limit", "10000000"});
        case local::Mode::run_queue: {
            std::vector<const char*> verb = {"queue", "retry", "--quiet"};
            for (const auto& word : arguments->retry) verb.push_back(word.c_str());
            return run_sternpost(group, std::move(verb));
        }
        case local::Mode::smtp_session:
            return Session(group).run();
        case local::Mode::verify:
            return verify(*arguments);
        case local::Mode::send:
            return send(group, std::move(*arguments));
    }
    return Exit::software;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return static_cast<int>(
            run(argc > 0 ? argv[0] : "sendmail", {argv + (argc > 0 ? 1 : 0), argv + argc}));
    } catch (const std::exception& error) {
        fmt::print(stderr, "sendmail: {}\n", error.what());
        return static_cast<int>(Exit::os_error);  // out of memory, as a rule
    }
}
