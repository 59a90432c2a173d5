// What must hold, whatever the world does. The oracle sees what was acknowledged, what the daemon was told by
// DNS and policy hosts, and what really arrived where; it has its own reading of the rules and knows none of
// delivery's code.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "claims.h"
#include "facts.h"
#include "queue/core.h"
#include "store/hop_group.h"
#include "store/store.h"
#include "trace.h"
#include "world.h"

namespace sternpost::simulation {

/// A message as its sender handed it over.
struct Letter {
    std::string name;  // `L17`: stands in its header, and tells it apart whatever queue id it gets
    std::string reverse_path;
    std::vector<std::string> recipients;
    std::string octets;
    bool notify_never = false;
    bool requiretls = false;
    bool tls_required_no = false;
    bool bulk = false;
    bool hostile = false;  // from someone who means harm, under a reverse-path that is not his
    bool local = false;    // by sendmail: a trace field comes on top, and what the header lacks
    bool acknowledged = false;
};

/// What a session of the simulated network is, in truth.
struct Truth {
    std::string host;  // whose name was dialled
    bool encrypted = false;
    Certificate certificate;  // shown in the full handshake that the session stems from
    bool requiretls_offered = false;
};

class Oracle {
  public:
    Oracle(Trace& trace, const Clock& clock, const queue::Options& options)
        : trace_(trace),
          facts_(clock),
          claims_(trace, facts_),
          clock_(clock),
          options_(options),
          schedule_(options.schedule),
          window_(options.window) {}
    /// There are some who mean harm; one task queue gets so many notices a day.
    void expect_harm(std::size_t notices_per_day) { notices_per_day_ = notices_per_day; }

    // ---- mail in
    void submitted(const Letter& letter) { letters_.insert_or_assign(letter.name, letter); }
    /// The sender was told that it is safe.
    void acknowledged(const std::string& letter) { letters_.at(letter).acknowledged = true; }
    /// The store is asked to keep it, under this queue id. letter empty: a notice of our own.
    void given(const store::NewMessage& message, const std::string& letter);

    // ---- the store, as the daemon sees it
    void asked_to_record(const std::vector<store::DeliveryResult>& results,
                         const std::vector<store::NewMessage>& notices);
    void recorded(const std::vector<store::DeliveryResult>& results,
                  const std::vector<store::NewMessage>& notices);
    /// Not now: it will be asked again.
    void not_recorded(const std::vector<store::DeliveryResult>& results);
    void hop_recorded(const store::HopState& state);
    void acts_asked(const std::vector<store::Act>& acts);
    void acts_recorded(const std::vector<store::Act>& acts);
    void policy_recorded(const store::StoredPolicy& policy);
    /// The store has said that it keeps it.
    void accepted(store::MessageId id);
    void suspension_asked(const store::StoredSuspension& suspension);
    void suspension_recorded(const store::StoredSuspension& suspension);

    // ---- what the daemon is told
    struct MxTold {
        bool failed = false;
        bool authentic = false;
    };
    /// A session in which the host offered STARTTLS, or did not, or refused it.
    void told_starttls(const std::string& host, bool offered) { note(starttls_[host], offered); }
    /// A handshake that failed, with what the TLS library said.
    void told_handshake_failed(const std::string& host, const std::string& why) {
        handshakes_[host].insert(why);
    }
    /// Whether DNSSEC vouches for the addresses of a host.
    void told_addresses(const std::string& host, bool authentic) { note(addresses_[host], authentic); }
    struct TlsaTold {
        bool failed = false;
        std::set<std::vector<std::uint8_t>> digests;  // empty and not failed: there are none
        bool unusable = false;  // there are some, and none of them can authenticate (RFC 7672 §2.2)
    };
    /// A question that goes to the DNS.
    void looked_up(const std::string& question);
    void told_mx(const std::string& domain, MxTold what) { note(mx_[domain], what); }
    void told_tlsa(const std::string& host, TlsaTold what) { note(tlsa_[host], std::move(what)); }
    /// What the TXT record says. Empty: it could not be looked up, or there is no valid one.
    void told_policy_id(const std::string& domain, std::string id) { note(txt_[domain], std::move(id)); }
    void asked_for_policy(const std::string& domain) { note(fetches_[domain], true); }
    /// The domain's own policy, over a certificate that holds.
    void served(const std::string& domain, const Policy& policy);
    /// The administrator sets a level for mail to the domain; empty: none any more.
    void override_asked(const std::string& domain, const std::string& level);
    void override_recorded(const std::string& domain, const std::string& level);
    /// What a new process finds to be set.
    void overrides_found(const std::map<std::string, std::string>& levels);

