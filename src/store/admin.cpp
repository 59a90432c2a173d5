#include "store/admin.h"

namespace sternpost::store {

std::string_view name_of(ActKind kind) {
    switch (kind) {
        case ActKind::remove:
            return "deleted";
        case ActKind::hold:
            return "put on hold";
        case ActKind::release:
            return "released";
        case ActKind::retry:
            return "told to try again";
        case ActKind::warned:
            return "its sender was told of the delay";
        case ActKind::reroute:
            return "rerouted";
    }
    return "";
}

}  // namespace sternpost::store
