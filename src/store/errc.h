// What can go wrong in a store, and its results.
#pragma once

#include "util/result.h"

namespace sternpost::store {

enum class Errc {
    full,          // no space, or the memory for bodies is used up: try again later
    too_big,       // beyond the message size limit
    duplicate,     // this submission was accepted before (its id is known for 7 days)
    not_found,     // no such message, policy or body
    busy,          // another daemon has the state directory
    unavailable,   // the store cannot be reached: nothing was done, try again
    fenced,        // another daemon has taken over what this one had: it ends
    newer_schema,  // made by a later release
    damaged,       // octets on disk are not what was written
    io,            // the operating system refused
    closed,        // the store is shutting down
};

template <class T>
using Result = Expected<T, Errc>;

}  // namespace sternpost::store
