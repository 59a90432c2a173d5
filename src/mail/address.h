// Envelope addresses (RFC 5321 §4.1.2): parsed once at the edge, the local-part kept octet for octet.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "dns/record.h"
#include "util/result.h"

namespace sternpost::mail {

enum class Errc {
    bad_address,   // not a mailbox by RFC 5321 §4.1.2
    too_long,      // local-part or domain beyond 255, path beyond 512 octets
    needs_utf8,    // UTF-8 in it, and SMTPUTF8 was not asked for (RFC 6531 §3.1)
    bad_domain,    // the part after '@' is neither a domain name nor an address literal
    loop,          // an address literal of this host, which has no mailboxes
    bad_parameter  // a MAIL or RCPT parameter's value
};

template <class T>
using Result = Expected<T, Errc>;

/// local-part@domain or local-part@[address]. The local-part is opaque to us: case and quoting are kept (RFC
/// 5321 §2.4).
class Mailbox {
  public:
    /// `utf8`: whether octets above 126 may stand in it. domain() is folded to lower-case A-labels; text()
    /// keeps the letters as they were written.
    static Result<Mailbox> parse(std::string_view text, bool utf8 = false);

    const std::string& local_part() const { return local_; }
    bool is_literal() const { return std::holds_alternative<dns::Address>(host_); }
    const dns::Domain& domain() const { return std::get<dns::Domain>(host_); }     // only if !is_literal()
    const dns::Address& address() const { return std::get<dns::Address>(host_); }  // only if is_literal()
    /// `example.com` or `[192.0.2.1]`: the form to look up and to compare.
    std::string host() const;
    /// As it was written, and as an envelope carries it where SMTPUTF8 was asked for.
    std::string text() const { return local_ + "@" + written_; }
    /// With the domain in A-labels: what may be sent where SMTPUTF8 was not asked for, if ascii() (RFC 6531
    /// §3.2).
    std::string a_label_text() const;
    /// Whether the local-part is ASCII. If not, no host without SMTPUTF8 can have it.
    bool ascii() const;
    bool operator==(const Mailbox& other) const { return local_ == other.local_ && host_ == other.host_; }

  private:
    Mailbox(std::string local, std::variant<dns::Domain, dns::Address> host, std::string written)
        : local_(std::move(local)), host_(std::move(host)), written_(std::move(written)) {}
    std::string local_;
    std::variant<dns::Domain, dns::Address> host_;
    std::string written_;  // host() as the submitter spelled it
};

/// Where notices go: a mailbox, or null (`<>`), which is a state of its own and never answered (RFC 5321
/// §4.5.5).
class ReversePath {
  public:
    ReversePath() = default;  // null
    explicit ReversePath(Mailbox mailbox) : mailbox_(std::move(mailbox)) {}
    /// What stands between `<` and `>`: empty, a mailbox, or a source route and a mailbox (the route is
    /// dropped).
    static Result<ReversePath> parse(std::string_view text, bool utf8 = false);

    bool is_null() const { return !mailbox_; }
    const Mailbox& mailbox() const { return *mailbox_; }  // only if !is_null()
    /// Without angle brackets; empty for null.
    std::string text() const { return mailbox_ ? mailbox_->text() : std::string(); }
    std::string a_label_text() const { return mailbox_ ? mailbox_->a_label_text() : std::string(); }
    bool ascii() const { return !mailbox_ || mailbox_->ascii(); }
    bool operator==(const ReversePath&) const = default;

  private:
    std::optional<Mailbox> mailbox_;
};

/// A recipient.
class ForwardPath {
  public:
    explicit ForwardPath(Mailbox mailbox) : mailbox_(std::move(mailbox)) {}
    /// What stands between `<` and `>`; source routes are dropped (RFC 5321 Appendix C). `Postmaster` without
    /// a domain is not a mailbox: callers ask is_postmaster() first.
    static Result<ForwardPath> parse(std::string_view text, bool utf8 = false);
    static bool is_postmaster(std::string_view text);

    const Mailbox& mailbox() const { return mailbox_; }
    std::string text() const { return mailbox_.text(); }
    std::string a_label_text() const { return mailbox_.a_label_text(); }
    bool ascii() const { return mailbox_.ascii(); }
    bool operator==(const ForwardPath&) const = default;

  private:
    Mailbox mailbox_;
};

}  // namespace sternpost::mail
