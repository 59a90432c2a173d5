#include "questions.h"

namespace sternpost::simulation {
namespace {

namespace json = boost::json;

constexpr std::size_t page = 50;  // messages of a list

}  // namespace

Questions::Questions(const Surroundings& around, admin::LiveDaemon::Sources known,
                     const admin::PolicySources& sources)
    : around_(around),
      queue_(sources.queue),
      live_(std::move(known)),
      of_queue_(sources.queue, sources.store, sources.clock, [] {}),
      of_policy_(sources),
      verbs_(false, "") {
    control::add_queue(verbs_, sources.store, live_, of_queue_);
    control::add_policy(verbs_, sources.store, live_, of_policy_);
}

asio::awaitable<json::value> Questions::put(json::object request) {
    const std::string verb(request.at("verb").as_string());
    control::Caller admin;
    admin.admin = true;
    auto answer = co_await verbs_.answer(std::move(request), std::move(admin));
    if (!around_.alive() || answer.data.is_null()) co_return nullptr;
    around_.plant.answers(verb, answer.data);
    co_return std::move(answer.data);
}

asio::awaitable<void> Questions::ask(std::string domain) {
    Claims& claims = around_.oracle.claims();
    SteadyTime asked = around_.truth.steady();
    json::object request{{"verb", "queue.list"}, {"limit", page}};
    auto list = co_await put(std::move(request));
    if (list.is_null()) co_return;
    claims.listed(list.as_object(), "", since(asked));

    asked = around_.truth.steady();
    request = {{"verb", "queue.list"}, {"limit", page}, {"domain", domain}};
    const auto of_domain = co_await put(std::move(request));
    if (of_domain.is_null()) co_return;
    claims.listed(of_domain.as_object(), domain, since(asked));

    asked = around_.truth.steady();
    request = {{"verb", "queue.hops"}, {"limit", page}};
    const auto hops = co_await put(std::move(request));
    if (hops.is_null()) co_return;
    claims.hops(hops.as_array(), since(asked));

    if (const auto& messages = list.as_object().at("messages").as_array(); !messages.empty()) {
        const auto& one = messages[around_.chance.below(messages.size())].as_object();
        asked = around_.truth.steady();
        request = {{"verb", "why"}, {"id", one.at("id")}};
        const auto why = co_await put(std::move(request));
        if (!around_.alive()) co_return;
        if (!why.is_null()) claims.why(why.as_object(), since(asked));
    }

    asked = around_.truth.steady();
    const WallTime truth = around_.truth.wall();
    request = {{"verb", "explain"}, {"domain", domain}};
    const auto explained = co_await put(std::move(request));
    if (explained.is_null()) co_return;
    claims.explained(explained.as_object(), since(asked), truth);

    if (!around_.chance.percent(30)) co_return;
    const std::string wrong = around_.world.what_is_wrong(domain);
    request = {{"verb", "sts.check"}, {"domain", domain}};
    const auto checked = co_await put(std::move(request));
    if (!checked.is_null() && wrong == around_.world.what_is_wrong(domain))
        claims.checked(checked.as_object(), wrong);
}

}  // namespace sternpost::simulation
