#include "admin/mailq.h"

#include <gtest/gtest.h>

#include <regex>

#include "control/json.h"

namespace sternpost::admin {
namespace {

Listing list_of(const char* text) {
    return control::from_json<Listing>(boost::json::parse(text));
}

std::string shown(const char* list) {
    MailqText mailq([](WallTime) { return "Mon Nov 23 12:00:00"; });
    return mailq.end(list_of(list));
}

TEST(Mailq, SaysThatTheQueueIsEmpty) {
    EXPECT_EQ(shown(R"({"messages":[],"totals":{"messages":0,"recipients":0,"octets":0}})"),
              "Mail queue is empty\n");
}

TEST(Mailq, HasTheLayoutOfPostfix) {
    const std::string out = shown(R"({"messages":[
      {"id":"4Xk2000001","size":1234,"reverse_path":"a@x.example","held":false,"recipients":[
        {"path":"b@y.example","state":"queued","active":true,"reason":""},
        {"path":"done@y.example","state":"sent","active":false,"reason":""}]},
      {"id":"4Xk2000002","size":5,"reverse_path":"","held":true,"recipients":[
        {"path":"c@y.example","state":"queued","active":false,"reason":"connection refused"},
        {"path":"d@y.example","state":"queued","active":false,"reason":"connection refused"}]},
      {"id":"4Xk2000003","size":5,"reverse_path":"e@x.example","held":false,"recipients":[]}],
      "totals":{"messages":7,"recipients":9,"octets":2900}})");
    EXPECT_EQ(out,
              "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n"
              "4Xk2000001*    1234  Mon Nov 23 12:00:00 a@x.example\n"
              "                                          b@y.example\n"
              "\n"
              "4Xk2000002!       5  Mon Nov 23 12:00:00 MAILER-DAEMON\n"
              "                                                        (connection refused)\n"
              "                                          c@y.example\n"
              "                                          d@y.example\n"
              "\n"
              "4Xk2000003        5  Mon Nov 23 12:00:00 e@x.example\n"
              "\n"
              "        Total Requests: 7\n"
              "-- 2 Kbytes in 7 Requests.\n");
}

TEST(Mailq, SaysWhatAnAdministratorHasStopped) {
    const std::string out = shown(R"({"messages":[
      {"id":"4Xk2000001","size":1,"reverse_path":"a@x.example","held":false,"recipients":[
        {"path":"b@y.example","state":"queued","active":false,"reason":"refused","blocked_by":"hop-suspended",
         "blocks":"the next hop y.example is suspended"}]},
      {"id":"4Xk2000002","size":1,"reverse_path":"a@x.example","held":false,"recipients":[
        {"path":"b@y.example","state":"queued","active":false,"reason":"refused","blocked_by":"hop-suspended",
         "blocks":"the next hop y.example is suspended"},
        {"path":"c@z.example","state":"queued","active":false,"reason":"refused","blocked_by":"schedule",
         "blocks":"refused"}]}],
      "totals":{"messages":2,"recipients":3,"octets":2}})");
    EXPECT_NE(out.find("4Xk2000001! "), std::string::npos) << out;
    EXPECT_NE(out.find("4Xk2000002  "), std::string::npos) << "one of its recipients is tried";
    EXPECT_NE(out.find("(the next hop y.example is suspended)\n"), std::string::npos);
    EXPECT_NE(out.find("(refused)\n"), std::string::npos);
}

TEST(Mailq, PrintsPiecesAsOneList) {
    MailqText mailq([](WallTime) { return "t"; });
    const auto list = list_of(
        R"({"messages":[{"id":"4Xk2000001","size":1,"reverse_path":"a@x.example","held":false,"recipients":[]}]})");
    EXPECT_TRUE(mailq.messages(list.messages).starts_with("-Queue ID-"));
    EXPECT_TRUE(mailq.messages(list.messages).starts_with("4Xk2000001"));
    EXPECT_TRUE(mailq.end(list_of(R"({"messages":[],"totals":{"messages":2,"octets":2}})"))
                    .ends_with("-- 0 Kbytes in 2 Requests.\n"));
}

// The expressions by which monitors find the number of messages.
TEST(Mailq, IsReadByMonitors) {
    const std::string out = shown(R"({"messages":[],"totals":{"messages":1,"recipients":1,"octets":2900}})");
    std::smatch found;
    EXPECT_TRUE(std::regex_search(out, found,
                                  std::regex("-- (\\d+) Kbytes in (\\d+) Request")));  // check_mailq, munin
    EXPECT_EQ(found[2], "1");
    EXPECT_NE(out.find("1 Request.\n"), std::string::npos);
}

}  // namespace
}  // namespace sternpost::admin
