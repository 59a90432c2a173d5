#include "mail/local_names.h"

#include <algorithm>

#include "util/text.h"

namespace sternpost::mail {

bool fully_qualified(const Mailbox& mailbox) {
    return mailbox.is_literal() || mailbox.domain().text().find('.') != std::string::npos;
}

Result<ForwardPath> LocalNames::admin(std::string_view path) const {
    if (admin_) return *admin_;
    return fail(Errc::bad_address, "no mailbox for " + printable(path) + " here: admin_address is not set");
}

Result<ForwardPath> LocalNames::resolve(std::string_view path, bool utf8) const {
    if (path.find('@') == std::string_view::npos) {
        // a local-part by the grammar, so that nothing odd is taken for a name: judged as one with a domain
        // after it
        if (auto judged = Mailbox::parse(std::string(path) + "@localhost", utf8); !judged)
            return fail(std::move(judged).error());
        return admin(path);
    }
    auto parsed = ForwardPath::parse(path, utf8);
    if (!parsed) return parsed;
    const Mailbox& mailbox = parsed->mailbox();
    if (mailbox.is_literal()) {
        if (!is_ours_ || !is_ours_(mailbox.address())) return parsed;
        if (admin_) return *admin_;
        return fail(Errc::loop, "mail to " + printable(path) +
                                    " would come back to this host, which has no mailboxes: admin_address is "
                                    "not set");
    }
    if (mailbox.domain().text() == "localhost" ||
        std::find(own_.begin(), own_.end(), mailbox.domain()) != own_.end())
        return admin(path);
    if (!fully_qualified(mailbox))
        return fail(Errc::bad_domain, "the domain is not fully qualified: " + printable(path));
    return parsed;
}

}  // namespace sternpost::mail
