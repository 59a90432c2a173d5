#include "admin/dkim_keys.h"

#include "util/call.h"
#include "util/text.h"

namespace sternpost::admin {
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

DkimKeys::DkimKeys(dkim::KeyFolder folder, delivery::Signing& signing, dns::Resolver& resolver,
                   TaskQueue& pool, const Clock& clock, Timer& timer)
    : folder_(std::move(folder)),
      signing_(signing),
      resolver_(resolver),
      pool_(pool),
      clock_(clock),
      next_look_(timer.wakeup()) {}

void DkimKeys::load() {
    fingerprint_ = folder_.fingerprint();
    signing_.use(std::make_shared<const dkim::KeySet>(folder_.read()));
}

asio::awaitable<void> DkimKeys::look() {
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

asio::awaitable<void> DkimKeys::watch() {
    while (!stopping_) {
        co_await look_at_reports();
        co_await next_look_->wait(clock_.steady() + look_every);
        if (!stopping_) co_await look();
    }
}

void DkimKeys::report_for(dns::Domain submitter, bool signs, std::function<void()> changed) {
    report_changed_ = std::move(changed);
    report_trouble_ = "the DKIM record of " + submitter.text() + " has not been looked up yet";
    submitter_ = std::move(submitter);
    signs_ = signs;
}

asio::awaitable<void> DkimKeys::look_at_reports() {
    if (!submitter_ || clock_.steady() < reports_at_) co_return;
    std::string now = co_await trouble_with_reports();
    const bool news = now != report_trouble_;
    report_trouble_ = std::move(now);
    reports_at_ = clock_.steady() + (report_trouble_.empty() ? good_for : bad_for);
    if (news && report_changed_) report_changed_();
}

asio::awaitable<std::string> DkimKeys::trouble_with_reports() {
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

void DkimKeys::stop() {
    stopping_ = true;
    next_look_->wake();
}

asio::awaitable<Answer<Nothing>> DkimKeys::reload() {
    co_await look();
    next_look_->wake();
    co_return Nothing{};
}

asio::awaitable<Answer<PublishedKeys>> DkimKeys::check(DomainRequest request) {
    co_await look();
    reports_at_ = {};  // whoever asks has just changed something
    next_look_->wake();
    std::string domain = lowered(request.domain);
    co_return co_await compare(std::move(domain));
}

asio::awaitable<PublishedKey> DkimKeys::published(const dkim::StoredKey& key) {
    PublishedKey out{key.signer.domain.text(),
                     key.signer.selector,
                     std::string(dkim::name_of(key.signer.key.algorithm())),
                     std::string(dkim::name_of(key.state)),
                     key.name(),
                     "unanswered",
                     {}};
    auto name = dns::Domain::parse(key.name());
    if (!name) co_return out;  // too long for the DNS: such a key is not made
    const auto records = co_await resolver_.txt(std::move(*name));
    if (records) {
        const auto compared = dkim::compare(records->records, key.signer.key, key.reports_only);
        out.published = name_of(compared.published);
        out.text = compared.text;
    } else {
        out.text = "the record cannot be looked up: " + records.error().text;
    }
    co_return out;
}

asio::awaitable<Answer<PublishedKeys>> DkimKeys::compare(std::string domain) {
    const auto keys = signing_.keys();
    resolver_.forget_negative();
    PublishedKeys out;
    bool wrong = false;
    bool unanswered = false;
    for (const auto& key : keys->keys) {
        if (!domain.empty() && key.signer.domain.text() != domain) continue;
        auto one = co_await published(key);
        const bool counts = key.state != dkim::State::retired;
        unanswered = unanswered || (counts && one.published == "unanswered");
        wrong = wrong || (counts && one.published != "yes" && one.published != "unanswered");
        out.keys.push_back(std::move(one));
    }
    for (const auto& one : keys->bad) {
        if (!domain.empty() && one.domain && one.domain->text() != domain) continue;
        out.bad.push_back({one.file, one.error.text});
        wrong = true;
    }
    if (out.keys.empty() && out.bad.empty())
        co_return refusal(domain.empty() ? "there is no DKIM key" : "there is no DKIM key of " + domain);
    const ExitCode code = wrong ? ExitCode::no : unanswered ? ExitCode::unanswered : ExitCode::done;
    co_return Answer<PublishedKeys>(std::move(out), code);
}

}  // namespace sternpost::admin
