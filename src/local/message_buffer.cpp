#include "local/message_buffer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>

#include "util/free_memory.h"

namespace sternpost::local {
namespace {

constexpr std::size_t piece_size = 65536;

util::Fd nameless_file(const std::string& folder) {
    util::Fd fd(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (fd) return fd;
    std::string name = folder + "/sendmail-XXXXXX";  // a file system without O_TMPFILE
    fd = util::Fd(::mkostemp(name.data(), O_CLOEXEC));
    if (fd) ::unlink(name.c_str());
    return fd;
}

Result<void> write_all(int fd, std::string_view octets) {
    while (!octets.empty()) {
        const ssize_t put = ::write(fd, octets.data(), octets.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return failed_call("cannot write a temporary file", errno);
        octets.remove_prefix(static_cast<std::size_t>(put));
    }
    return {};
}

}  // namespace

tl::unexpected<Error<Errc>> failed_call(std::string_view what, int error) {
    return fail(error == ENOSPC || error == EDQUOT ? Errc::no_space : Errc::io,
                std::string(what) + ": " + util::errno_text(error));
}

Result<void> MessageBuffer::append(std::string_view octets) {
    if (octets.size() > max_spooled - size_)
        return fail(Errc::too_big, "the message is larger than " + std::to_string(max_spooled) + " octets");
    size_ += octets.size();
    if (!file_ && size_ <= in_memory_) {
        memory_ += octets;
        return {};
    }
    if (!file_) {
        file_ = nameless_file(folder_);
        if (!file_) return failed_call("cannot make a temporary file in " + folder_, errno);
        if (auto written = write_all(file_.get(), memory_); !written) return written;
        free_memory(memory_);
    }
    return write_all(file_.get(), octets);
}

Result<std::string> MessageBuffer::read(std::uint64_t offset) const {
    if (!file_) return offset >= memory_.size() ? std::string() : memory_.substr(offset, piece_size);
    std::string piece(piece_size, '\0');
    ssize_t got = -1;
    do got = ::pread(file_.get(), piece.data(), piece.size(), static_cast<off_t>(offset));
    while (got < 0 && errno == EINTR);
    if (got < 0) return failed_call("cannot read a temporary file", errno);
    piece.resize(static_cast<std::size_t>(got));
    return piece;
}

}  // namespace sternpost::local