    // ---- delivery
    /// A lane works for the next hop, for as long as this lives.
    class Lane {
      public:
        Lane(Oracle& oracle, std::string hop);
        Lane(const Lane&) = delete;
        Lane& operator=(const Lane&) = delete;
        ~Lane();

      private:
        Oracle& oracle_;
        std::string hop_;
        WallTime since_;
    };
    /// Packets are about to go to this address. `host`: under whose name.
    void dialled(const dns::Address& address, const std::string& host);
    /// Octets of the message are about to go over the session.
    void judge(const queue::Work& work, const Truth& session);
    /// A host has taken the message for this recipient; `heard`: and the daemon heard of it.
    void taken(const queue::Work& work, std::uint32_t recipient, bool heard);
    /// The octets that arrived, whole.
    void arrived(const queue::Work& work, const std::string& octets);
    /// A TLS session was opened with the host: it is to show in the sums. Not `certain`: where a policy that
    /// is not enforced leaves the host out, the host counts by its name alone.
    void session_opened(const std::string& host, bool certain);
    /// A TLS report as a collector or a task queue got it: compressed JSON.
    void report_came(const std::string& gzip);
    /// Whether a policy of the domain that was ever served leaves the host out.
    bool ever_unlisted(const std::string& domain, const std::string& host) const;

    /// What the daemon says to people.
    Claims& claims() { return claims_; }
    const Facts& facts() const { return facts_; }
    /// An administrator lets held mail go, or ends a suspension, which lets it go too.
    void let_go() { let_go_until_ = clock_.steady() + std::chrono::hours(1); }

    // ---- the machine
    /// The process is gone, by whatever way.
    void ended();
    void started();
    /// Writes may be lost without anybody's fault from now on, or no more.
    /// Nothing expires while the machine's clock is wrong.
    void clock_set(bool right) {
        claims_.forget();
        facts_.shaken();
        if (right && !clock_right_) clock_right_since_ = clock_.wall();
        clock_right_ = right;
    }
    void disk_trouble(bool trouble) { disk_trouble_ = trouble; }
    /// Whether everything that waits may wait.
    void look();
    /// Whether the queue's memory holds no more than its window.
    void look_at_memory(const queue::Core& core);
    /// Whether it remembers no more next hops than it may of which nothing is in memory.
    void look_at_hops(const queue::Core& core);
    /// Acknowledged mail that has not ended yet.
    std::vector<store::MessageId> waiting() const;

    // ---- the end
    struct Kept {
        std::vector<store::StoredMessage> queue;
        std::vector<store::StoredHost> hosts;
        std::vector<store::StoredOutcome> outcomes;
        std::vector<store::StoredReport> reports;
        store::ReportingState reporting;
        store::History history;
    };
    /// After the queue has drained.
    void finish(const Kept& kept);

    struct Counts {
        std::size_t letters = 0;
        std::size_t acknowledged = 0;
        std::size_t notices = 0;
        std::size_t taken = 0;
        std::size_t repeated = 0;  // acceptances that were excused
        std::size_t sessions = 0;
        std::size_t reports = 0;  // that came, each once
    };
    Counts counts() const;

  private:
    template <class T>
    using Told = std::vector<std::pair<WallTime, T>>;
    template <class T>
    void note(Told<T>& told, T what) {
        told.emplace_back(clock_.wall(), std::move(what));
    }

    struct Served {
        Policy policy;
        WallTime at;
        bool durable = false;
        bool perhaps_lost = false;  // the process ended before it was durable
    };
    struct Recipient {
        std::string address;
        std::string hop;
        bool final_asked = false;
        store::RecipientState recorded = store::RecipientState::queued;
        WallTime due{};          // not before this
        WallTime perhaps_due{};  // nor before this, if a deferral that was asked for is kept
    };
    struct Message {
        std::string identity;  // of the letter, or of the notice by its queue id
        bool acknowledged = false;
        bool remove_asked = false;
        std::optional<WallTime> removed{};
        bool held = false;
        WallTime free_since{};   // arrived, or released
        bool has_turns = false;  // of a sender of little mail, who is to have his turn
        bool hostile = false;    // waits for a turn of its own, however long
        std::string tells;       // a notice: whom
        WallTime arrived{};
        std::vector<Recipient> recipients;
    };
    /// What became of one message for one address, whatever queue ids it went by.
    struct Copy {
        unsigned taken = 0;
        unsigned excused_repeats = 0;
        bool excused = false;  // another acceptance would be no one's fault
    };
    struct Sessions {
        std::uint64_t open = 0;    // in this process, and in no record yet
        std::uint64_t asked = 0;   // in a record that is not acknowledged yet
        std::uint64_t told = 0;    // in a record that is on stable storage
        std::uint64_t unsure = 0;  // the process ended before they were
    };

