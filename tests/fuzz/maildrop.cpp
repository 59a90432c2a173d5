// A file in the maildrop, as any local program may leave one: the walk of the folder, the opening of the
// file, and its record however it is cut. Input: an octet for the size of a piece and for whether a right end
// follows, then the file.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "local/drop_folder.h"
#include "local/record.h"
#include "util/crc32c.h"

using namespace sternpost;

namespace {

constexpr std::uint64_t max_octets = 8192;
constexpr std::size_t max_recipients = 20;

struct Read {
    std::optional<local::Errc> error;
    std::string message;
    std::optional<local::Submission> head;
    bool complete = false;
};

Read read_record(std::string_view octets, std::size_t piece) {
    local::RecordReader reader(max_octets, max_recipients);
    Read out;
    while (!octets.empty()) {
        if (const auto fed = reader.feed(octets.substr(0, piece), out.message); !fed) {
            if (fed.error().text.empty()) std::abort();  // there is always a reason
            out.error = fed.error().code;
            break;
        }
        octets.remove_prefix(std::min(piece, octets.size()));
    }
    if (reader.head() != nullptr) out.head = *reader.head();
    out.complete = reader.complete();
    return out;
}

// A folder of its own for each run of the target.
const std::string& folder_path() {
    static const std::string made = [] {
        const bool memory = ::access("/dev/shm", W_OK) == 0;
        std::string name = memory ? "/dev/shm/fuzz-maildrop-XXXXXX" : "/tmp/fuzz-maildrop-XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        return name;
    }();
    static const bool cleaned = [] { return std::atexit([] { ::rmdir(folder_path().c_str()); }) == 0; }();
    (void)cleaned;
    return made;
}

std::string through_folder(const std::string& name, std::string_view octets) {
    const std::string path = folder_path() + "/" + name;
    const int made = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (made < 0 || ::write(made, octets.data(), octets.size()) != static_cast<ssize_t>(octets.size()))
        std::abort();
    ::close(made);
    const auto folder = local::DropFolder::open(folder_path());
    if (!folder) std::abort();
    auto walk = folder->walk();
    if (!walk) std::abort();
    const auto entries = walk->next(10, WallTime());
    if (!entries || entries->size() != 1 || entries->front().name != name) std::abort();
    const auto small = folder->open_file(name, octets.size() - 1);
    if (small || small.error().code != local::Errc::refused) std::abort();  // never more than is allowed
    const auto file = folder->open_file(name, octets.size());
    if (!file || file->uid != ::geteuid()) std::abort();
    std::string out(octets.size() + 1, '\0');
    const ssize_t got = ::read(file->fd.get(), out.data(), out.size());
    out.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    if (!folder->remove(name) || ::access(path.c_str(), F_OK) == 0) std::abort();
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const unsigned choice = *data;
    std::string file(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::size_t piece = choice % 64U + 1U;
    if ((choice & 0x80U) != 0) file += local::encode_end(crc32c(file));

    const Read whole = read_record(file, file.size());
    const Read pieces = read_record(file, piece);
    if (pieces.error != whole.error || pieces.complete != whole.complete) std::abort();  // however it is cut
    if (pieces.head != whole.head || (!whole.error && pieces.message != whole.message)) std::abort();
    if (whole.message.size() > max_octets) std::abort();
    if (whole.head && (whole.head->recipients.empty() || whole.head->recipients.size() > max_recipients))
        std::abort();
    if (whole.complete && !whole.error) {
        if (whole.message.size() != whole.head->octets) std::abort();
        // Cut off anywhere, it is never whole; with an octet more, it is refused.
        if (read_record(std::string_view(file).substr(0, file.size() - 1), piece).complete) std::abort();
        if (!read_record(file + "x", piece).error) std::abort();
        // What is written from what was read reads the same.
        std::string written = local::encode_head(*whole.head) + whole.message;
        written += local::encode_end(crc32c(written));
        const Read again = read_record(written, written.size());
        if (!again.complete || again.error || again.head != whole.head || again.message != whole.message)
            std::abort();
    }
    const std::string name = whole.head ? whole.head->id.text() : std::string(32, '0');
    if (through_folder(name, file) != file) std::abort();

    // What the daemon answers, as the caller reads it.
    if (const auto answer = local::Answer::parse(file)) {
        const std::string line = answer->line();
        if (line.size() > local::max_answer || line.find('\n') != line.size() - 1) std::abort();
        if (local::Answer::parse(line)->kind != answer->kind) std::abort();
    }

    const std::string_view as_name = std::string_view(file).substr(0, 40);
    if (local::drop_name(as_name) == local::DropName::record && as_name.size() != 32) std::abort();
    return 0;
}
