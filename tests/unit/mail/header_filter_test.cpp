#include "mail/header_filter.h"

#include <gtest/gtest.h>

#include <string>

#include "mail/line_ends.h"
#include "mail/local_names.h"

namespace sternpost::mail {
namespace {

struct Case {
    const char* name;
    bool originate;
    std::string_view in;
    std::string_view out;
};

class HeaderOnTheWay : public testing::TestWithParam<Case> {};
TEST_P(HeaderOnTheWay, ComesOutTheSameHoweverItIsCut) {
    const Case& c = GetParam();
    HeaderRules rules;
    if (c.originate) {
        rules.drop_private = true;
        rules.from = "F";
        rules.date = "D";
        rules.message_id = "M";
    }
    for (std::size_t a = 0; a <= c.in.size(); ++a)
        for (std::size_t b = a; b <= c.in.size(); ++b) {
            SCOPED_TRACE(testing::Message() << a << " and " << b);
            HeaderFilter filter(rules);
            std::string out;
            filter.feed(c.in.substr(0, a), out);
            filter.feed(c.in.substr(a, b - a), out);
            filter.feed(c.in.substr(b), out);
            filter.finish(out);
            ASSERT_EQ(out, c.out);
        }
}

const Case cases[] = {
    {"RelayTouchesNothing", false, "Bcc: a\r\n\r\nb\r\n", "Bcc: a\r\n\r\nb\r\n"},
    {"RelayWithoutHeader", false, "hello\r\n", "hello\r\n"},
    {"CompleteStays", true, "From: a\r\nDATE : b\r\nmessage-id: <c>\r\n\r\nx\r\n",  // D-36
     "From: a\r\nDATE : b\r\nmessage-id: <c>\r\n\r\nx\r\n"},
    {"MissingIsAdded", true, "Subject: s\r\n\r\nx\r\n",  // CLI-12, SMTP-118
     "Subject: s\r\nFrom: F\r\nDate: D\r\nMessage-ID: <M>\r\n\r\nx\r\n"},
    {"BodyOnly", true, "hello\r\nthere: x\r\n",
     "From: F\r\nDate: D\r\nMessage-ID: <M>\r\n\r\nhello\r\nthere: x\r\n"},
    {"EmptyHeader", true, "\r\nFrom: in the body\r\n",
     "From: F\r\nDate: D\r\nMessage-ID: <M>\r\n\r\nFrom: in the body\r\n"},
    {"Nothing", true, "", "From: F\r\nDate: D\r\nMessage-ID: <M>\r\n\r\n"},
    {"HeaderOnly", true, "From: a\r\nDate: b\r\nMessage-ID: c\r\n",
     "From: a\r\nDate: b\r\nMessage-ID: c\r\n\r\n"},
    {"BccGoes", true,
     "From: a\r\nBcc: x,\r\n\ty\r\n\tz\r\nDate: b\r\nBCC:\r\nMessage-ID: c\r\nResent-Bcc : q\r\n\r\nBcc: "
     "body\r\n",
     "From: a\r\nDate: b\r\nMessage-ID: c\r\n\r\nBcc: body\r\n"},  // CLI-04
    {"ReturnPathGoes", true,
     "Return-Path: <x>\r\nFrom: a\r\nDate: b\r\nMessage-ID: c\r\n\r\n",  // CLI-13, SMTP-53
     "From: a\r\nDate: b\r\nMessage-ID: c\r\n\r\n"},
    {"FoldedStays", true, "From: a\r\n b\r\nDate: b\r\nMessage-ID:\r\n <c@d>\r\n\r\n",
     "From: a\r\n b\r\nDate: b\r\nMessage-ID:\r\n <c@d>\r\n\r\n"},
    {"FoldFirstIsNoField", true, " From: a\r\n\r\n",
     "From: F\r\nDate: D\r\nMessage-ID: <M>\r\n\r\n From: a\r\n\r\n"},
    {"NoFieldEndsTheHeader", true, "From: a\r\nnot a field\r\n\r\n",
     "From: a\r\nDate: D\r\nMessage-ID: <M>\r\n\r\nnot a field\r\n\r\n"},
};
INSTANTIATE_TEST_SUITE_P(Rfc6409, HeaderOnTheWay, testing::ValuesIn(cases),
                         [](const auto& row) { return row.param.name; });

TEST(HeaderFilter, ReadsWhatOthersAskFor) {
    HeaderFilter filter;
    std::string out;
    filter.feed(
        "Received: a\r\nRECEIVED: b\r\nMessage-ID:\r\n <c@d>\r\nTLS-Required: No\r\n\r\nReceived: c\r\n",
        out);
    filter.finish(out);
    EXPECT_EQ(filter.received(), 2U);
    EXPECT_EQ(filter.message_id(), "<c@d>");
    EXPECT_TRUE(filter.tls_required_no());  // RFC 8689 §3
}

struct TlsRequiredCase {
    const char* name;
    std::string header;
    bool no;
};
class TlsRequired : public testing::TestWithParam<TlsRequiredCase> {};
TEST_P(TlsRequired, CountsOnlyAsOneNo) {  // RTLS-14
    const std::string message = GetParam().header + "\r\nbody\r\n";
    for (std::size_t cut = 0; cut <= std::min<std::size_t>(message.size(), 60); ++cut) {
        HeaderFilter filter;
        std::string out;
        filter.feed(std::string_view(message).substr(0, cut), out);
        filter.feed(std::string_view(message).substr(cut), out);
        filter.finish(out);
        EXPECT_EQ(filter.tls_required_no(), GetParam().no) << "cut at " << cut;
    }
}
INSTANTIATE_TEST_SUITE_P(
    Rfc8689, TlsRequired,
    testing::Values(TlsRequiredCase{"No", "TLS-Required: No\r\n", true},
                    TlsRequiredCase{"AnyCase", "tls-REQUIRED:nO\r\n", true},
                    TlsRequiredCase{"Blanks", "TLS-Required:\t No \r\n", true},
                    TlsRequiredCase{"Folded", "TLS-Required:\r\n No\r\n", true},
                    TlsRequiredCase{"Comment", "TLS-Required: (dear me) No (a \\) (b))\r\n", true},
                    TlsRequiredCase{"Yes", "TLS-Required: Yes\r\n", false},
                    TlsRequiredCase{"More", "TLS-Required: no; x\r\n", false},
                    TlsRequiredCase{"FoldedInside", "TLS-Required: N\r\n o\r\n", false},
                    TlsRequiredCase{"Empty", "TLS-Required:\r\n", false},
                    TlsRequiredCase{"Nos", "TLS-Required: Not\r\n", false},
                    TlsRequiredCase{"Quoted", "TLS-Required: \"No\"\r\n", false},
                    TlsRequiredCase{"BeyondWhatIsRead",
                                    "TLS-Required: No" + std::string(300, ' ') + "thing\r\n", false},
                    TlsRequiredCase{"Two", "TLS-Required: No\r\nTLS-Required: No\r\n", false},
                    TlsRequiredCase{"TwoThatDiffer", "TLS-Required: Yes\r\nTLS-Required: No\r\n", false},
                    TlsRequiredCase{"InTheBody", "\r\nTLS-Required: No\r\n", false}),
    [](const auto& row) { return row.param.name; });

TEST(HeaderFilter, SeesOctetsAbove127InWhatGoesOut) {
    const auto eight_bit = [](std::string_view message, HeaderRules rules) {
        HeaderFilter filter(std::move(rules));
        std::string out;
        filter.feed(message, out);
        filter.finish(out);
        return filter.eight_bit();
    };
    HeaderRules originated;
    originated.drop_private = true;
    HeaderRules with_from;
    with_from.from = "j\xc3\xb6rg@corp.example";
    EXPECT_TRUE(eight_bit("Subject: \xc3\xb6\r\n\r\nx\r\n", {}));
    EXPECT_TRUE(eight_bit("Subject: x\r\n \xff\r\n\r\nx\r\n", {}));
    EXPECT_FALSE(eight_bit("Subject: x\r\n\r\n\xc3\xb6\r\n", {}));
    EXPECT_TRUE(eight_bit("Bcc: \xc3\xb6@x.example\r\n\r\nx\r\n", {}));
    EXPECT_FALSE(eight_bit("Bcc: \xc3\xb6@x.example\r\n\r\nx\r\n", originated));
    EXPECT_TRUE(eight_bit("Subject: x\r\n\r\nx\r\n", with_from));
}

TEST(HeaderFilter, HoldsBackAtMostALine) {
    HeaderFilter filter;
    std::string out;
    filter.feed(std::string(5000, 'x'), out);
    EXPECT_EQ(out.size(), 5000U);
    EXPECT_TRUE(filter.ended());
}

TEST(LineEnds, BecomeCrlfHoweverTheyAreCut) {  // CLI-14, SMTP-10, SMTP-12
    const std::pair<std::string_view, std::string_view> rows[] = {
        {"a\nb\n", "a\r\nb\r\n"},
        {"a\r\nb\r\n", "a\r\nb\r\n"},
        {"a\rb", "a\r\nb\r\n"},
        {"a\r\r\nb\n\r", "a\r\nb\r\n\r\n"},  // D-44
        {"a\r\r\r\n\r\rb\r\r", "a\r\n\r\n\r\nb\r\n\r\n"},
        {"", ""},
        {"\n", "\r\n"},
        {"a", "a\r\n"},
        {"\r", "\r\n"}};
    for (const auto& [in, expected] : rows)
        for (std::size_t cut = 0; cut <= in.size(); ++cut) {
            LineEnds ends;
            std::string out;
            ends.feed(in.substr(0, cut), out);
            ends.feed(in.substr(cut), out);
            ends.finish(out);
            EXPECT_EQ(out, expected);
        }
}

TEST(LocalNames, GoToTheAdministrator) {
    const LocalNames names({dns::Domain::parse("relay.example").value()},
                           ForwardPath::parse("admin@corp.example").value());
    for (const char* local :
         {"root", "Postmaster", "bob", "bob@relay.example", "BOB@Relay.Example", "x@localhost", "\"a b\""})
        EXPECT_EQ(names.resolve(local).value().text(), "admin@corp.example") << local;
    EXPECT_EQ(names.resolve("Bob@Dest.Example").value().text(), "Bob@Dest.Example");
    EXPECT_EQ(names.resolve("bob@[192.0.2.1]").value().text(), "bob@[192.0.2.1]");
    EXPECT_EQ(names.resolve("bob@host").error().code, Errc::bad_domain);  // SMTP-119
    for (const char* bad : {"", "a b", "a,b", "@", "a@", "@b.example", "-\x01"})
        EXPECT_FALSE(names.resolve(bad).has_value()) << bad;
    const LocalNames nobody({}, std::nullopt);
    const auto is_ours = [](const dns::Address& address) { return address.text() == "192.0.2.7"; };
    const LocalNames with_literal({}, ForwardPath::parse("admin@corp.example").value(), is_ours);
    EXPECT_EQ(with_literal.resolve("bob@[192.0.2.7]").value().text(), "admin@corp.example");
    EXPECT_EQ(with_literal.resolve("bob@[192.0.2.8]").value().text(), "bob@[192.0.2.8]");
    const LocalNames alone({}, std::nullopt, is_ours);
    EXPECT_EQ(alone.resolve("bob@[192.0.2.7]").error().code, Errc::loop);
    EXPECT_EQ(nobody.resolve("root").error().code, Errc::bad_address);
}

}  // namespace
}  // namespace sternpost::mail
