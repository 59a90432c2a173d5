#include "delivery/signing.h"

#include <fmt/format.h>

#include <algorithm>

#include "delivery/write_rule.h"
#include "dns/organizational.h"
#include "util/call.h"
#include "util/text.h"

namespace sternpost::delivery {
namespace {

constexpr std::size_t piece_octets = 256UL << 10U;  // ours: of a message in memory while it is hashed

std::string sentence_of(const dkim::BadKey& bad) {
    return bad.file.empty() ? bad.error.text : "the key " + bad.file + " cannot be used: " + bad.error.text;
}

// The organisations of the keys that sign, each once.
std::vector<std::string> organizations(const dkim::KeySet& keys) {
    std::vector<std::string> out;
    for (const auto& key : keys.keys) {
        if (key.state != dkim::State::active || key.reports_only) continue;
        std::string one = dns::organizational_domain(key.signer.domain);
        if (std::find(out.begin(), out.end(), one) == out.end()) out.push_back(std::move(one));
    }
    return out;
}

// D-47: whose signature a client or a user may get. Empty: that of the author's domain.
std::string not_signed_for(const SigningJob& job, const dns::Domain& author) {
    if (job.rule)
        return job.rule->allows(author.text())
                   ? ""
                   : fmt::format("{} is not among the domains that the rule {} lets {} write as",
                                 author.text(), job.rule->name, job.sender);
    const auto all = organizations(*job.keys);
    if (all.size() <= 1) return "";
    return fmt::format(
        "nothing says whether {} may write as {}, and the keys here are of several organizations ({}): the "
        "administrator of "
        "this relay must list its domains (domains = [\"{}\"] in its [[client]] or [[sender]] section)",
        job.sender, author.text(), fmt::join(all, ", "), author.text());
}

// What is read of a message with its signatures in front.
asio::awaitable<smtp::Result<std::string>> read_behind(std::shared_ptr<const std::string> fields,
                                                       std::shared_ptr<const smtp::Message> message,
                                                       std::uint64_t offset, std::size_t most) {
    if (offset >= fields->size()) co_return co_await message->read(offset - fields->size(), most);
    std::string out = fields->substr(offset, most);
    if (out.size() == most) co_return out;
    auto rest = co_await message->read(0, most - out.size());
    if (!rest) co_return rest;
    co_return out + *rest;
}

}  // namespace

Signing::Signing(SigningOptions options, TaskQueue& pool, const Clock& clock, Log& log,
                 OnKeyTrouble on_trouble)
    : options_(options), pool_(pool), clock_(clock), log_(log), on_trouble_(std::move(on_trouble)) {}

void Signing::use(std::shared_ptr<const dkim::KeySet> keys) {
    std::vector<std::string> texts;
    for (const auto& bad : keys->bad) texts.push_back(sentence_of(bad));
    for (const auto& key : keys->keys)
        if (key.signer.key.weak())
            texts.push_back(
                fmt::format("the key {} has {} bits: some verifiers take no signature of fewer than {} "
                            "(RFC 8301 §3.2); \"sternpost dkim rotate {}\" makes a better one",
                            key.file(), key.signer.key.bits(), dkim::usual_bits, key.signer.domain.text()));
    for (const auto& text : texts)
        if (std::find(told_.begin(), told_.end(), text) == told_.end())
            Event(log_, Level::warning, "dkim-key").reason(text);
    told_ = std::move(texts);
    const auto active = std::count_if(keys->keys.begin(), keys->keys.end(),
                                      [](const auto& key) { return key.state == dkim::State::active; });
    Event(log_, Level::info, "dkim-keys")
        .kv("active", active)
        .kv("all", keys->keys.size())
        .kv("bad", keys->bad.size());
    keys_ = std::move(keys);
}

std::shared_ptr<const SigningJob> Signing::job_for(const store::StoredMessage& message) const {
    const bool report = message.message_class == store::MessageClass::report;
    if (!options_.sign || !message.envelope.originated) return nullptr;
    if (keys_->keys.empty() && keys_->bad.empty() && !report) return nullptr;
    auto job = std::make_shared<SigningJob>();
    job->keys = keys_;
    job->qid = message.id.text();
    job->now = clock_.wall();
    job->report = report;
    job->own = message.message_class != store::MessageClass::mail;
    const auto [sender, rule] = write_rule_of(options_.domains, options_.login_of, message);
    job->sender = sender;
    if (rule != nullptr) job->rule = *rule;
    job->patient = report || job->now - message.arrived < options_.patience;
    return job;
}

std::string Signed::sentence() const {
    return fmt::format(
        "the message cannot be signed for {} now: {}; the administrator of this relay must mend that", domain,
        trouble);
}

void Signing::heard(const Signed& result) {
    if (!result.trouble.empty() && on_trouble_) on_trouble_(result.domain, result.trouble);
}

asio::awaitable<smtp::Result<Signed>> Signing::sign(std::shared_ptr<const SigningJob> job,
                                                    smtp::Message message) {
    const auto hash = std::make_shared<dkim::MessageHash>();
    using Done = std::optional<Signed>;  // once the last piece is in
    std::uint64_t offset = 0;
    for (;;) {
        auto piece = co_await message.read(offset, piece_octets);
        if (!piece) co_return fail(std::move(piece).error());
        offset += piece->size();
        const bool last = piece->empty() || offset >= message.size;
        auto work = [this, job, hash, last, octets = std::move(*piece)](Completion<Done> reply) mutable {
            pool_.post(
                [this, job, hash, last, held = std::move(octets), answer = std::move(reply)]() mutable {
                    hash->feed(held);
                    answer(last ? Done(finish(*job, *hash)) : Done());
                });
        };
        auto done = co_await call<Done>(std::move(work));
        if (done) co_return std::move(*done);
    }
}

// On the pool.
Signed Signing::finish(const SigningJob& job, dkim::MessageHash& hash) const {
    Signed out;
    const auto unsigned_because = [&](std::string_view why) {
        Event(log_, Level::warning, "unsigned").kv("qid", job.qid).reason(why);
        return out;
    };
    const auto wait_because = [&](const std::string& domain, const std::string& why) {
        out.domain = domain;
        out.trouble = why;
        out.waits = job.patient;
        return out.waits ? out : unsigned_because(why + "; the message has waited for it in vain");
    };
    if (auto read = hash.finish(); !read) return unsigned_because(read.error().text);
    const auto author = dkim::author_domain(hash.header());
    if (!author) return unsigned_because(author.error().text);
    const dkim::Choice choice = job.keys->choose(*author, job.report);
    if (!job.own && !choice.none())
        if (const std::string why = not_signed_for(job, *author); !why.empty()) return unsigned_because(why);
    if (choice.trouble != nullptr) return wait_because(author->text(), sentence_of(*choice.trouble));
    if (choice.keys.empty()) {
        if (job.report)
            return wait_because(author->text(),
                                "TLS reports are signed (RFC 8460 §3), and there is no active key "
                                "of this domain (\"sternpost dkim generate\" makes one)");
        return out;
    }
    std::string names;
    for (const auto* key : choice.keys) {
        auto field = dkim::signature_field(hash, key->signer, job.now);
        if (!field) return wait_because(author->text(), "the key " + key->file() + ": " + field.error().text);
        out.fields += *field;
        names += (names.empty() ? "" : ",") + key->signer.selector;
    }
    Event(log_, Level::info, "signed")
        .kv("qid", job.qid)
        .kv("d", choice.keys.front()->signer.domain.text())
        .kv("s", names)
        .kv("rule", job.rule  ? job.rule->name
                    : job.own ? "own"
                              : "one-organization");
    return out;
}

smtp::Message Signing::in_front(std::string fields, smtp::Message message) {
    smtp::Message out;
    out.size = message.size + fields.size();
    out.eight_bit = message.eight_bit;
    const auto first = std::make_shared<const std::string>(std::move(fields));
    const auto behind = std::make_shared<const smtp::Message>(std::move(message));
    out.read = [first, behind](std::uint64_t offset, std::size_t most) {
        return read_behind(first, behind, offset, most);
    };
    return out;
}

}  // namespace sternpost::delivery
