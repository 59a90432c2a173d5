#include "fake/sync_trace.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <mutex>

namespace sternpost::fake {
namespace {

std::mutex mutex;
bool tracing = false;
std::vector<std::string> synced;

void note(int fd) {
    const std::lock_guard guard(mutex);
    std::error_code gone;
    if (tracing)
        synced.push_back(std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), gone).string());
}

}  // namespace

SyncTrace::SyncTrace() {
    const std::lock_guard guard(mutex);
    tracing = true;
}

SyncTrace::~SyncTrace() {
    const std::lock_guard guard(mutex);
    tracing = false;
    synced.clear();
}

std::vector<std::string> SyncTrace::paths() const {
    const std::lock_guard guard(mutex);
    return synced;
}

}  // namespace sternpost::fake

// In place of the C library's.
extern "C" int fsync(int fd) {
    sternpost::fake::note(fd);
    return static_cast<int>(::syscall(SYS_fsync, fd));
}
