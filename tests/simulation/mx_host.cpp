#include "mx_host.h"

namespace sternpost::simulation {

using Kind = MxHost::Said::Kind;

std::optional<MxHost::Said> MxHost::trouble(bool may_refuse) {
    if (host_.down) return Said{Kind::closes, {}};
    if (net_.chance.percent(host_.faults.goes_away)) {
        switch (net_.chance.below(3)) {
            case 0:
                return says(421, "4.3.2 shutting down");
            case 1:
                return Said{Kind::closes, {}};
            default:
                return Said{Kind::silence, {}};
        }
    }
    if (net_.chance.percent(host_.faults.temporary)) return says(451, "4.3.0 try again later");
    if (may_refuse && net_.chance.percent(host_.faults.permanent)) return says(554, "5.6.0 not liked");
    return std::nullopt;
}

MxHost::Said MxHost::greeting() {
    if (auto wrong = trouble(true)) return *wrong;
    return says(220, (host_.calls_itself.empty() ? host_.name : host_.calls_itself) + " ESMTP");
}

MxHost::Said MxHost::ehlo(bool inside_tls) {
    inside_tls_ = inside_tls;
    if (auto wrong = trouble(false)) return *wrong;
    Said out = says(250, host_.name);
    if (host_.starttls && !stripped_ && !inside_tls) out.reply.lines.emplace_back("STARTTLS");
    if (host_.pipelining) out.reply.lines.emplace_back("PIPELINING");
    if (host_.eight_bit) out.reply.lines.emplace_back("8BITMIME");
    if (host_.requiretls && inside_tls) out.reply.lines.emplace_back("REQUIRETLS");
    out.reply.lines.emplace_back("ENHANCEDSTATUSCODES");
    return out;
}

MxHost::Said MxHost::starttls() {
    if (auto wrong = trouble(false)) return *wrong;
    return says(220, "go ahead");
}

std::string MxHost::handshake_fails() {
    if (!net_.chance.percent(host_.faults.handshake)) return "";
    static const std::vector<std::string> reasons{
        "sslv3 alert handshake failure", "tlsv1 alert internal error", "unexpected eof while reading"};
    return net_.chance.pick(reasons);
}

MxHost::Said MxHost::mail() {
    accepted_.clear();
    took_ = false;
    if (auto wrong = trouble(false)) return *wrong;
    if (net_.chance.percent(host_.faults.temporary / 2)) return says(450, "4.7.1 slow down");
    return says(250, "2.1.0 ok");
}

MxHost::Said MxHost::rcpt(const std::string& address) {
    if (!host_.evil && address.starts_with("unknown"))
        return says(550, host_.foreign ? "5.1.1 kein Postfach dieser Gr\u00f6\u00dfe" : "5.1.1 no such user");
    if (auto wrong = trouble(true)) return *wrong;
    if (host_.faults.greylists) {
        const auto now = net_.time.clock().wall();
        const auto [known, first] = host_.greylisted.try_emplace(
            address, now + net_.chance.time(std::chrono::minutes(4), std::chrono::minutes(30)));
        if (now < known->second) return says(451, "4.7.1 greylisted, come again");
    }
    if (accepted_.size() >= 20) return says(452, "4.5.3 too many recipients");
    accepted_.push_back(address);
    return says(250, "2.1.5 ok");
}

MxHost::Said MxHost::data() {
    if (accepted_.empty()) return says(554, "5.5.1 no valid recipients");
    if (auto wrong = trouble(false)) return *wrong;
    return says(354, "go ahead");
}

MxHost::Said MxHost::dot() {
    took_ = false;
    if (auto wrong = trouble(true)) {
        // No one knows on which side of the taking a host dies.
        took_ = wrong->kind != Kind::reply && net_.chance.percent(30);
        return *wrong;
    }
    took_ = true;
    if (net_.chance.percent(host_.faults.loses_dot))
        return {net_.chance.percent(50) ? Kind::closes : Kind::silence, {}};
    return says(250, "2.0.0 taken");
}

MxHost::Said MxHost::quit() {
    gone_ = true;
    return says(221, "2.0.0 bye");
}

void MxHost::feed(std::string_view octets) {
    pending_ += octets;
    while (!gone_) {
        if (in_data_) {
            const bool empty = pending_.starts_with(".\r\n");
            const auto end = empty ? 0 : pending_.find("\r\n.\r\n");
            if (end == std::string::npos) return;
            message_ = empty ? "" : pending_.substr(0, end + 2);
            pending_.erase(0, end + (empty ? 3 : 5));
            for (std::size_t at = 0; at < message_.size();) {  // RFC 5321 §4.5.2
                if (message_[at] == '.') message_.erase(at, 1);
                const auto eol = message_.find("\r\n", at);
                at = eol == std::string::npos ? message_.size() : eol + 2;
            }
            in_data_ = false;
            said_.push_back(dot());
        } else {
            const auto eol = pending_.find("\r\n");
            if (eol == std::string::npos) return;
            const std::string line = pending_.substr(0, eol);
            pending_.erase(0, eol + 2);
            command(line);
        }
        if (said_.back().kind != Kind::reply) gone_ = true;
        if (said_.back().kind == Kind::reply && said_.back().reply.code == 421) gone_ = true;
    }
}

void MxHost::command(const std::string& line) {
    const auto path = [&] {
        const auto open = line.find('<');
        return line.substr(open + 1, line.find('>') - open - 1);
    };
    if (line.starts_with("EHLO")) {
        said_.push_back(ehlo(inside_tls_));
    } else if (line == "STARTTLS") {
        said_.push_back(starttls());
    } else if (line.starts_with("MAIL")) {
        said_.push_back(mail());
    } else if (line.starts_with("RCPT")) {
        said_.push_back(rcpt(path()));
    } else if (line == "DATA") {
        said_.push_back(data());
        in_data_ = said_.back().reply.code == 354;
    } else if (line == "RSET") {
        said_.push_back(reset());
    } else if (line == "QUIT") {
        said_.push_back(quit());
    } else {
        said_.push_back(says(500, "5.5.2 what?"));
    }
}

}  // namespace sternpost::simulation
