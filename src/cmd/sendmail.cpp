// sendmail, mailq and newaliases: what every program on a Unix system expects, in front of the daemon or
// while it is down.
#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <string>
#include <vector>

#include "local/client.h"
#include "local/sendmail_args.h"
#include "local/sendmail_message.h"
#include "local/spool.h"
#include "util/clock.h"
#include "util/random.h"
#include "util/text.h"

namespace {

using namespace sternpost;
using local::Exit;

constexpr const char* default_socket = "/run/sternpost/submit.sock";
constexpr const char* default_maildrop = "/var/spool/sternpost/maildrop";
// ours: what a runaway pipe may fill. The daemon's own limit is configuration, which this program does not
// read.
constexpr std::uint64_t max_message = 104'857'600;

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

Expected<void, Exit> read_message(local::SendmailMessage& message, local::Spool& spool) {
    std::vector<char> chunk(65536);
    std::string out;
    const auto keep = [&]() -> Expected<void, Exit> {
        if (spool.size() + out.size() > max_message)
            return fail(Exit::data_error, fmt::format("the message is larger than {} octets", max_message));
        if (auto kept = spool.append(out); !kept) return fail(Exit::try_again, std::move(kept.error().text));
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

Exit deliver(const DropGroup& group, const local::Submission& submission, const local::Spool& spool) {
    auto answer = local::submit(setting("STERNPOST_SOCKET", default_socket), submission, spool);
    if (answer) {
        const Exit code = local::exit_of(*answer);
        return code == Exit::ok ? code : complain(code, answer->text);
    }
    // Nobody answered. Should the daemon have taken it all the same, the same id keeps it from being taken
    // twice.
    if (!group.put_on()) return complain(Exit::os_error, "cannot take on the group");
    const auto left = local::leave(setting("STERNPOST_MAILDROP", default_maildrop), submission, spool);
    group.take_off();
    if (left) return Exit::ok;
    return complain(Exit::try_again,
                    fmt::format("the message was not taken: {}; {}", answer.error().text, left.error().text));
}

Exit send(const DropGroup& group, local::Arguments arguments) {
    local::SendmailMessage message(arguments, rfc5322_date(SystemClock().wall()));
    local::Spool spool(setting("TMPDIR", "/tmp"));
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
                                            submission.recipients, message.utf8_header());
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
            return run_sternpost(group, {"queue", "list"});
        case local::Mode::run_queue:
            return run_sternpost(group, {"queue", "retry", "--all"});
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
