// What is signed on its way out, by which keys, and what becomes of mail whose key cannot be used: the one
// place that decides it. How a signature is made is dkim's.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "dkim/keys.h"
#include "mail/sender_domains.h"
#include "smtp/session.h"
#include "store/store.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/task_queue.h"

namespace sternpost::delivery {

namespace asio = boost::asio;

/// Who may be signed for which domains.
struct SigningOptions {
    bool sign = true;
    mail::SenderDomains domains;
    std::function<std::string(std::uint32_t uid)> login_of;  // empty: the uid has none
    std::chrono::seconds patience{std::chrono::hours(4)};    // that mail waits for a key that cannot be used
};

/// Told of a domain whose mail cannot be signed, and why: for alarms. Called on the control thread.
using OnKeyTrouble = std::function<void(const std::string& domain, const std::string& text)>;

/// What one message's signature needs to know; made on the control thread, used on any.
struct SigningJob {
    std::shared_ptr<const dkim::KeySet> keys;
    std::string qid;
    WallTime now;
    bool report = false;                            // never goes unsigned (RFC 8460 §3)
    bool own = false;                               // a notice or a report: this relay's own words
    std::string sender;                             // who handed it in, for people
    std::optional<mail::SenderDomains::Rule> rule;  // whom that one may write as
    bool patient = true;                            // waits for a key that cannot be used
};

/// The signatures of a message, ready to stand in front of it.
struct Signed {
    std::string fields;   // empty: it goes as it is
    std::string domain;   // of the author, with `trouble`
    std::string trouble;  // why a key could not be used
    bool waits = false;   // for that key: it does not go now

    std::string sentence() const;  // why it waits
};

/// Lives on the control thread, but for sign().
class Signing {
  public:
    /// `pool` runs the hashing and signing.
    Signing(SigningOptions options, TaskQueue& pool, const Clock& clock, Log& log, OnKeyTrouble on_trouble);

    /// The keys from now on. Bad and weak ones are logged, once each.
    void use(std::shared_ptr<const dkim::KeySet> keys);
    const std::shared_ptr<const dkim::KeySet>& keys() const { return keys_; }

    /// How `message` is signed; nullptr: it goes as it is, since it is relayed (DKIM-14), or there is no key
    /// at all.
    std::shared_ptr<const SigningJob> job_for(const store::StoredMessage& message) const;
    /// After sign(): raises what has to be raised.
    void heard(const Signed& result);

    /// Reads `message`, which is what goes on the wire before dot-stuffing (DKIM-11), piece by piece; each
    /// piece is hashed on the pool while the next is not read yet. On any thread. Errors are those of
    /// reading.
    asio::awaitable<smtp::Result<Signed>> sign(std::shared_ptr<const SigningJob> job, smtp::Message message);

    /// `fields` in front of `message`.
    static smtp::Message in_front(std::string fields, smtp::Message message);

  private:
    Signed finish(const SigningJob& job, dkim::MessageHash& hash) const;

    SigningOptions options_;
    TaskQueue& pool_;
    const Clock& clock_;
    Log& log_;
    OnKeyTrouble on_trouble_;
    std::shared_ptr<const dkim::KeySet> keys_ = std::make_shared<const dkim::KeySet>();
    std::vector<std::string> told_;
};

}  // namespace sternpost::delivery
