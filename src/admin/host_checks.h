// What `sternpost doctor` looks at outside the spool: this machine, its names in the DNS, and the way out.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/describe/class.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/spf.h"
#include "dns/probe.h"
#include "util/clock.h"

namespace sternpost::admin {

namespace asio = boost::asio;

enum class Verdict { ok, warning, error };
std::string_view name_of(Verdict verdict);

struct HostFinding {
    std::string check;  // clock, resolver, port-25, …
    Verdict verdict = Verdict::ok;
    std::string text;
    std::string advice;  // what to do; empty where it is ok
};
BOOST_DESCRIBE_STRUCT(HostFinding, (), (check, verdict, text, advice))

/// One place that the checks look at.
struct CheckedHost {
    std::string hostname;
    std::optional<dns::Domain> admin_domain;
    std::vector<dns::Address> own;  // addresses that the world sees us under; empty: those of the hostname
};

struct Greeted {
    bool is = false;   // a mail server has greeted us
    std::string text;  // its greeting, or why there is none
};

/// How checks reach the world. All are called on one thread.
struct CheckSources {
    dns::Resolver& resolver;
    std::function<asio::awaitable<dns::Result<dns::Answer<dns::Cname>>>(dns::Address address)> ptr;
    /// Connects to port 25 of an address.
    std::function<asio::awaitable<Greeted>(dns::Address address)> greet;
};

/// Asks the DNS and one MX host of the administrator's domain.
asio::awaitable<std::vector<HostFinding>> check_names(CheckedHost host, CheckSources sources);
HostFinding finding_of(const dns::ProbeResult& probe);

}  // namespace sternpost::admin
