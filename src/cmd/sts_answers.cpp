#include "cmd/sts_answers.h"

#include <algorithm>
#include <array>

#include "util/text.h"

namespace sternpost::cmd {

namespace json = boost::json;
using control::Answer;
using control::ExitCode;
using control::text_of;

namespace {

constexpr std::size_t policies_in_a_piece = 200;
constexpr std::size_t octets_in_a_piece = 128UL << 10U;
constexpr std::size_t policies_in_one_answer = 1000;  // ours: for a caller that takes no parts
constexpr std::size_t octets_in_one_answer = 1UL << 20U;
constexpr std::array verbs{"sts.show", "sts.list", "sts.refresh"};

Answer refusal(std::string text) {
    return {ExitCode::no, std::move(text), {}};
}

}  // namespace

bool StsAnswers::knows(std::string_view verb) {
    return std::find(verbs.begin(), verbs.end(), verb) != verbs.end();
}

asio::awaitable<Answer> StsAnswers::answer(json::object request, control::Caller caller) {
    const std::string verb = text_of(request, "verb");
    if (verb == "sts.list") co_return co_await list(std::move(caller));
    std::string domain = text_of(request, "domain");
    if (verb == "sts.show") co_return co_await show(std::move(domain));
    co_return co_await refresh(std::move(domain));
}

asio::awaitable<Answer> StsAnswers::show(std::string domain) {
    auto name = dns::Domain::parse(domain);
    if (!name) co_return refusal("no MTA-STS policy of " + printable(domain) + " is cached");
    const auto view = co_await lookups_.view(dns::PolicyDomain(std::move(*name)));
    if (!view) co_return refusal("no MTA-STS policy of " + domain + " is cached");
    co_return Answer{ExitCode::done, "", control::to_json(view->stored, true)};
}

// Piece by piece, so that memory holds one piece of each answer, however many policies there are.
asio::awaitable<Answer> StsAnswers::list(control::Caller caller) {
    const std::size_t most = caller.part ? policies_in_a_piece : policies_in_one_answer;
    const std::size_t most_octets = caller.part ? octets_in_a_piece : octets_in_one_answer;
    json::array piece;
    std::size_t octets = 0;
    bool full = false;
    std::optional<dns::PolicyDomain> after;
    for (auto names = lookups_.cached(after, policies_in_a_piece); !names.empty() && !full;
         names = lookups_.cached(after, policies_in_a_piece)) {
        for (const dns::PolicyDomain& name : names) {
            full = piece.size() >= most || octets >= most_octets;
            if (full && !caller.part) break;
            if (full) {
                json::object part;
                part["policies"] = std::exchange(piece, {});
                octets = 0;
                full = false;
                const bool taken = co_await caller.part(std::move(part));
                if (!taken) co_return Answer{ExitCode::unavailable, "the caller is gone", {}};
            }
            const auto view = co_await lookups_.view(name);
            after = name;
            if (!view) continue;  // it went meanwhile
            octets += view->stored.text.size();
            piece.push_back(control::to_json(view->stored, false));
        }
    }
    json::object out;
    out["policies"] = std::move(piece);
    out["more"] = full || lookups_.store_has_more();
    co_return Answer{ExitCode::done, "", std::move(out)};
}

asio::awaitable<Answer> StsAnswers::refresh(std::string domain) {
    auto name = dns::Domain::parse(domain);
    if (!name) co_return refusal(name.error().text);
    const std::string text = name->text();
    const auto lookup = co_await lookups_.refresh(dns::PolicyDomain(std::move(*name)));
    json::object out;
    out["domain"] = text;
    out["fetched"] = lookup.fresh;
    out["problem"] = lookup.problem_text;
    if (lookup.policy) {
        out["id"] = lookup.id;
        out["mode"] = sts::name_of(lookup.policy->mode);
    }
    Answer answer;
    answer.data = std::move(out);
    if (!lookup.fresh) {
        answer.code = ExitCode::no;
        answer.text =
            lookup.problem_text.empty() ? text + " publishes no MTA-STS policy" : lookup.problem_text;
    }
    co_return answer;
}

}  // namespace sternpost::cmd
