#include "control/verbs.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "admin/queue.h"

namespace sternpost::control {
namespace {

class VerbTable : public testing::Test {
  protected:
    static void add_echo(Verbs& verbs, std::string_view name, admin::Access access) {
        verbs.add<admin::IdRequest>(
            name, access,
            [](admin::IdRequest request, Caller) -> asio::awaitable<admin::Answer<admin::IdRequest>> {
                co_return request;
            });
    }
    static Answer ask(Verbs& verbs, const std::string& verb, bool admin) {
        asio::io_context context;
        Answer out{ExitCode::internal, "no answer", {}};
        Caller caller;
        caller.admin = admin;
        json::object request{{"verb", verb}, {"id", "4Xk2000001"}};
        auto answered = [&out](const std::exception_ptr& error, Answer answer) {
            if (!error) out = std::move(answer);
        };
        asio::co_spawn(context, verbs.answer(std::move(request), std::move(caller)), std::move(answered));
        context.run();
        return out;
    }
};

TEST_F(VerbTable, GivesTheTypedAnswerAsJson) {
    Verbs verbs(false, "postmasters");
    add_echo(verbs, "echo", admin::Access::act);
    const auto answer = ask(verbs, "echo", true);
    EXPECT_EQ(answer.code, ExitCode::done);
    EXPECT_EQ(answer.data.at("id"), "4Xk2000001");
}

TEST_F(VerbTable, LetsOthersReadOnlyWhereTheyMay) {
    for (const bool readers : {false, true}) {
        Verbs verbs(readers, "postmasters");
        add_echo(verbs, "read", admin::Access::read);
        add_echo(verbs, "look", admin::Access::look_up);
        add_echo(verbs, "act", admin::Access::act);
        EXPECT_EQ(ask(verbs, "read", false).code, readers ? ExitCode::done : ExitCode::not_permitted);
        for (const char* verb : {"look", "act", "unknown"}) {
            const auto answer = ask(verbs, verb, false);
            EXPECT_EQ(answer.code, ExitCode::not_permitted) << verb;
            EXPECT_NE(answer.text.find("postmasters"), std::string::npos);
        }
    }
}

TEST_F(VerbTable, TellsAnAdministratorThatItDoesNotKnowAVerb) {
    Verbs verbs(false, "postmasters");
    EXPECT_EQ(ask(verbs, "queue.juggle", true).code, ExitCode::usage);
}

TEST_F(VerbTable, SaysWhyThereIsNoAnswer) {
    Verbs verbs(false, "postmasters");
    verbs.add<admin::IdRequest>(
        "fails", admin::Access::act,
        [](admin::IdRequest request, Caller) -> asio::awaitable<admin::Answer<admin::Nothing>> {
            co_return admin::refusal("no " + request.id);
        });
    const auto answer = ask(verbs, "fails", true);
    EXPECT_EQ(answer.code, ExitCode::no);
    EXPECT_EQ(answer.text, "no 4Xk2000001");
    EXPECT_TRUE(answer.data.is_null());
}

}  // namespace
}  // namespace sternpost::control
