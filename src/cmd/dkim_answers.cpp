#include "cmd/dkim_answers.h"

#include "util/call.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

constexpr auto look_every = std::chrono::seconds(5);  // ours
// How long an answer of the DNS to whether reports can be signed counts; ours.
constexpr auto good_for = std::chrono::hours(1);
constexpr auto bad_for = std::chrono::minutes(1);

std::string_view name_of(dkim::Published published) {
    switch (published) {
        case dkim::Published::yes:
            return "yes";
        case dkim::Published::no:
            return "no";
        case dkim::Published::revoked:
            return "revoked";
        case dkim::Published::several:
            return "several";
        case dkim::Published::malformed:
            return "malformed";
        case dkim::Published::different:
            return "different";
    }
    return "";
}

}  // namespace

DkimAnswers::DkimAnswers(dkim::KeyFolder folder, delivery::Signing& signing, dns::Resolver& resolver,
                         TaskQueue& pool, const Clock& clock, Timer& timer)
    : folder_(std::move(folder)),
      signing_(signing),
      resolver_(resolver),
      pool_(pool),
      clock_(clock),
      next_look_(timer.wakeup()) {}

void DkimAnswers::load() {
    fingerprint_ = folder_.fingerprint();
    signing_.use(std::make_shared<const dkim::KeySet>(folder_.read()));
}

asio::awaitable<void> DkimAnswers::look() {
    auto ask = [this, before = fingerprint_](Completion<Look> reply) {
        pool_.post([folder = folder_, before, answer = std::move(reply)]() mutable {
            Look seen;
            seen.fingerprint = folder.fingerprint();  // first: what changes while it is read is read again
            if (seen.fingerprint != before) seen.keys = std::make_shared<const dkim::KeySet>(folder.read());
            answer(std::move(seen));
        });
    };
    auto seen = co_await call<Look>(std::move(ask));
    if (!seen.keys || seen.fingerprint == fingerprint_) co_return;
    fingerprint_ = std::move(seen.fingerprint);
    signing_.use(std::move(seen.keys));
    reports_at_ = {};
}

asio::awaitable<void> DkimAnswers::watch() {
    while (!stopping_) {
        co_await look_at_reports();
        co_await next_look_->wait(clock_.steady() + look_every);
        if (!stopping_) co_await look();
    }
}

void DkimAnswers::report_for(dns::Domain submitter, bool signs, std::function<void()> changed) {
    report_changed_ = std::move(changed);
    report_trouble_ = "the DKIM record of " + submitter.text() + " has not been looked up yet";
    submitter_ = std::move(submitter);
    signs_ = signs;
}

asio::awaitable<void> DkimAnswers::look_at_reports() {
    if (!submitter_ || clock_.steady() < reports_at_) co_return;
    std::string now = co_await trouble_with_reports();
    const bool news = now != report_trouble_;
    report_trouble_ = std::move(now);
    reports_at_ = clock_.steady() + (report_trouble_.empty() ? good_for : bad_for);
    if (news && report_changed_) report_changed_();
}

asio::awaitable<std::string> DkimAnswers::trouble_with_reports() {
    if (!signs_) co_return "dkim.sign is \"off\", and TLS reports must be signed (RFC 8460 §3)";
    const auto keys = signing_.keys();
    const auto choice = keys->choose(*submitter_, true);
    if (choice.trouble != nullptr)
        co_return "the DKIM key " + choice.trouble->file + " cannot be used: " + choice.trouble->error.text;
    std::string out = "there is no active DKIM key of " + submitter_->text() +
                      ": \"sternpost dkim generate " + submitter_->text() + "\" makes one";
    resolver_.forget_negative();
    for (const auto* key : choice.keys) {
        auto name = dns::Domain::parse(key->name());
        if (!name) continue;
        const auto records = co_await resolver_.txt(std::move(*name));
        if (!records) {
            out = "the DKIM record " + key->name() + " cannot be looked up: " + records.error().text;
            continue;
        }
        const auto compared = dkim::compare(records->records, key->signer.key, key->reports_only);
        if (compared.published == dkim::Published::yes) co_return std::string();
        out = "the DKIM record " + key->name() + ": " + compared.text;
    }
    co_return out;
}

void DkimAnswers::stop() {
    stopping_ = true;
    next_look_->wake();
}

bool DkimAnswers::knows(std::string_view verb) {
    return verb == "dkim.check" || verb == "dkim.reload";
}

asio::awaitable<control::Answer> DkimAnswers::answer(control::json::object request) {
    co_await look();
    const auto* verb = request.if_contains("verb");
    if (verb->as_string() == "dkim.reload") {
        next_look_->wake();
        co_return control::Answer{};
    }
    reports_at_ = {};  // whoever asks has just changed something
    next_look_->wake();
    const auto* domain = request.if_contains("domain");
    std::string wanted =
        domain != nullptr && domain->is_string() ? std::string(domain->as_string()) : std::string();
    co_return co_await check(std::move(wanted));
}

// Each key's record as the world sees it now.
asio::awaitable<control::Answer> DkimAnswers::check(std::string domain) {
    const auto keys = signing_.keys();
    resolver_.forget_negative();
    control::Answer out;
    control::json::array list;
    bool wrong = false;
    bool unanswered = false;
    for (const auto& key : keys->keys) {
        if (!domain.empty() && key.signer.domain.text() != domain) continue;
        control::json::object one;
        one["domain"] = key.signer.domain.text();
        one["selector"] = key.signer.selector;
        one["algorithm"] = dkim::name_of(key.signer.key.algorithm());
        one["state"] = dkim::name_of(key.state);
        one["name"] = key.name();
        const bool counts = key.state != dkim::State::retired;
        auto name = dns::Domain::parse(key.name());
        if (!name) continue;  // too long for the DNS: such a key is not made
        const auto records = co_await resolver_.txt(std::move(*name));
        if (!records) {
            one["published"] = "unanswered";
            one["text"] = "the record cannot be looked up: " + records.error().text;
            unanswered = unanswered || counts;
        } else {
            const auto compared = dkim::compare(records->records, key.signer.key, key.reports_only);
            one["published"] = name_of(compared.published);
            one["text"] = compared.text;
            wrong = wrong || (counts && compared.published != dkim::Published::yes);
        }
        list.push_back(std::move(one));
    }
    control::json::array bad;
    for (const auto& one : keys->bad) {
        if (!domain.empty() && one.domain && one.domain->text() != domain) continue;
        control::json::object entry;
        entry["file"] = one.file;
        entry["text"] = one.error.text;
        bad.push_back(std::move(entry));
        wrong = true;
    }
    if (list.empty() && bad.empty()) {
        out.code = control::ExitCode::no;
        out.text = domain.empty() ? "there is no DKIM key" : "there is no DKIM key of " + domain;
        co_return out;
    }
    out.code = wrong        ? control::ExitCode::no
               : unanswered ? control::ExitCode::unanswered
                            : control::ExitCode::done;
    control::json::object data;
    data["keys"] = std::move(list);
    data["bad"] = std::move(bad);
    out.data = std::move(data);
    co_return out;
}

}  // namespace sternpost::cmd
