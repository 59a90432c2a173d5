// What a running daemon does besides handling mail: it answers on its socket, and checks its resolver and
// memory.
#include <sys/statvfs.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "admin/run.h"
#include "cmd/daemon.h"
#include "dns/local_route.h"
#include "store/alarms.h"
#include "store/ask.h"
#include "tls/certificate_file.h"
#include "util/memory.h"

namespace sternpost::cmd {
namespace {

// ours: from there on what the heap keeps is given back now and then; it takes milliseconds
constexpr std::uint64_t much_memory = 40UL << 20U;
constexpr auto give_back_every = std::chrono::seconds(5);
constexpr std::size_t hops_in_status = 50;  // ours: the longest lines

}  // namespace

asio::awaitable<admin::Answer<admin::Status>> Daemon::status() {
    policy_verbs_->end_expired();
    admin::QueueHops lines({hops_in_status}, admin::Caller(), admin::Paging::one_page);
    // named: g++ 12 frees what is made in an expression with co_await twice
    admin::Send<admin::HopRow> one_page;
    auto hops = co_await admin::run(*store_, *live_, std::move(lines), std::move(one_page));
    if (!hops.value) co_return admin::Refusal{hops.code, hops.text};
    admin::Status out;
    const WallTime now = clock_.wall();
    auto question = [now, &out](store::Questions& questions) -> store::Result<void> {
        const auto totals = questions.totals();
        if (!totals) return fail(totals.error());
        out.queue = admin::totals_of(*totals);
        out.alarms.emplace();
        if (const auto alarms = store::alarms_since(questions, now - std::chrono::days(7)))
            for (const auto& alarm : *alarms) out.alarms->push_back(admin::row_of(alarm, now));
        return {};
    };
    const auto read = co_await store::ask(*store_, std::move(question));
    if (!read) co_return read.error();
    out.version = STERNPOST_VERSION;
    out.running = true;
    out.hostname = hostname_;
    out.pid = ::getpid();
    out.started = started_;
    out.in_memory = queue_->core().messages().totals().messages;
    out.next_hops = std::move(*hops.value);
    out.suspended = admin::rows_of(live_->suspensions());
    out.policies = lookups_->size();
    out.dnssec = admin::DnssecRow{std::string(dns::name_of(validation_.validation)), validation_.text};
    out.tls_reports = report_verbs_->status();
    out.clock_trusted = queue_->clock_trusted();
    out.memory_short = memory_is_short_.load();
    out.disk_short = !store_->has_room(0);
    out.results_waiting = queue_->core().refused();
    out.overrides = admin::rows_of(live_->overrides(), clock_.wall());
    co_return out;
}

// At start and every hour: does the resolver validate? Each minute: which overrides have ended?
asio::awaitable<void> Daemon::periodic_checks() {
    SteadyTime probe_at = clock_.steady();
    while (!stopping_) {
        if (clock_.steady() >= probe_at) {
            dns::ProbeNames names{settings_.dns_probe_secure, settings_.dns_probe_bogus};
            validation_ = co_await dns::probe(*resolver_, std::move(names));
            probe_at = clock_.steady() + std::chrono::hours(1);
            const bool bad = validation_.validation == dns::Validation::does_not;
            Event(log_, bad ? Level::warning : Level::info, "resolver")
                .kv("dnssec", dns::name_of(validation_.validation))
                .reason(validation_.text);
            if (bad)
                alarms_->raise(store::AlarmKind::resolver_does_not_validate, resolver_->servers_text(),
                               validation_.text);
        }
        policy_verbs_->end_expired();
        const bool raised = co_await watch();
        if (stopping_) break;
        // A new alarm is mailed once it is in the store.
        const auto pause = raised ? std::chrono::seconds(2) : std::chrono::seconds(60);
        co_await next_look_->wait(clock_.steady() + pause);
    }
}

admin::WatchedFacts Daemon::watched_facts() const {
    admin::WatchedFacts out;
    out.now = clock_.wall();
    out.disk_short = !store_->has_room(0);
    struct statvfs disk {};
    if (::statvfs(settings_.state_dir.c_str(), &disk) == 0) {
        const auto part = [](auto free, auto all) {
            return all == 0 ? 1.0 : static_cast<double>(free) / static_cast<double>(all);
        };
        out.free_octets = part(disk.f_bavail, disk.f_blocks);
        out.free_inodes = part(disk.f_favail, disk.f_files);  // some file systems count none
    }
    out.memory_short = memory_is_short_.load();
    out.clock_trusted = queue_->clock_trusted();
    out.results_waiting = queue_->core().refused();
    out.log_lines_lost = log_.lines_lost();
    if (!settings_.tls_certificate.empty()) {
        const std::string& file = settings_.tls_certificate;
        const auto verdict =
            tls::judge_certificate(file, tls::read_certificate(file, hostname_), hostname_, out.now);
        const bool good = verdict.state == tls::CertificateState::good;
        out.certificate = {file, good ? std::string() : verdict.text};
    }
    for (const auto& text : {settings_.source_ipv4, settings_.source_ipv6})
        if (const auto address = dns::Address::parse(text); address && !dns::is_local_route(*address))
            out.sources_missing.push_back(text);
    return out;
}

asio::awaitable<bool> Daemon::watch() {
    auto facts = watched_facts();
    auto question = [](store::Questions& questions) { return questions.totals(); };
    const auto totals = co_await store::ask(*store_, std::move(question));
    if (stopping_ || !totals) co_return false;
    facts.messages = totals->messages;
    facts.oldest = totals->oldest;
    const auto raised = watch_->look(facts);
    for (const auto& alarm : raised) alarms_->raise(alarm.kind, alarm.subject, alarm.text);
    if (!alarm_mail_) co_return !raised.empty();
    const auto told = co_await alarm_mail_->look();
    if (!told && !stopping_)
        Event(log_, Level::warning, "alarm-mail").reason("it cannot be queued: " + told.error().text);
    co_return !raised.empty();
}

// New mail is what memory can do without.
asio::awaitable<void> Daemon::check_memory() {
    util::MemoryLimit limit(settings_.max_memory);
    SteadyTime given_back{};
    while (!stopping_) {
        const std::uint64_t octets = util::own_memory();
        const bool is_short = limit.exceeded(octets);
        if (is_short != memory_is_short_.exchange(is_short)) {
            Event event(log_, is_short ? Level::error : Level::info, is_short ? "memory-short" : "memory");
            event.kv("octets", octets);
            if (is_short)
                event.reason("mail is refused with 452 until there is a tenth less than max_memory");
        }
        const SteadyTime when = clock_.steady();
        if (is_short || (octets > much_memory && when - given_back >= give_back_every)) {
            util::give_memory_back();
            given_back = when;
        }
        log_.flush();                // the counts of what others repeat
        sd_notify(0, "WATCHDOG=1");  // the service manager ends a daemon that hangs
        co_await next_memory_look_->wait(clock_.steady() + std::chrono::seconds(1));
    }
}

// What start_up() did not wait for.
asio::awaitable<void> Daemon::recall_policies() {
    const auto done = co_await lookups_->recall_all(SteadyTime::max());
    if (!done && !stopping_)
        Event(log_, Level::error, "policy").kv("event", "not-read").reason(done.error().text);
}

}  // namespace sternpost::cmd
