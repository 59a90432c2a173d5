// From the configuration to each folder's Options: the only place where both are seen.
#pragma once

#include "admin/watch.h"
#include "cmd/reach.h"
#include "config/file.h"
#include "delivery/attempt.h"
#include "delivery/bounce.h"
#include "dns/ldns_resolver.h"
#include "local/intake.h"
#include "mail/local_names.h"
#include "mail/sender_domains.h"
#include "queue/core.h"
#include "smtp/server.h"
#include "store/open.h"
#include "sts/lookup.h"
#include "tls/context.h"
#include "tlsrpt/sender.h"

namespace sternpost::cmd {

/// The administrator's address, if one is set.
admin::WatchLimits watch_of(const config::Settings& settings);
mail::SenderDomains sender_domains_of(const config::Settings& settings);
mail::LocalNames local_names_of(const config::Settings& settings, const std::string& hostname);
store::OpenOptions store_of(const config::Settings& settings);
sts::LookupOptions lookups_of(const config::Settings& settings);
delivery::Options delivery_of(const config::Settings& settings, const std::string& hostname);
delivery::BounceOptions bounces_of(const config::Settings& settings, const std::string& hostname);
delivery::SigningOptions signing_of(const config::Settings& settings);
delivery::AsioDialer::Options dialer_of(const config::Settings& settings, const std::string& hostname);
queue::Options queue_of(const config::Settings& settings);
tlsrpt::Options reports_of(const config::Settings& settings, const std::string& hostname);
/// Without a `hostname` only loopback is served.
smtp::ServerOptions server_of(const config::Settings& settings, const std::string& hostname);
/// Where the listener's certificate is; made first if it is to be our own and `hostname` has none yet that is
/// good at `now`. Otherwise the files are only named, not read.
tls::Result<tls::Identity> identity_of(const config::Settings& settings, const std::string& hostname,
                                       WallTime now);
/// What users of this machine may hand in.
intake::SenderLimits local_limits_of(const config::Settings& settings);
local::Options local_of(const config::Settings& settings, const std::string& hostname);

/// The name that stands where RFCs want one even when none is configured.
std::string name_or_literal(const std::string& hostname);

}  // namespace sternpost::cmd
