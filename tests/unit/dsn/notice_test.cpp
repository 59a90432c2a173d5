#include "dsn/notice.h"

#include <gtest/gtest.h>

namespace sternpost::dsn {
namespace {

NoticeRequest about(Action action) {
    NoticeRequest out;
    out.reporting_host = "us.test";
    out.to = "ann@sender.test";
    out.queue_id = "4Xk2000001";
    out.message_id = "n@us.test";
    out.original_reverse_path = "ann@sender.test";
    out.recipients.push_back({mail::Recipient(mail::ForwardPath::parse("bob@d.test").value()), action,
                              "4.2.0", "the host answered RCPT with: 450 4.2.0 not now", "", "", WallTime{},
                              std::nullopt});
    out.original = "Message-ID: <m@sender.test>\r\nSubject: x\r\n";
    return out;
}

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

TEST(Notice, StandsInTheThreadOfItsMessage) {
    NoticeRequest request = about(Action::failed);
    request.original = "Message-ID: <m@sender.test>\r\nReferences: <a@sender.test> <b@d.test>\r\n";
    const std::string text = compose(request);
    EXPECT_TRUE(has(text, "In-Reply-To: <m@sender.test>\r\n")) << text;
    EXPECT_TRUE(has(text, "References: <a@sender.test> <b@d.test> <m@sender.test>\r\n")) << text;
    request.original = "Subject: without an id\r\n";
    EXPECT_FALSE(has(compose(request), "In-Reply-To")) << "there is nothing to refer to";
}

TEST(Notice, RefersToTheTwentyLatestOfItsThread) {
    NoticeRequest request = about(Action::failed);
    request.original = "Message-ID: <m@sender.test>\r\nReferences:";
    for (int n = 10; n < 31; ++n) request.original += "\r\n <" + std::to_string(n) + "@sender.test>";
    request.original += "\r\n";
    std::string text = compose(request);
    text.resize(text.find("\r\n\r\n"));
    EXPECT_FALSE(has(text, "<10@sender.test>")) << text;
    for (int n = 11; n < 31; ++n) EXPECT_TRUE(has(text, "<" + std::to_string(n) + "@sender.test>")) << n;
    EXPECT_TRUE(has(text, "<m@sender.test>")) << text;
}

TEST(Notice, NamesTheHostAndItsReplyWhateverBecomesOfTheMail) {  // RFC 3464 §2.3.5, §2.3.6
    for (const Action action : {Action::failed, Action::delayed}) {
        NoticeRequest request = about(action);
        request.recipients[0].remote_mta = "mx1.d.test";
        request.recipients[0].diagnostic = "450 4.2.0 not now";
        const std::string text = compose(request);
        EXPECT_TRUE(has(text, "Remote-MTA: dns; mx1.d.test\r\n")) << text;
        EXPECT_TRUE(has(text, "Diagnostic-Code: smtp; 450 4.2.0 not now\r\n")) << text;
    }
}

TEST(Notice, SaysInItsOwnWordsWhereNoHostReplied) {
    const std::string text = compose(about(Action::failed));
    EXPECT_FALSE(has(text, "Remote-MTA"));
    EXPECT_TRUE(has(text, "Diagnostic-Code: x-sternpost;")) << text;
}

TEST(Notice, LeavesATraceOfEveryOctet) {
    NoticeRequest request = about(Action::failed);
    request.recipients[0].diagnostic = "550 gr\xc3\xbc\xc3\x9f\x65 \xff";
    const std::string text = compose(request);
    EXPECT_TRUE(has(text, R"(smtp; 550 gr\xC3\xBC\xC3\x9Fe \xFF)")) << text;
}

TEST(Notice, OfADelaySaysHowLongItIsTried) {
    NoticeRequest request = about(Action::delayed);
    request.recipients[0].retry_until = WallTime(std::chrono::seconds(1'800'000'000));
    const std::string text = compose(request);
    EXPECT_TRUE(has(text, "still being tried")) << text;
    EXPECT_TRUE(has(text, "Will-Retry-Until: ")) << text;
}

TEST(Notice, OfMailThatIsHeldBackPromisesNoAttempt) {
    const std::string text = compose(about(Action::delayed));
    EXPECT_FALSE(has(text, "being tried")) << text;
    EXPECT_FALSE(has(text, "tried until")) << text;
    EXPECT_FALSE(has(text, "Will-Retry-Until")) << text;
}

}  // namespace
}  // namespace sternpost::dsn
