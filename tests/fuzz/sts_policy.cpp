// The policy file and its MX match (RFC 8461 §3.2, §4.1). Input: the file.
#include <cstdlib>

#include "sts/advice.h"
#include "sts/policy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace sternpost;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto policy = sts::Policy::parse(text);
    (void)sts::diff("version: STSv1\nmode: none\n", text);
    if (!policy) return 0;
    if (policy->max_age > std::chrono::seconds(31557600) || policy->max_age.count() < 0) std::abort();
    if (policy->mode != sts::Mode::none && policy->mx.empty()) std::abort();
    std::string written = "version: STSv1\nmode: " + std::string(sts::name_of(policy->mode)) +
                          "\nmax_age: " + std::to_string(policy->max_age.count()) + "\n";
    for (const auto& pattern : policy->mx) written += "mx: " + pattern.text() + "\n";
    const auto again = sts::Policy::parse(written);
    if (!again || !(*again == *policy)) std::abort();
    if (policy->mx_text().empty() != policy->mx.empty()) std::abort();
    for (const auto& pattern : policy->mx) {
        const auto host = dns::Domain::parse((pattern.wildcard ? "a." : "") + pattern.domain.text());
        if (host && !policy->allows(dns::MxHost(*host))) std::abort();
        // A wildcard covers one label, no more and no less.
        const dns::MxHost itself(pattern.domain);
        if (pattern.matches(itself) == pattern.wildcard) std::abort();
        const auto one = pattern.domain.under("a");
        if (one && pattern.matches(dns::MxHost(*one)) != pattern.wildcard) std::abort();
        const auto two = one ? one->under("b") : one;
        if (two && pattern.matches(dns::MxHost(*two))) std::abort();
    }
    return 0;
}
