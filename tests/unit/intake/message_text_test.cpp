#include "intake/message_text.h"

#include <gtest/gtest.h>

#include "mail/seven_bit.h"

namespace sternpost::intake {
namespace {

std::vector<store::QueuedRecipient> to(std::initializer_list<const char*> paths) {
    std::vector<store::QueuedRecipient> out;
    for (const char* path : paths)
        out.emplace_back(mail::Recipient(mail::ForwardPath::parse(path, true).value()), "b.test");
    return out;
}

TextRules originated() {
    TextRules out;
    out.originated = true;
    out.hostname = "us.test";
    out.from = "a@us.test";
    out.sender = "192.0.2.1";
    return out;
}

struct Got {
    std::string octets;
    std::string refusal;  // empty: none
    mail::Envelope envelope;
    bool long_lines = false;
};

Got got(TextRules rules, std::string_view octets,
        const std::vector<store::QueuedRecipient>& recipients = to({"b@b.test"})) {
    mail::Received trace;
    trace.from = "client";
    trace.with = "ESMTP";
    MessageText text(std::move(rules), store::MessageId{1'000'000}, WallTime{}, trace, recipients);
    Got out;
    auto fed = text.feed(octets);
    if (fed) fed = text.finish();
    if (fed) fed = text.judge(octets.size());
    if (!fed) out.refusal = reply_of(fed.error());
    out.octets = text.piece();
    out.long_lines = text.has_long_lines();
    text.describe(out.envelope);
    return out;
}

TextRules relayed() {
    TextRules out = originated();
    out.originated = false;
    return out;
}

TEST(MessageText, PutsTheTraceOnTop) {
    const Got out = got(relayed(), "Subject: x\r\n\r\nbody\r\n");
    EXPECT_TRUE(out.octets.starts_with("Received: from client")) << out.octets;
    EXPECT_TRUE(out.octets.ends_with("\r\nSubject: x\r\n\r\nbody\r\n")) << out.octets;
    EXPECT_NE(out.octets.find("for <b@b.test>"), std::string::npos);
    EXPECT_FALSE(out.envelope.originated);
}

TEST(MessageText, NamesTheRecipientInTheTraceOnlyWhereItIsTheOnlyOneAndAscii) {
    EXPECT_EQ(got(relayed(), "\r\n", to({"b@b.test", "c@b.test"})).octets.find("for <"), std::string::npos);
    EXPECT_EQ(got(relayed(), "\r\n", to({"\xc3\xa4@b.test"})).octets.find("for <"), std::string::npos);
}

TEST(MessageText, CompletesOnlyWhatIsOriginatedHere) {
    const Got own = got(originated(), "Subject: x\r\nBcc: c@b.test\r\n\r\n");
    for (const char* field : {"\r\nFrom: a@us.test", "\r\nDate: ", "\r\nMessage-ID: <"})
        EXPECT_NE(own.octets.find(field), std::string::npos) << field;
    EXPECT_EQ(own.octets.find("Bcc"), std::string::npos);
    EXPECT_TRUE(own.envelope.originated);
    const Got other = got(relayed(), "Subject: x\r\nBcc: c@b.test\r\n\r\n");
    EXPECT_EQ(other.octets.find("From:"), std::string::npos);
    EXPECT_NE(other.octets.find("Bcc"), std::string::npos);
}

TEST(MessageText, RefusesALoop) {
    TextRules rules = relayed();
    rules.max_received = 2;
    const std::string field = "Received: from x by y; now\r\n";
    EXPECT_EQ(got(rules, field + field + "\r\n").refusal, "");
    EXPECT_TRUE(got(rules, field + field + field + "\r\n").refusal.starts_with("554 5.4.6"));
}

TEST(MessageText, RefusesAnOctetOfValueZero) {
    EXPECT_TRUE(got(relayed(), std::string_view("a: b\r\n\r\n\0\r\n", 12)).refusal.starts_with("554 5.6.0"));
}

TEST(MessageText, RefusesTwoFromFieldsOfWhatIsOriginated) {
    const char* const two = "From: a@us.test\r\nFrom: b@us.test\r\n\r\n";
    EXPECT_TRUE(got(originated(), two).refusal.starts_with("554 5.6.0"));
    EXPECT_EQ(got(relayed(), two).refusal, "");
}

TEST(MessageText, HoldsTheFromFieldToTheRule) {  // D-47
    mail::SenderDomains::Rule rule;
    rule.name = "[[client]] 192.0.2.0/24";
    rule.domains = {"ours.test"};
    TextRules rules = originated();
    rules.domains = &rule;
    EXPECT_EQ(got(rules, "From: a@ours.test\r\n\r\n").refusal, "");
    EXPECT_EQ(
        got(rules, "From: a@theirs.test\r\n\r\n").refusal,
        "550 5.7.1 From: theirs.test is not among the domains that the rule [[client]] 192.0.2.0/24 lets "
        "192.0.2.1 write as");
}

TEST(MessageText, HasLongLinesEncodedOnlyWhereTheMessageIsOurs) {  // D-22
    const std::string line(mail::max_line + 1, 'x');
    const Got own = got(originated(), "Subject: x\r\n\r\n" + line + "\r\n");
    EXPECT_EQ(own.refusal, "");
    EXPECT_TRUE(own.long_lines);
    const Got other = got(relayed(), "Subject: x\r\n\r\n" + line + "\r\n");
    EXPECT_EQ(other.refusal, "");
    EXPECT_FALSE(other.long_lines);
    const std::string longer(mail::max_relayed_line + 1, 'x');
    EXPECT_TRUE(got(relayed(), "\r\n" + longer + "\r\n").refusal.starts_with("554 5.6.0"));
}

TEST(MessageText, HasLongLinesEncodedInMessagesOfFiftyMiBAtMost) {  // D-22
    for (const std::size_t line : {mail::max_line, mail::max_line + 1}) {
        MessageText text(originated(), store::MessageId{1}, WallTime{}, {}, to({"b@b.test"}));
        ASSERT_TRUE(text.feed("Subject: x\r\n\r\n" + std::string(line, 'x') + "\r\n"));
        ASSERT_TRUE(text.finish());
        EXPECT_TRUE(text.judge(52'428'800));
        EXPECT_EQ(text.judge(52'428'801).has_value(), line == mail::max_line) << "nothing is to be encoded";
    }
}

TEST(MessageText, RefusesAFromFieldThatIsTooLongToBeCompared) {  // D-47
    mail::SenderDomains::Rule rule;
    rule.name = "[[client]] 192.0.2.0/24";
    rule.domains = {"ours.test"};
    TextRules rules = relayed();
    rules.domains = &rule;
    // In pieces, as it comes from the network; the last one has an address that is allowed.
    const auto refusal = [&](std::size_t octets, std::string_view begin) {
        const std::string end = ")\r\n a@ours.test\r\n";
        std::string field = std::string(begin) + "(";
        while (field.size() + end.size() < octets)
            field += std::string(std::min<std::size_t>(octets - field.size() - end.size(), 900), 'x') +
                     (field.size() + end.size() + 1000 < octets ? "\r\n " : "");
        field += end + "\r\n";
        MessageText text(rules, store::MessageId{1}, WallTime{}, {}, to({"b@b.test"}));
        for (std::string_view rest = field; !rest.empty();
             rest.remove_prefix(std::min<std::size_t>(rest.size(), 8192)))
            EXPECT_TRUE(text.feed(rest.substr(0, 8192)));
        EXPECT_TRUE(text.finish());
        const auto judged = text.judge(field.size());
        return judged ? "" : reply_of(judged.error());
    };
    EXPECT_EQ(refusal(1'048'576, "From: "), "");
    EXPECT_TRUE(refusal(1'048'700, "From: ").starts_with("550 5.7.1 From: what is no address"));
    EXPECT_TRUE(
        refusal(1'048'700, "From: b@theirs.test, ").starts_with("550 5.7.1 From: what is no address"));
}

TEST(MessageText, OfAServerBehindIsPassedOnUntouched) {
    MessageText text;
    ASSERT_TRUE(text.feed("From: a\r\nFrom: b\r\n\r\n"));
    ASSERT_TRUE(text.finish());
    EXPECT_TRUE(text.judge(1));
    EXPECT_EQ(text.piece(), "From: a\r\nFrom: b\r\n\r\n");
}

TEST(MessageText, LetsRequireTlsOutrankTheHeaderField) {  // RFC 8689 §4.1
    MessageText text(relayed(), store::MessageId{1}, WallTime{}, {}, to({"b@b.test"}));
    ASSERT_TRUE(text.feed("TLS-Required: No\r\n\r\n"));
    ASSERT_TRUE(text.finish());
    mail::Envelope envelope;
    text.describe(envelope);
    EXPECT_TRUE(envelope.tls_required_no);
    envelope.requiretls = true;
    text.describe(envelope);
    EXPECT_FALSE(envelope.tls_required_no);
}

}  // namespace
}  // namespace sternpost::intake
