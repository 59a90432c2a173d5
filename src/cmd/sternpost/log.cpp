// `sternpost log`: what became of mail.
#include "admin/mail_log.h"
#include "cmd/sternpost/command.h"
#include "cmd/sternpost/show.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

std::string way_of(const admin::OriginRow& origin) {
    std::string out = origin.with;
    if (!origin.address.empty()) out += " from " + origin.address;
    if (origin.uid) out += fmt::format(" from uid {}", *origin.uid);
    return out;
}

void show_attempt(const admin::LoggedMessage& message, const admin::HistoryRow& row) {
    if (row.act) {
        tell("        {}  {} by {}\n", rfc3339(row.at), store::name_of(static_cast<store::ActKind>(*row.act)),
             printable(row.who.value_or("")));
        return;
    }
    const bool several = message.recipients.size() > 1;
    const std::size_t n = row.recipient.value_or(0);
    std::string where = row.mx_host.value_or("");
    if (row.mx_address && !row.mx_address->empty()) where += "[" + *row.mx_address + "]";
    const std::string tls = row.tls.value_or("");
    tell("        {}  {}{}{}{}{} {}\n", rfc3339(row.at),
         several && n < message.recipients.size() ? shown_path(message.recipients[n].path) + "  " : "", where,
         tls.empty() ? "" : "  " + tls, where.empty() ? "" : "  ", row.status.value_or(""),
         printable(row.reason.value_or(""), 1000));
}

void show_logged(const admin::LoggedMessage& message, bool attempts) {
    tell("{}  {}  {} octets  from {}{}\n", message.id, rfc3339(message.arrived), message.size,
         shown_path(message.reverse_path), message.class_ == "mail" ? "" : "  " + message.class_);
    tell("    {}{}\n", way_of(message.origin),
         message.message_id.empty() ? "" : "  Message-ID " + printable(message.message_id));
    for (const auto& recipient : message.recipients) {
        tell("    to {}  {}", shown_path(recipient.path), store::name_of(recipient.state));
        if (!recipient.reason.empty() && !attempts)
            tell("  {} {}", recipient.status, printable(recipient.reason, 1000));
        if (recipient.state == store::RecipientState::queued)
            tell("  (\"sternpost why {}\" says what blocks it)", message.id);
        tell("\n");
    }
    if (!attempts) return;
    for (const auto& row : message.attempts) show_attempt(message, row);
}

}  // namespace

void add_log(Command& command) {
    auto attempts = std::make_shared<bool>(false);
    auto log = command.add_reading<admin::MailLog>(
        &command.app(), "log", "Shows what happened to mail, by address, Message-ID, domain or queue id",
        [attempts](const admin::LogAnswer& answer) {
            if (answer.more) tell("Older mail matches too: --limit shows more.\n");
            for (const auto& message : answer.messages) show_logged(message, *attempts);
        });
    auto& request = *log.request;
    log.app->add_option("WHAT", request.what,
                        "address, Message-ID, destination domain or queue id; default: all mail");
    log.app->add_option("--as", request.as, "find the address only as a recipient, or only as the sender")
        ->check(CLI::IsMember({"recipient", "sender"}));
    auto since = std::make_shared<std::string>();
    log.app->add_option("--since", *since,
                        "how far back, such as 90m, 24h or 7d; default: everything that is kept");
    log.app->add_option("--limit", request.limit, "show at most this many messages, the latest")
        ->check(CLI::Range(1, 10000))
        ->capture_default_str();
    log.app->add_flag("--attempts", *attempts, "show each attempt and each action of an administrator");
    log.app->parse_complete_callback([since, asked = log.request] {
        if (since->empty()) return;
        asked->from = ago("--since", *since);
    });
}

}  // namespace sternpost::cmd