    std::vector<std::optional<Policy>> policies_in_force(const std::string& domain, WallTime begin) const;
    /// Why the session may not have mail of this kind, by all that the daemon could know since `begin`.
    std::string breach(const store::HopGroup& hop, const Truth& session, WallTime begin) const;
    std::string breach_of_domain(const store::HopGroup& hop, const Truth& session, WallTime begin) const;
    void count(const store::AttemptDetail& detail, std::uint64_t Sessions::*from,
               std::uint64_t Sessions::*to);
    void check_reports(const Kept& kept) const;
    void check_notices(const Kept& kept) const;
    void check_wait(const store::DeliveryResult& result);
    std::string describe(const store::MessageId& id) const;
    bool may_be_suspended(store::MessageId id, const std::string& hop) const;
    void check_outcome(const store::TlsOutcome& outcome);
    void check_diagnostics(const std::vector<store::DeliveryResult>& results,
                           const std::vector<store::NewMessage>& notices);
    std::string hop_of(const store::DeliveryResult& result) const;
    void check_turn(store::MessageId id, const Message& message, const Recipient& recipient) const;

    Trace& trace_;
    Facts facts_;
    Claims claims_;
    const Clock& clock_;
    queue::Options options_;
    queue::Schedule schedule_;
    queue::WindowLimits window_;
    std::optional<std::size_t> notices_per_day_;     // a world with some who mean harm
    std::map<std::string, std::size_t> told_today_;  // notices, by whom they tell; in this process and day
    std::string told_day_;
    std::size_t many_lanes_ = 0;  // to the next hop with many names, and what was asked of their names
    std::size_t many_questions_ = 0;
    SteadyTime let_go_until_{};  // mail on hold may be released
    std::map<std::string, Letter> letters_;
    std::map<store::MessageId, Message> messages_;
    std::map<std::pair<std::string, std::string>, Copy> copies_;  // by identity and address
    std::set<store::SubmissionId> submissions_;                   // of notices that are kept
    /// What was to be kept with a recipient's bounce, whenever that was tried.
    std::map<std::pair<store::MessageId, std::uint32_t>, std::set<store::MessageId>> notices_;
    std::map<std::string, std::vector<Served>> served_;
    std::map<std::string, Told<MxTold>> mx_;
    std::map<std::string, Told<TlsaTold>> tlsa_;
    std::map<std::string, Told<bool>> addresses_;
    std::map<std::string, Told<std::string>> txt_;
    std::map<std::string, Told<bool>> fetches_;
    std::map<std::string, Told<bool>> starttls_;               // by host: whether it was offered
    std::map<std::string, std::set<std::string>> handshakes_;  // by host: why they failed
    std::map<std::string, Told<std::string>> overrides_;
    std::map<std::string, std::string> overrides_kept_;     // that the administrator was told are kept
    std::map<std::string, std::multiset<WallTime>> lanes_;  // begun, by hop
    struct Hop {
        WallTime due{};       // not before this
        WallTime activity{};  // a lane began, did something or ended
    };
    std::map<std::string, Hop> hops_;
    std::map<std::string, Sessions> sessions_;
    std::set<std::string> report_hops_;  // that TLS reports went to
    Sessions outcomes_;
    struct CameReport {
        std::string json;
        std::string domain;
        std::string day;             // 2026-03-01
        std::uint64_t sessions = 0;  // good and failed ones
    };
    std::map<std::string, CameReport> came_;  // by report-id
    WallTime up_since_{};
    std::set<std::pair<store::MessageId, std::uint32_t>> refused_;  // results that the store would not keep
    SteadyTime refused_since_;
    bool disk_trouble_ = false;
    bool clock_right_ = true;
    WallTime clock_right_since_{};
};

}  // namespace sternpost::simulation
