// Strings that were large and are wanted no more.
#pragma once

#include <string>

namespace sternpost {

/// Empties the string and gives its memory back. An empty string that is assigned to it would not: libstdc++
/// keeps the memory for what comes next.
inline void free_memory(std::string& text) {
    std::string().swap(text);
}

}  // namespace sternpost
