// Awaiting the answer to a question about the store.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <type_traits>
#include <utility>

#include "store/store.h"
#include "util/call.h"

namespace sternpost::store {

/// Runs `question(Questions&)`, which returns a Result, on the store's thread for questions, and resumes the
/// awaiting coroutine with what it returned. So the question owns what it needs. The closure has a name where
/// it is awaited: g++ 12 destroys some temporaries of a co_await expression twice.
template <class Asked>
asio::awaitable<std::invoke_result_t<Asked&, Questions&>> ask(Store& store, Asked asked,
                                                              bool current = false) {
    using Answer = std::invoke_result_t<Asked&, Questions&>;
    auto start = [&store, current, held = std::move(asked)](Completion<Answer> reply) mutable {
        auto question = [run = std::move(held),
                         answer = std::move(reply)](Result<Questions*> questions) mutable {
            if (!questions) return answer(fail(std::move(questions).error()));
            answer(run(**questions));
        };
        store.ask(Question(std::move(question)), current);
    };
    co_return co_await call<Answer>(std::move(start));
}

}  // namespace sternpost::store
