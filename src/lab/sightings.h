// What the small internet has seen: messages, SMTP sessions, DNS questions, HTTPS requests. The newest are
// kept, within limits.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "util/clock.h"

namespace sternpost::lab {

struct Mail {
    std::uint64_t id = 0;  // from 1 on, in order of arrival
    WallTime arrived;
    std::string mx;      // the host that took it
    std::string client;  // address
    std::string helo;
    std::string tls;  // `TLSv1.3`; empty: in clear
    std::string sni;
    std::string reverse_path;
    std::string parameters;  // of MAIL, as they came
    std::vector<std::string> recipients;
    std::string octets;
};

struct SmtpSession {
    WallTime began;
    std::string mx;
    std::string client;
    std::string tls;
    std::string sni;
    std::vector<std::string> lines;  // `C: …`, `S: …`, `-- …`; message text is left out
};

struct DnsQuestion {
    WallTime asked;
    std::string name;
    std::string type;
    std::string answer;  // `2 records`, `servfail` …
};

struct HttpsRequest {
    WallTime asked;
    std::string host;
    std::string sni;
    std::string request;  // its first line
    std::string head;     // all of it, line ends as `\\r\\n`
    std::string answer;   // `200`, `hang` …
};

/// A few kinds of sightings, the newest of each. Lives on the lab's thread.
class Sightings {
  public:
    /// Numbers and keeps it; returns the number.
    std::uint64_t keep(Mail mail);
    /// The session is written to until it ends: whoever holds it may outlive its place here.
    std::shared_ptr<SmtpSession> begin(SmtpSession session);
    void keep(DnsQuestion question);
    void keep(HttpsRequest request);

    const std::deque<Mail>& mail() const { return mail_; }
    const std::deque<std::shared_ptr<SmtpSession>>& sessions() const { return sessions_; }
    const std::deque<DnsQuestion>& dns() const { return dns_; }
    const std::deque<HttpsRequest>& https() const { return https_; }

  private:
    std::deque<Mail> mail_;
    std::deque<std::shared_ptr<SmtpSession>> sessions_;
    std::deque<DnsQuestion> dns_;
    std::deque<HttpsRequest> https_;
    std::uint64_t last_id_ = 0;
    std::size_t mail_octets_ = 0;
};

}  // namespace sternpost::lab
