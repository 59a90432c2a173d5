// Runs a reading verb in the daemon, next to everything else that it does.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <utility>
#include <vector>

#include "admin/reading.h"
#include "store/ask.h"
#include "util/call.h"

namespace sternpost::admin {

namespace asio = boost::asio;

template <class Verb>
concept InPieces = requires {
    typename Verb::Row;
};

/// Sends rows of a long list, and waits until the caller has taken them. False: the caller is gone.
template <class Row>
using Send = std::function<asio::awaitable<bool>(std::vector<Row> rows)>;

/// Each read is a question of its own, so that others get their turn. Lives on the control thread, with
/// `live`.
template <class Verb>
asio::awaitable<Answer<typename Verb::Value>> run(store::Store& store, const Live& live, Verb verb) {
    if (verb.refused()) co_return *verb.refused();
    do {
        auto question = [&verb](store::Questions& questions) { return verb.read(questions); };
        const auto done = co_await store::ask(store, std::move(question));
        if (!done) co_return done.error();
        verb.look(live);
    } while (verb.more());
    co_return verb.answer(live);
}

template <InPieces Verb>
asio::awaitable<Answer<typename Verb::Value>> run(store::Store& store, const Live& live, Verb verb,
                                                  Send<typename Verb::Row> send) {
    if (verb.refused()) co_return *verb.refused();
    for (;;) {
        auto question = [&verb](store::Questions& questions) { return verb.read(questions); };
        const auto done = co_await store::ask(store, std::move(question));
        if (!done) co_return done.error();
        verb.look(live);
        if (!verb.more()) break;
        if (!send) continue;
        auto rows = std::exchange(verb.rows(), {});
        const bool taken = co_await send(std::move(rows));
        if (!taken) co_return caller_is_gone();
    }
    co_return verb.answer(live);
}

/// Keeps a value, and comes back when it is on stable storage.
template <class Value>
asio::awaitable<store::Result<void>> keep(store::Store& store, Value value) {
    auto put = [&store, held = std::move(value)](Completion<store::Result<void>> reply) mutable {
        store.keep(std::move(held), std::move(reply));
    };
    co_return co_await call<store::Result<void>>(std::move(put));
}

}  // namespace sternpost::admin
