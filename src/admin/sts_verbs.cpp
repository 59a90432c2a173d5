#include "admin/sts_verbs.h"

#include "util/text.h"

namespace sternpost::admin {
namespace {

constexpr std::size_t policies_in_a_piece = 200;
constexpr std::size_t octets_in_a_piece = 128UL << 10U;
constexpr std::size_t policies_in_one_answer = 1000;  // ours: for a caller that takes no pieces
constexpr std::size_t octets_in_one_answer = 1UL << 20U;

}  // namespace

asio::awaitable<Answer<PolicyRow>> StsVerbs::show(DomainRequest request) {
    auto name = dns::Domain::parse(lowered(request.domain));
    if (!name) co_return not_cached(request.domain);
    const auto view = co_await lookups_.view(dns::PolicyDomain(std::move(*name)));
    if (!view) co_return not_cached(request.domain);
    co_return row_of(view->stored, true);
}

asio::awaitable<Answer<PolicyListing>> StsVerbs::list(Send<PolicyRow> send) {
    const std::size_t most = send ? policies_in_a_piece : policies_in_one_answer;
    const std::size_t most_octets = send ? octets_in_a_piece : octets_in_one_answer;
    std::vector<PolicyRow> piece;
    std::size_t octets = 0;
    bool full = false;
    std::optional<dns::PolicyDomain> after;
    for (auto names = lookups_.cached(after, policies_in_a_piece); !names.empty() && !full;
         names = lookups_.cached(after, policies_in_a_piece)) {
        for (const dns::PolicyDomain& name : names) {
            full = piece.size() >= most || octets >= most_octets;
            if (full && !send) break;
            if (full) {
                octets = 0;
                full = false;
                auto rows = std::exchange(piece, {});
                const bool taken = co_await send(std::move(rows));
                if (!taken) co_return caller_is_gone();
            }
            const auto view = co_await lookups_.view(name);
            after = name;
            if (!view) continue;  // it went meanwhile
            octets += view->stored.text.size();
            piece.push_back(row_of(view->stored, false));
        }
    }
    co_return PolicyListing{std::move(piece), full || lookups_.store_has_more()};
}

asio::awaitable<Answer<RefreshAnswer>> StsVerbs::refresh(DomainRequest request) {
    auto name = dns::Domain::parse(lowered(request.domain));
    if (!name) co_return refusal(name.error().text);
    RefreshAnswer out;
    out.domain = name->text();
    const auto lookup = co_await lookups_.refresh(dns::PolicyDomain(std::move(*name)));
    out.fetched = lookup.fresh;
    out.problem = lookup.problem_text;
    if (lookup.policy) {
        out.id = lookup.id;
        out.mode = sts::name_of(lookup.policy->mode);
    }
    if (lookup.fresh) co_return out;
    std::string why =
        lookup.problem_text.empty() ? out.domain + " publishes no MTA-STS policy" : lookup.problem_text;
    co_return Answer<RefreshAnswer>(std::move(out), ExitCode::no, std::move(why));
}

}  // namespace sternpost::admin
