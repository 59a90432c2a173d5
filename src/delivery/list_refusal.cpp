#include "delivery/list_refusal.h"

#include <array>
#include <chrono>

#include "util/text.h"

namespace sternpost::delivery {
namespace {

constexpr auto raised_again = std::chrono::hours(1);  // ours
constexpr std::size_t most_known = 10'000;            // ours: hosts that are remembered with a list

struct Words {
    std::string_view words;  // in lower case
    std::string_view list;
};

// As the lists and the providers document their replies, or as their users quote them. A provider's words
// come before those of lists: a reply may name both, and the provider is the one to ask.
constexpr std::array known{
    Words{"unusual rate of unsolicited mail", "Gmail"},
    Words{"very low reputation of the sending", "Gmail"},
    Words{"likely unsolicited mail", "Gmail"},
    Words{"on our block list (s", "Microsoft"},
    Words{"blocked using our list", "Microsoft"},
    Words{"banned sending ip", "Microsoft"},
    Words{"access denied, traffic not accepted from this ip", "Microsoft"},
    Words{"[tss", "Yahoo"},
    Words{"[ipts", "Yahoo"},
    Words{"due to user complaints", "Yahoo"},
    Words{"[cs01]", "iCloud"},
    Words{"[hm08]", "iCloud"},
    Words{"postmaster.comcast.net", "Comcast"},
    Words{"tosa@rx.t-online.de", "T-Online"},
    Words{"ip address is block listed", "GMX"},
    Words{"postmaster.gmx.net", "GMX"},
    Words{"postmaster.web.de", "WEB.DE"},
    Words{"postmaster.orange.fr", "Orange"},
    Words{"csi.cloudmark.com", "Cloudmark"},
    Words{"ipcheck.proofpoint.com", "Proofpoint"},
    Words{"spamhaus", "Spamhaus"},
    Words{"spamcop", "SpamCop"},
    Words{"barracudacentral", "Barracuda"},
    Words{"barracudanetworks.com/reputation", "Barracuda"},
    Words{"sorbs.net", "SORBS"},
    Words{"uceprotect", "UCEPROTECT"},
    Words{"abuseat.org", "CBL"},
    Words{"psbl.org", "PSBL"},
    Words{"mailspike", "Mailspike"},
    Words{"invaluement", "Invaluement"},
    Words{"senderscore", "Sender Score"},
    Words{"mail-abuse.com", "Trend Micro"},
    Words{"hostkarma", "Hostkarma"},
    Words{"spfbl.net", "SPFBL"},
    Words{"blocklist.de", "blocklist.de"},
    Words{"truncate.gbudb", "GBUdb"},
    Words{"dnsbl", "a block list"},
    Words{"rbl.", "a block list"},
};

}  // namespace

std::optional<std::string_view> refusing_list(std::string_view reply) {
    if (!reply.starts_with('4') && !reply.starts_with('5')) return std::nullopt;
    const std::string text = lowered(std::string(reply));
    for (const auto& one : known)
        if (text.find(one.words) != std::string::npos) return one.list;
    return std::nullopt;
}

std::optional<store::NewAlarm> ListRefusals::observe(const std::string& host, std::string_view reply,
                                                     SteadyTime now) {
    const auto list = refusing_list(reply);
    if (!list) return std::nullopt;
    if (raised_.size() >= most_known) raised_.clear();
    const auto [raised, first] = raised_.try_emplace({host, *list}, now);
    if (!first && now - raised->second < raised_again) return std::nullopt;
    raised->second = now;
    return store::NewAlarm{
        store::AlarmKind::refused_by_list, host + " (" + std::string(*list) + ")",
        "the host refuses our mail, and names " + std::string(*list) + ": " + printable(reply, 500)};
}

}  // namespace sternpost::delivery
