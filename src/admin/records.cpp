#include "admin/records.h"

#include <algorithm>

#include "util/text.h"

namespace sternpost::admin {
namespace {

// How a record is known among other TXT records of its name.
asio::awaitable<RecordRow> txt_record(std::string name, std::string value, std::string version,
                                      std::string why, dns::Resolver& resolver) {
    RecordRow out{std::move(name), "TXT", std::move(value), "unanswered", "", std::move(why)};
    const auto domain = dns::Domain::parse(out.name);
    if (!domain) co_return out;
    const auto answer = co_await resolver.txt(*domain);
    if (!answer) co_return out;
    out.seen = "no";
    for (const auto& text : answer->records) {
        if (text == out.value) {
            out.seen = "yes";
            out.found.clear();
            co_return out;
        }
        if (!lowered(text).starts_with(version)) continue;
        out.seen = "other";
        out.found = text;
    }
    co_return out;
}

asio::awaitable<RecordRow> address_record(std::string hostname, dns::Address address,
                                          dns::Resolver& resolver) {
    RecordRow out{hostname, address.is_v6() ? "AAAA" : "A", address.text(), "unanswered",
                  "",       "the name that we greet with"};
    const auto domain = dns::Domain::parse(hostname);
    if (!domain) co_return out;
    auto question = address.is_v6() ? resolver.aaaa(*domain) : resolver.a(*domain);
    const auto answer = co_await std::move(question);
    if (!answer) co_return out;
    out.seen = answer->records.empty() ? "no" : "other";
    for (const auto& one : answer->records) {
        if (one == address) out.seen = "yes";
        out.found += (out.found.empty() ? "" : ", ") + one.text();
    }
    if (out.seen == "yes") out.found.clear();
    co_return out;
}

asio::awaitable<RecordRow> ptr_record(std::string hostname, dns::Address address, CheckSources& sources) {
    RecordRow out{address.text(), "PTR", hostname, "unanswered", "", "set by whoever gave you the address"};
    const auto answer = co_await sources.ptr(address);
    if (!answer) co_return out;
    out.seen = answer->records.empty() ? "no" : "other";
    for (const auto& one : answer->records) {
        if (iequals(one.target, hostname)) out.seen = "yes";
        out.found += (out.found.empty() ? "" : ", ") + one.target;
    }
    if (out.seen == "yes") out.found.clear();
    co_return out;
}

// Another record that lets our addresses through is as good as ours.
asio::awaitable<RecordRow> spf_record(dns::Domain domain, std::vector<dns::Address> own,
                                      CheckSources& sources) {
    std::string value = "v=spf1";
    for (const auto& one : own) value += (one.is_v6() ? " ip6:" : " ip4:") + one.text();
    value += " -all";
    auto out = co_await txt_record(domain.text(), std::move(value), "v=spf1", "who may send for the domain",
                                   sources.resolver);
    if (out.seen != "other") co_return out;
    for (const auto& address : own) {
        Spf spf(sources.resolver, address);
        const auto judged = co_await spf.check(domain);
        if (judged.result != SpfResult::pass) co_return out;
    }
    out.seen = "yes";
    out.value = std::exchange(out.found, "");
    co_return out;
}

}  // namespace

asio::awaitable<std::vector<RecordRow>> wanted_records(CheckedHost host, std::vector<KeyRecord> keys,
                                                       std::string report_to, CheckSources sources) {
    std::vector<RecordRow> out;
    for (const auto& address : host.own) {
        out.push_back(co_await address_record(host.hostname, address, sources.resolver));
        out.push_back(co_await ptr_record(host.hostname, address, sources));
    }
    if (!host.admin_domain) co_return out;
    const std::string domain = host.admin_domain->text();
    // Without addresses a record could only forbid all mail.
    if (!host.own.empty()) out.push_back(co_await spf_record(*host.admin_domain, host.own, sources));
    for (const auto& key : keys)
        out.push_back(
            co_await txt_record(key.name, key.value, "v=dkim1", "the key that signs", sources.resolver));
    auto dmarc = co_await txt_record("_dmarc." + domain, "v=DMARC1; p=none", "v=dmarc1",
                                     "what to do with mail that fails both", sources.resolver);
    if (dmarc.seen == "other") {  // whatever it says is its owner's choice
        dmarc.seen = "yes";
        dmarc.value = std::exchange(dmarc.found, "");
    }
    out.push_back(std::move(dmarc));
    if (report_to.empty()) co_return out;
    auto reports =
        co_await txt_record("_smtp._tls." + domain, "v=TLSRPTv1; rua=mailto:" + report_to, "v=tlsrptv1",
                            "where others report on TLS to the domain", sources.resolver);
    if (reports.seen == "other") {
        reports.seen = "yes";
        reports.value = std::exchange(reports.found, "");
    }
    out.push_back(std::move(reports));
    co_return out;
}

}  // namespace sternpost::admin
