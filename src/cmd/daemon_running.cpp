// What a running daemon does besides handling mail: it answers on its socket, and checks its resolver and
// memory.
#include <unistd.h>

#include <boost/asio/use_awaitable.hpp>

#include "cmd/daemon.h"
#include "control/access.h"
#include "control/reasons.h"
#include "store/ask.h"
#include "util/memory.h"

namespace sternpost::cmd {
namespace {

// ours: from there on what the heap keeps is given back now and then; it takes milliseconds
constexpr std::uint64_t much_memory = 40UL << 20U;
constexpr auto give_back_every = std::chrono::seconds(5);
constexpr std::size_t hops_in_status = 50;  // ours: the longest lines

}  // namespace

asio::awaitable<control::Answer> Daemon::answer(control::json::object request, control::Caller caller) {
    const std::string verb = control::text_of(request, "verb");
    const bool for_all =
        control::access_of(verb) == control::Access::read && settings_.control_readers == "everybody";
    if (!caller.admin && !for_all) {
        control::Answer refused;
        refused.code = control::ExitCode::not_permitted;
        refused.text = verb + " is for root, for the daemon's account and for members of the group " +
                       settings_.admin_group;
        co_return refused;
    }
    if (verb == "status") co_return co_await status();
    if (StsAnswers::knows(verb)) co_return co_await sts_answers_->answer(std::move(request), caller);
    if (PolicyAnswers::knows(verb)) co_return co_await policy_answers_->answer(std::move(request), caller);
    if (DkimAnswers::knows(verb)) co_return co_await dkim_answers_->answer(std::move(request));
    if (QueueAnswers::knows(verb)) co_return co_await queue_answers_->answer(std::move(request), caller);
    if (ReportAnswers::knows(verb)) co_return co_await report_answers_->answer(std::move(request), caller);
    control::Answer unknown;
    unknown.code = control::ExitCode::usage;
    unknown.text = "the daemon does not know the verb " + verb + ": is the command of another release?";
    co_return unknown;
}

asio::awaitable<control::Answer> Daemon::status() {
    control::json::object out;
    out["version"] = STERNPOST_VERSION;
    out["running"] = true;
    out["hostname"] = hostname_;
    out["pid"] = ::getpid();
    out["started"] = rfc3339(started_);
    const auto totals = co_await queue_answers_->totals();
    if (!totals) co_return control::Answer{control::ExitCode::internal, totals.error().text, {}};
    out["queue"] = control::to_json(*totals);
    out["in_memory"] = queue_->core().in_memory().messages;
    control::Caller one_page;  // named: g++ 12 frees what is made in an expression with co_await twice
    auto hops = co_await queue_answers_->hops(hops_in_status, std::move(one_page));
    if (hops.code != control::ExitCode::done) co_return hops;
    out["next_hops"] = std::move(hops.data);
    out["suspended"] = queue_answers_->suspensions();
    out["policies"] = lookups_->size();
    control::json::object dnssec;
    dnssec["state"] = dns::name_of(validation_.validation);
    dnssec["reason"] = validation_.text;
    out["dnssec"] = std::move(dnssec);
    out["tls_reports"] = report_answers_->status();
    out["clock_trusted"] = queue_->clock_trusted();
    out["memory_short"] = memory_is_short_.load();
    out["disk_short"] = !store_->has_room(0);
    out["results_waiting"] = queue_->core().refused();
    policy_answers_->end_expired();
    out["overrides"] = policy_answers_->list_overrides().data;
    const WallTime week_ago = clock_.wall() - std::chrono::days(7);
    auto question = [week_ago](store::Questions& questions) { return questions.alarms(week_ago); };
    const auto alarms = co_await store::ask(*store_, std::move(question));
    control::json::array list;
    if (alarms)
        for (const auto& alarm : *alarms) list.push_back(control::to_json(alarm));
    out["alarms"] = std::move(list);
    control::Answer answer;
    answer.data = std::move(out);
    co_return answer;
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
                alarms_->raise("resolver-does-not-validate", resolver_->servers_text(), validation_.text);
        }
        policy_answers_->end_expired();
        if (stopping_) break;
        co_await next_look_->wait(clock_.steady() + std::chrono::minutes(1));
    }
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
        log_.flush();  // the counts of what others repeat
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
