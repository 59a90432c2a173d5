// What the daemon answers on its socket: verbs by name, who may ask for them, and their values as JSON.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "admin/run.h"
#include "control/json.h"
#include "control/protocol.h"
#include "control/server.h"

namespace sternpost::control {

/// Rows of a long list, as pieces under that key; null: the caller takes one page.
template <class Row>
admin::Send<Row> pieces_to(const Caller& caller, std::string_view key) {
    if (!caller.part) return {};
    return [part = caller.part, key](const std::vector<Row>& rows) {
        json::object piece;
        piece[key] = to_json(rows);
        return part(std::move(piece));
    };
}

/// How far a long verb is; null: the caller does not want to know.
template <class Row>
std::function<asio::awaitable<void>(Row)> progress_to(const Caller& caller) {
    if (!caller.tell) return {};
    return [tell = caller.tell](const Row& so_far) { return tell(to_json(so_far).as_object()); };
}

/// Lives on the control thread.
class Verbs {
  public:
    /// `readers`: others than administrators may ask for what only reads. `admin_group`: for the sentence
    /// that refuses them.
    Verbs(bool readers, std::string admin_group) : readers_(readers), admin_group_(std::move(admin_group)) {}

    /// Typed answer of a typed request. `run` is called as run(Request, Caller).
    template <class Request, class Run>
    void add(std::string_view name, admin::Access access, Run run) {
        auto handler = [run](json::object request, Caller caller) {
            return answer_with<Request>(run, std::move(request), std::move(caller));
        };
        handlers_.insert_or_assign(std::string(name), Handler{access, std::move(handler)});
    }
    /// `store` and `live` outlive it.
    template <class Verb>
    void add(store::Store& store, const admin::Live& live) {
        auto handler = [&store, &live](json::object request, Caller caller) {
            return read<Verb>(store, live, std::move(request), std::move(caller));
        };
        handlers_.insert_or_assign(std::string(Verb::name), Handler{Verb::access, std::move(handler)});
    }

    /// An unknown verb counts as one that changes something.
    admin::Access access_of(std::string_view verb) const;
    asio::awaitable<Answer> answer(json::object request, Caller caller) const;

  private:
    struct Handler {
        admin::Access access = admin::Access::act;
        std::function<asio::awaitable<Answer>(json::object, Caller)> run;
    };

    template <class Request, class Run>
    static asio::awaitable<Answer> answer_with(Run run, json::object request, Caller caller) {
        const json::value text = std::move(request);
        auto typed = from_json<Request>(text);
        auto answer = co_await run(std::move(typed), std::move(caller));
        co_return to_answer(answer);
    }
    template <class Verb>
    static asio::awaitable<Answer> read(store::Store& store, const admin::Live& live, json::object request,
                                        Caller caller) {
        const json::value text = std::move(request);
        auto typed = from_json<typename Verb::Request>(text);
        Verb verb(std::move(typed), caller, caller.part ? admin::Paging::pieces : admin::Paging::one_page);
        if constexpr (admin::InPieces<Verb>) {
            auto send = pieces_to<typename Verb::Row>(caller, Verb::pieces);
            auto answer = co_await admin::run(store, live, std::move(verb), std::move(send));
            co_return to_answer(answer);
        } else {
            auto answer = co_await admin::run(store, live, std::move(verb));
            co_return to_answer(answer);
        }
    }

    const bool readers_;
    const std::string admin_group_;
    std::map<std::string, Handler, std::less<>> handlers_;
};

}  // namespace sternpost::control
