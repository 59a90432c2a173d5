#include "tlsrpt/daily.h"

#include <fmt/format.h>

#include <algorithm>

#include "store/ask.h"
#include "util/call.h"

namespace sternpost::tlsrpt {
namespace {

constexpr std::size_t at_once = 16;                     // attempts; ours
constexpr auto look_again = std::chrono::minutes(1);    // at clock and set-up
constexpr auto read_again = std::chrono::hours(1);      // what is to be sent
constexpr auto oldest_reported = std::chrono::days(3);  // days missed longer ago are of no use to anybody

}  // namespace

Daily::Daily(const Runtime& runtime, Sender& sender, store::Store& store, store::Alarms& alarms,
             Surroundings around)
    : sender_(sender),
      store_(store),
      alarms_(alarms),
      clock_(runtime.clock),
      timer_(runtime.timer),
      log_(runtime.log),
      around_(std::move(around)),
      wakeup_(timer_.wakeup()),
      attempts_(runtime.context, log_),
      time_(runtime.context, log_) {}

void Daily::start() {
    time_.spawn("TLS reports", watch());
}

asio::awaitable<void> Daily::stop() {
    stopping_ = true;
    wakeup_->wake();
    attempts_.cancel();
    co_await attempts_.join();
    time_.cancel();
    co_await time_.join();
}

bool Daily::ready() const {
    const ReportingStatus now = status();
    return now.sending && now.missing.empty();
}

ReportingStatus Daily::status() const {
    ReportingStatus out;
    const Options& options = sender_.options();
    out.sending = options.send;
    if (options.organization.empty()) out.missing.emplace_back("tlsrpt.organization is not set");
    if (!options.contact) out.missing.emplace_back("tlsrpt.contact is not set");
    for (auto& one : around_.missing()) out.missing.push_back(std::move(one));
    out.closed = closed_;
    out.waiting = due_.size() + under_way_.size();
    if (!due_.empty()) out.next = due_.begin()->first;
    return out;
}

asio::awaitable<std::optional<store::ReportingState>> Daily::state() {
    const auto from = std::chrono::floor<std::chrono::days>(clock_.wall()) - oldest_reported;
    auto question = [from](store::Questions& questions) { return questions.reporting(from); };
    auto state = co_await store::ask(store_, std::move(question));
    if (!state) {
        Event(log_, Level::error, "tls-report")
            .reason("what is to be reported cannot be read: " + state.error().text);
        co_return std::nullopt;
    }
    co_return std::move(*state);
}

// What the day's counters say is the same from then on, however often it is asked.
asio::awaitable<bool> Daily::close(std::chrono::sys_days day) {
    auto put = [this, day](Completion<store::Result<void>> reply) {
        store_.keep(store::ClosedDay{day}, std::move(reply));
    };
    const auto kept = co_await call<store::Result<void>>(std::move(put));
    if (!kept) {
        Event(log_, Level::error, "tls-report").reason("the day cannot be closed: " + kept.error().text);
        co_return false;
    }
    Event(log_, Level::info, "day-closed").kv("day", rfc3339(begin_of(day)).substr(0, 10));
    co_return true;
}

void Daily::plan(Key key, WallTime when) {
    if (under_way_.contains(key) || planned_.contains(key)) return;
    const auto place = due_.emplace(when, key);
    planned_.emplace(std::move(key), place);
}

// Closes the day that has ended, and finds what is to be reported. False: it cannot be done now.
asio::awaitable<bool> Daily::look() {
    if (!around_.clock_trusted()) co_return false;
    const WallTime now = clock_.wall();
    const Options& options = sender_.options();
    const auto ended = options.schedule.last_ended(now);
    bool news = false;
    if (!closed_) {
        const auto before = co_await state();
        if (!before) co_return false;
        closed_ = before->closed;
        news = true;
    }
    if (*closed_ < ended) {
        const bool closed = co_await close(ended);
        if (!closed) co_return false;
        closed_ = ended;
        news = true;
    }
    if (!news && now - looked_ < read_again && now >= looked_) co_return true;
    const auto all = co_await state();
    if (!all) co_return false;
    looked_ = now;
    for (const auto& one : all->unreported) {
        if (one.day > *closed_) continue;
        const WallTime due = options.schedule.due(one.day, one.domain, options.node);
        plan({one.day, one.domain}, std::max(due, one.next_at));
    }
    co_return true;
}

void Daily::begin_due() {
    if (due_.empty() || !around_.clock_trusted() || !ready()) return;
    const WallTime now = clock_.wall();
    while (!due_.empty() && due_.begin()->first <= now && under_way_.size() < at_once) {
        Key key = std::move(due_.begin()->second);
        due_.erase(due_.begin());
        planned_.erase(key);
        under_way_.insert(key);
        const std::string name = "TLS report for " + key.second;
        attempts_.spawn(name, report(std::move(key)));
    }
}

asio::awaitable<void> Daily::report(Key key) {
    const auto done = co_await attempt(key, false);
    under_way_.erase(key);
    if (done.state == store::ReportState::waiting && !stopping_) plan(std::move(key), done.next_at);
    wakeup_->wake();
}

asio::awaitable<std::vector<store::StoredReport>> Daily::kept(store::ReportFilter filter) {
    auto question = [asked = std::move(filter)](store::Questions& questions) {
        return questions.reports(asked);
    };
    auto reports = co_await store::ask(store_, std::move(question));
    if (!reports) {
        Event(log_, Level::error, "tls-report").reason("reports cannot be read: " + reports.error().text);
        co_return std::vector<store::StoredReport>();
    }
    co_return std::move(*reports);
}

// `again`: to all its places again.
asio::awaitable<store::StoredReport> Daily::attempt(Key key, bool again) {
    store::ReportFilter filter;
    filter.from = filter.to = key.first;
    filter.domain = key.second;
    const auto before = co_await kept(std::move(filter));
    store::StoredReport report;
    if (!before.empty()) report = before.front();
    report.day = key.first;
    report.domain = std::move(key.second);
    if (again) {
        report.resent += 1;
        report.tries = 0;
        report.places.clear();
    }
    report = co_await sender_.attempt(std::move(report));
    if (stopping_ && report.state != store::ReportState::done)
        co_return report;  // what failed now is no failure
    auto put = [this, report](Completion<store::Result<void>> reply) {
        store_.keep(report, std::move(reply));
    };
    if (const auto done = co_await call<store::Result<void>>(std::move(put)); !done) {
        // Tried again: the queue takes the same mail once, and the same POST carries the same report-id.
        report.state = store::ReportState::waiting;
        report.next_at = clock_.wall() + look_again;
        report.text = "what became of it cannot be kept: " + done.error().text;
    }
    const bool trouble =
        report.state == store::ReportState::waiting || report.state == store::ReportState::given_up;
    if (report.state != store::ReportState::not_asked) {
        Event event(log_, trouble ? Level::warning : Level::info, "tls-report");
        event.kv("domain", report.domain)
            .kv("day", rfc3339(begin_of(report.day)).substr(0, 10))
            .kv("status", store::name_of(report.state))
            .kv("report-id", report.id)
            .kv("good", report.good)
            .kv("failed", report.failed);
        if (!report.text.empty()) event.reason(report.text);
    }
    if (report.state == store::ReportState::given_up)
        alarms_.raise(store::AlarmKind::tls_report_undelivered, report.domain,
                      "the TLS report " + report.id + " could not be brought to " + report.domain +
                          " within a day: " + report.text);
    co_return report;
}

Result<void> Daily::check_ready() const {
    const ReportingStatus now = status();
    if (now.missing.empty()) return {};
    return fail(Errc::unready, "no report can be sent: " + fmt::format("{}", fmt::join(now.missing, "; ")));
}

// What the coroutines of one send() share; it may be gone before they are.
struct Daily::Sending {
    std::unique_ptr<sternpost::Wakeup> over;  // woken after each
    Sent sent;
    std::size_t running = 0;
};

asio::awaitable<void> Daily::send_one(Key key, std::shared_ptr<Sending> sending) {
    const auto done = co_await attempt(key, false);
    under_way_.erase(key);
    if (done.state == store::ReportState::waiting && !stopping_) plan(std::move(key), done.next_at);
    ++sending->sent.reports;
    if (done.state == store::ReportState::done)
        ++sending->sent.done;
    else if (done.state == store::ReportState::not_asked)
        ++sending->sent.not_asked;
    else
        ++sending->sent.waiting;
    --sending->running;
    sending->over->wake();
}

asio::awaitable<Result<Daily::Sent>> Daily::send(
    std::chrono::sys_days day, std::string domain,
    std::function<asio::awaitable<void>(std::size_t, std::size_t)> told) {
    if (auto ready = check_ready(); !ready) co_return fail(std::move(ready).error());
    if (!closed_ || day > *closed_)
        co_return fail(Errc::nothing,
                       "that day is not over: \"sternpost tlsrpt preview\" shows what would be sent");
    const auto all = co_await state();
    if (!all) co_return fail(Errc::not_kept, "what is to be reported cannot be read");
    std::vector<Key> keys;
    for (const auto& one : all->unreported)
        if (one.day == day && (domain.empty() || one.domain == domain) &&
            !under_way_.contains({one.day, one.domain}))
            keys.emplace_back(one.day, one.domain);
    if (keys.empty()) co_return fail(Errc::nothing, "no report of that day waits to be sent");
    const auto sending = std::make_shared<Sending>();
    sending->over = timer_.wakeup();
    std::size_t next = 0;
    while (next < keys.size() || sending->running > 0) {
        while (next < keys.size() && sending->running < at_once && !stopping_) {
            Key key = keys[next++];
            if (!under_way_.insert(key).second) continue;
            if (const auto planned = planned_.find(key); planned != planned_.end()) {
                due_.erase(planned->second);
                planned_.erase(planned);
            }
            ++sending->running;
            const std::string name = "TLS report for " + key.second;
            attempts_.spawn(name, send_one(std::move(key), sending));
        }
        if (stopping_) break;
        if (told) co_await told(sending->sent.reports, keys.size());
        co_await sending->over->wait(clock_.steady() + std::chrono::milliseconds(100));
    }
    co_return sending->sent;
}

asio::awaitable<Result<store::StoredReport>> Daily::resend(std::string id) {
    if (auto ready = check_ready(); !ready) co_return fail(std::move(ready).error());
    store::ReportFilter filter;
    filter.id = id;
    const auto found = co_await kept(std::move(filter));
    if (found.empty()) co_return fail(Errc::nothing, "no report with the id " + id + " was sent");
    Key key{found.front().day, found.front().domain};
    if (!under_way_.insert(key).second) co_return fail(Errc::nothing, "that report is being sent right now");
    auto report = co_await attempt(key, true);
    under_way_.erase(key);
    if (report.state == store::ReportState::waiting && !stopping_) plan(std::move(key), report.next_at);
    co_return report;
}

asio::awaitable<void> Daily::watch() {
    while (!stopping_) {
        const bool looked = co_await look();
        begin_due();
        const WallTime now = clock_.wall();
        std::chrono::microseconds wait = look_again;
        const auto sooner = [&](WallTime when) {
            wait =
                std::min(wait, std::max<std::chrono::microseconds>(when - now, std::chrono::milliseconds(1)));
        };
        if (looked) {  // else there is trouble, which is looked at again in a minute
            if (!due_.empty() && ready() && under_way_.size() < at_once) sooner(due_.begin()->first);
            sooner(sender_.options().schedule.closes(*closed_ + std::chrono::days(1)));
        }
        co_await wakeup_->wait(clock_.steady() + wait);
    }
}

}  // namespace sternpost::tlsrpt
