#include "util/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace sternpost::util {
namespace {

tl::unexpected<Error<Errc>> failed(const char* what, const std::filesystem::path& path, int error) {
    const Errc code = error == ENOENT ? Errc::not_found : Errc::io;
    return fail(code, std::string(what) + " " + path.string() + ": " + errno_text(error));
}

}  // namespace

void Fd::reset(int fd) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
}

std::string errno_text(int error) {
    return std::generic_category().message(error);
}

Result<std::string> read_file(const std::filesystem::path& path, std::size_t most) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return failed("cannot open", path, errno);
    std::string out;
    char chunk[65536];
    for (;;) {
        const ssize_t got = ::read(fd.get(), chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return failed("cannot read", path, errno);
        if (got == 0) return out;
        out.append(chunk, static_cast<std::size_t>(got));
        if (out.size() > most)
            return fail(Errc::too_big, path.string() + " is larger than " + std::to_string(most) + " octets");
    }
}

Result<void> write_file(const std::filesystem::path& path, std::string_view content, unsigned mode) {
    const std::filesystem::path temporary = path.string() + ".new";
    {
        const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
        if (!fd) return failed("cannot create", temporary, errno);
        while (!content.empty()) {
            const ssize_t put = ::write(fd.get(), content.data(), content.size());
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) return failed("cannot write", temporary, errno);
            content.remove_prefix(static_cast<std::size_t>(put));
        }
        if (::fsync(fd.get()) != 0) return failed("cannot sync", temporary, errno);
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0) return failed("cannot rename to", path, errno);
    const auto folder = path.parent_path();
    const Fd dir(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!dir || ::fsync(dir.get()) != 0) return failed("cannot sync the folder of", path, errno);
    return {};
}

Result<Fd> lock_file(const std::filesystem::path& path) {
    Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd) return failed("cannot open", path, errno);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) return fail(Errc::busy, path.string() + " is locked by another process");
        return failed("cannot lock", path, errno);
    }
    return fd;
}

}  // namespace sternpost::util
