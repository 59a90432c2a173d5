// What it means that a next hop cannot take mail: for ever or not, with which status and reason code, in
// which sentence. One recipient's failure on an open session is outcome.h's. Pure.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "delivery/plan.h"
#include "queue/work.h"
#include "smtp/client.h"

namespace sternpost::delivery {

/// Why the MX records of a next hop lead to no host (RFC 5321 §5.1, RFC 7505).
enum class NoHostsCause {
    bad_name,      // the next hop is no domain name
    unanswered,    // the look-up failed: it may pass
    no_domain,     // NXDOMAIN
    null_mx,       // RFC 7505: it takes no mail
    no_host_name,  // its MX records name no host
    ourselves,     // we are its best host
};

/// `detail`: what the resolver or the parser said, or the record at fault; not read for `no_domain`,
/// `null_mx` and `ourselves`.
queue::HopFailure failure_of(NoHostsCause cause, const std::string& next_hop, const std::string& detail);

/// The permanent failure made one that may pass, for a plan that doubts_dns().
queue::HopFailure doubted(const HopPlan& plan, queue::HopFailure hop_failure);

/// No one can say whether the domain demands TLS by MTA-STS.
queue::HopFailure sts_unknown(const HopPlan& plan);

/// A host answered one recipient, or one message, with "not now" to all mail: `result` is that recipient's.
queue::HopFailure asked_to_wait(const std::string& endpoint, const store::DeliveryResult& result);

/// What one attempt has found out about the hosts of a next hop, as long as none has taken mail. Events go
/// in, in the order in which they happen; failure() says what they mean together. Belongs to one attempt.
class HopFindings {
  public:
    /// Sentences about hosts, at most 20, for `why`. Outcomes and dialogues are the attempt's to add.
    store::AttemptDetail detail;

    // ---- events
    void begin_host();
    void end_host();
    /// What is demanded of the host rules it out before a connection.
    void ruled_out(const HostPlan& host);
    void no_address(const HostPlan& host);
    /// The host is one of ours (RFC 5321 §5.1): no worse host is tried either.
    void is_ourselves() { ourselves_ = true; }
    /// An address took no connection a moment ago and is not tried again yet.
    void left_alone(const std::string& why);
    /// An address has as many connections as it may have.
    void no_connection_free(const std::string& endpoint);
    void dialled() { ++addresses_tried_; }
    /// No session came about. `tls`: what the host was asked for.
    void no_session(const std::string& endpoint, const HostPlan& host, const smtp::Failure& failure,
                    smtp::TlsUse tls);
    /// What a session that did not come about leaves for notices and `why`: the last reply, and what was
    /// said.
    void noted(const std::string& host, const smtp::Failure& failure);
    /// A session came about and lacks what is demanded.
    void unfit(const std::string& endpoint, const HostPlan& host, const Verdict& verdict, bool encrypted);
    /// A host refuses mail over IPv6 for want of a PTR record (D-21): only IPv4 from here on.
    void wants_ptr(const std::string& endpoint);
    /// The attempt's time is over.
    void ran_out_of_time(std::chrono::seconds budget, const std::string& domain);
    /// All hosts are judged by another MTA-STS policy from here on. The sentences stay.
    void policy_changed(const std::string& domain);

    // ---- answers
    std::size_t addresses_tried() const { return addresses_tried_; }
    bool ourselves() const { return ourselves_; }
    bool late() const { return late_; }
    bool ipv4_only() const { return ipv4_only_; }
    /// An enforced MTA-STS policy from the cache is what rules a host out: the domain may have mended it
    /// since.
    bool held_by_cached_sts(const HopPlan& plan) const;
    /// No host would do.
    queue::HopFailure failure(const HopPlan& plan) const;

  private:
    void tell(std::string sentence);
    void lacks(const HostPlan& host, const Verdict& verdict, bool encrypted);
    std::string sentences(const HopPlan& plan) const;
    queue::HopFailure held(queue::HopFailure hop_failure, const HopPlan& plan) const;

    std::string status_;  // of the last reason
    store::ReasonCode reason_code_ = store::ReasonCode::none;
    std::optional<Requirement> held_by_;  // that of a host which what is demanded ruled out
    store::ReasonCode held_code_ = store::ReasonCode::none;
    std::size_t sentences_ = 0;  // also those that `detail` does not have
    std::size_t addresses_tried_ = 0;
    std::size_t hosts_ = 0;        // looked at
    std::size_t lacking_ = 0;      // of these: ruled out by what is demanded, and not for want of an answer
    std::size_t without_tls_ = 0;  // of these: for want of any TLS
    std::size_t no_source_ = 0;    // addresses that could not be called from the address that is set
    std::size_t no_network_ = 0;   // addresses that could not be reached for want of a network here
    std::size_t refused_us_ = 0;   // addresses whose greeting, or EHLO reply, turned us away for good
    std::size_t never_ = 0;        // of these: hosts that say that they never take mail (RFC 7504)
    std::size_t loops_ = 0;        // addresses whose host called itself by our name
    bool host_lacks_ = false;      // the host at hand lacks something that is demanded
    bool host_lacks_tls_ = false;  // at each of its addresses that: any TLS
    bool ourselves_ = false;       // the host at hand is this one
    bool skipped_ = false;         // an address was left alone
    bool may_pass_ = false;        // a look-up failed, or an address was left alone: another time it may do
    bool late_ = false;
    bool ipv4_only_ = false;
};

}  // namespace sternpost::delivery
