#include "util/memory.h"

#include <malloc.h>
#include <unistd.h>

#include <fstream>

namespace sternpost::util {

std::uint64_t own_memory() {
    std::ifstream file("/proc/self/statm");
    std::uint64_t size = 0;
    std::uint64_t resident = 0;
    std::uint64_t shared = 0;
    file >> size >> resident >> shared;
    const long page = ::sysconf(_SC_PAGESIZE);
    return file && resident > shared && page > 0 ? (resident - shared) * static_cast<std::uint64_t>(page) : 0;
}

void give_memory_back() {
    ::malloc_trim(0);
}

}  // namespace sternpost::util
