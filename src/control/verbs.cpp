#include "control/verbs.h"

#include "util/text.h"

namespace sternpost::control {

admin::Access Verbs::access_of(std::string_view verb) const {
    const auto found = handlers_.find(verb);
    return found == handlers_.end() ? admin::Access::act : found->second.access;
}

asio::awaitable<Answer> Verbs::answer(json::object request, Caller caller) const {
    const std::string verb = text_of(request, "verb");
    const bool for_all = access_of(verb) == admin::Access::read && readers_;
    if (!caller.admin && !for_all)
        co_return Answer{ExitCode::not_permitted,
                         printable(verb) +
                             " is for root, for the daemon's account and for members of the group " +
                             admin_group_,
                         {}};
    const auto found = handlers_.find(verb);
    if (found == handlers_.end())
        co_return Answer{
            ExitCode::usage,
            "the daemon does not know the verb " + printable(verb) + ": is the command of another release?",
            {}};
    co_return co_await found->second.run(std::move(request), std::move(caller));
}

}  // namespace sternpost::control
