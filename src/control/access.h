// Who may ask what on the administrator's socket.
#pragma once

#include <string_view>

namespace sternpost::control {

/// What a verb does to the daemon and to the world.
enum class Access {
    read,     // shows what the daemon knows, in bounded time
    look_up,  // asks hosts outside, or reads much: for administrators
    act,      // changes something: for administrators
};

/// The one table. A verb that is not in it counts as `act`.
Access access_of(std::string_view verb);

/// Whom `control_readers` lets use the verbs of Access::read.
enum class Readers { everybody, admins };

}  // namespace sternpost::control
