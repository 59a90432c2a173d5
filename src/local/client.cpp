#include "local/client.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>

#include "util/crc32c.h"
#include "util/file.h"

namespace sternpost::local {
namespace {

constexpr std::size_t max_piece = 65536;  // what is gathered of a record: a small one goes by one call

// Head, message and end of a record, piece by piece, to `put`.
Result<void> write_record(const Submission& submission, const MessageBuffer& message,
                          const std::function<Result<void>(std::string_view)>& put) {
    std::string gathered = encode_head(submission);
    std::uint32_t crc = crc32c(gathered);
    for (std::uint64_t at = 0; at < submission.octets;) {
        auto piece = message.read(at);
        if (!piece) return fail(std::move(piece).error());
        if (piece->empty()) return fail(Errc::io, "the temporary file is shorter than it was");
        crc = crc32c(*piece, crc);
        at += piece->size();
        gathered += *piece;
        if (gathered.size() < max_piece) continue;
        if (auto done = put(gathered); !done) return done;
        gathered.clear();
    }
    gathered += encode_end(crc);
    return put(gathered);
}

void set_timeout(int fd, int option, std::chrono::milliseconds limit) {
    timeval time{};
    time.tv_sec = limit.count() / 1000;
    time.tv_usec = limit.count() % 1000 * 1000;
    ::setsockopt(fd, SOL_SOCKET, option, &time, sizeof time);  // fails only for what is no socket
}

// Signals that would end the program wait as long as this lives.
class SignalsHeld {
  public:
    SignalsHeld() {
        sigemptyset(&held_);
        for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&held_, signal);
        sigprocmask(SIG_BLOCK, &held_, &before_);
    }
    ~SignalsHeld() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
    SignalsHeld(const SignalsHeld&) = delete;
    SignalsHeld& operator=(const SignalsHeld&) = delete;

    bool one_came() const {
        sigset_t pending{};
        sigpending(&pending);
        return sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1 ||
               sigismember(&pending, SIGHUP) == 1;
    }
    // The message is queued: dying now would report the opposite.
    void ignore_from_now_on() const {
        for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_IGN);
    }

  private:
    sigset_t held_{};
    sigset_t before_{};
};

}  // namespace

Result<Answer> submit(const std::string& socket_path, const Submission& submission,
                      const MessageBuffer& message, SocketTimes times) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (socket_path.size() >= sizeof address.sun_path)
        return failed_call("connect to " + socket_path, ENAMETOOLONG);
    std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
    const util::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return failed_call("make a socket", errno);
    set_timeout(fd.get(), SO_SNDTIMEO,
                times.connect);  // connect(2) of a UNIX socket waits so long for room in the queue
    // The cast is the interface of connect(2).
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return failed_call("connect to " + socket_path, errno);
    set_timeout(fd.get(), SO_SNDTIMEO, times.send);
    set_timeout(fd.get(), SO_RCVTIMEO, times.answer);
    const auto sent = write_record(submission, message, [&fd](std::string_view octets) -> Result<void> {
        while (!octets.empty()) {
            const ssize_t put = ::send(fd.get(), octets.data(), octets.size(), MSG_NOSIGNAL);
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) return failed_call("send to the daemon", errno);
            octets.remove_prefix(static_cast<std::size_t>(put));
        }
        return {};
    });
    // Also when sending failed: a daemon that refuses early says why and closes.
    std::string line;
    while (line.size() < max_answer) {
        std::array<char, max_answer> piece{};
        const ssize_t got = ::recv(fd.get(), piece.data(), max_answer - line.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            if (!sent) return fail(sent.error());
            return fail(Errc::io, "the daemon gave no answer");
        }
        line.append(piece.data(), static_cast<std::size_t>(got));
        const auto end = line.find('\n');
        if (end == std::string::npos) continue;
        line.resize(end);
        break;
    }
    if (auto answer = Answer::parse(line)) return std::move(*answer);
    return fail(Errc::io, "the daemon's answer is not one");
}

Result<void> leave(const std::string& maildrop_path, const Submission& submission,
                   const MessageBuffer& message) {
    const SignalsHeld signals;
    const std::string name = maildrop_path + "/" + submission.id.text();
    const std::string temporary = maildrop_path + "/tmp-" + submission.id.text();
    util::Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640));
    if (!fd) return failed_call("make a file in the maildrop " + maildrop_path, errno);
    const auto give_up = [&temporary](tl::unexpected<Error<Errc>> error) -> Result<void> {
        ::unlink(temporary.c_str());
        return error;
    };
    // Exactly this, whatever the umask: the daemon reads by the group, and refuses what others could have
    // written to.
    if (::fchmod(fd.get(), 0640) != 0) return give_up(failed_call("set the mode of " + temporary, errno));
    const auto written = write_record(submission, message, [&](std::string_view octets) -> Result<void> {
        while (!octets.empty()) {
            if (signals.one_came()) return fail(Errc::io, "interrupted");
            const ssize_t put = ::write(fd.get(), octets.data(), octets.size());
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) return failed_call("write " + temporary, errno);
            octets.remove_prefix(static_cast<std::size_t>(put));
        }
        return {};
    });
    if (!written) return give_up(fail(written.error()));
    if (::fsync(fd.get()) != 0) return give_up(failed_call("sync " + temporary, errno));
    if (signals.one_came()) return give_up(fail(Errc::io, "interrupted"));
    if (::rename(temporary.c_str(), name.c_str()) != 0)
        return give_up(failed_call("rename " + temporary, errno));
    // The new name must be as durable as the octets. In production this program may not read the folder (mode
    // 1730), so not sync it either; then the file is synced again: a rename changes the inode (ctime), so
    // ext4, XFS and btrfs write the rename with it.
    const util::Fd folder(::open(maildrop_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (::fsync(folder ? folder.get() : fd.get()) != 0) {
        const int error = errno;
        ::unlink(name.c_str());
        return failed_call("sync " + maildrop_path, error);
    }
    signals.ignore_from_now_on();
    return {};
}

}  // namespace sternpost::local
