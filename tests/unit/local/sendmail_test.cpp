#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "local/sendmail_args.h"
#include "local/sendmail_message.h"
#include "util/text.h"

namespace sternpost::local {
namespace {

using Words = std::vector<std::string_view>;

Arguments arguments(const Words& words, std::string_view program = "sendmail") {
    auto parsed = parse_arguments(program, words);
    EXPECT_TRUE(parsed.has_value()) << parsed.error().text;
    return parsed.value_or(Arguments{});
}
Exit error_of(const Words& words) {
    const auto parsed = parse_arguments("sendmail", words);
    return parsed ? Exit::ok : parsed.error().code;
}

TEST(SendmailArguments, GoByTheProgramsName) {  // CLI-01, CLI-16
    EXPECT_EQ(arguments({"a@x.example"}, "/usr/sbin/sendmail").mode, Mode::send);
    EXPECT_EQ(arguments({}, "mailq").mode, Mode::list_queue);
    EXPECT_EQ(arguments({}, "/usr/bin/mailq").mode, Mode::list_queue);
    EXPECT_EQ(arguments({}, "newaliases").mode, Mode::do_nothing);
    EXPECT_EQ(arguments({"-bp"}).mode, Mode::list_queue);
    EXPECT_EQ(arguments({"-b", "p"}).mode, Mode::list_queue);
    EXPECT_EQ(arguments({"-bi"}).mode, Mode::do_nothing);
    EXPECT_EQ(arguments({"-I"}).mode, Mode::do_nothing);
    EXPECT_EQ(arguments({"-bm", "a@x.example"}, "mailq").mode, Mode::send);
    EXPECT_EQ(arguments({"--help"}).mode, Mode::help);
    for (const char* mode : {"-bv", "-bt", "-bd", "-bz"}) EXPECT_EQ(error_of({mode}), Exit::usage) << mode;
}

TEST(SendmailArguments, NameRecipientsInEveryForm) {  // CLI-02, CLI-05, CLI-06, CLI-23
    using List = std::vector<std::string>;
    EXPECT_EQ(arguments({"A <a@x>, b@x", "root"}).recipients, (List{"a@x", "b@x", "root"}));
    EXPECT_EQ(arguments({"-t", "a@x"}).recipients, (List{"a@x"}));
    EXPECT_EQ(arguments({"a@x", "-i", "b@x"}).recipients, (List{"a@x", "b@x"}));
    EXPECT_EQ(arguments({"-i", "--", "-x@d.test"}).recipients, (List{"-x@d.test"}));
    EXPECT_EQ(error_of({}), Exit::usage);
    EXPECT_EQ(error_of({"-i"}), Exit::usage);
    EXPECT_EQ(error_of({"not an address"}), Exit::data_error);
    EXPECT_EQ(error_of({"a@"}), Exit::data_error);
    EXPECT_EQ(arguments({"a@x\nto <b@y>"}).recipients,
              (List{"b@y"}));  // a display name: no line gets into the record
    EXPECT_EQ(error_of({"<a@x\nto b@y>"}), Exit::data_error);
}

TEST(SendmailArguments, SetHowTheMessageIsRead) {  // CLI-07, CLI-08, CLI-20
    EXPECT_TRUE(arguments({"a@x"}).dot_ends);
    for (const char* word : {"-i", "-oi", "-oitrue", "-ti", "-it", "-vi"})
        EXPECT_FALSE(arguments({word, "a@x"}).dot_ends) << word;
    for (const char* word : {"-oifalse", "-oe", "-om"})
        EXPECT_TRUE(arguments({word, "a@x"}).dot_ends) << word;
    EXPECT_FALSE(arguments({"-o", "i", "a@x"}).dot_ends);
    EXPECT_TRUE(arguments({"-ti"}).recipients_from_header);
    EXPECT_TRUE(arguments({"-G", "a@x"}).gateway);
}

TEST(SendmailArguments, SetTheReversePath) {  // CLI-09
    EXPECT_EQ(arguments({"a@x"}).reverse_path, std::nullopt);
    EXPECT_EQ(arguments({"-f", "b@y.example", "a@x"}).reverse_path, "b@y.example");
    EXPECT_EQ(arguments({"-fb@y.example", "a@x"}).reverse_path, "b@y.example");
    EXPECT_EQ(arguments({"-r", "bob", "a@x"}).reverse_path, "bob");
    EXPECT_EQ(arguments({"-f", "Bob <b@y.example>", "a@x"}).reverse_path, "b@y.example");
    EXPECT_EQ(arguments({"-f", "", "a@x"}).reverse_path, "");
    EXPECT_EQ(arguments({"-f", "<>", "a@x"}).reverse_path, "");
    EXPECT_EQ(arguments({"-f<>", "a@x"}).reverse_path, "");
    EXPECT_EQ(error_of({"-f", "b@y, c@z", "a@x"}), Exit::usage);
    EXPECT_EQ(error_of({"a@x", "-f"}), Exit::usage);
}

TEST(SendmailArguments, CarryNoticeWishes) {  // CLI-11, CLI-18, CLI-19
    const Arguments all =
        arguments({"-N", "success,delay", "-Rhdrs", "-V", "a+b", "-B8bitmime", "-F", "Bob \xc3\x84", "a@x"});
    EXPECT_TRUE(all.notify.success && all.notify.delay && !all.notify.failure);
    EXPECT_EQ(all.ret, mail::Ret::hdrs);
    EXPECT_EQ(all.envid, "a+2Bb");
    EXPECT_EQ(all.body, mail::BodyType::eight_bit_mime);
    EXPECT_EQ(all.full_name, "Bob \xc3\x84");
    for (const Words& wrong :
         {Words{"-N", "never,delay"}, Words{"-N", "x"}, Words{"-R", "x"}, Words{"-B", "9BIT"},
          Words{"-V", ""}, Words{"-F", "a\nb"}, Words{"-z"}, Words{"-O", "requiretls=perhaps"},
          Words{"-Osmtputf8"}, Words{"-qI"}, Words{"-qG5"}, Words{"-qI--all"}, Words{"-bv"}})
        EXPECT_EQ(error_of(wrong), Exit::usage) << wrong.front();
}

TEST(SendmailArguments, NameThePersonIn200Octets) {
    EXPECT_EQ(arguments({"-F", std::string(200, 'x'), "a@x"}).full_name, std::string(200, 'x'));
    EXPECT_EQ(error_of({"-F", std::string(201, 'x'), "a@x"}), Exit::usage);
}

TEST(SendmailArguments, AskForRequiretlsAndSmtputf8) {  // CLI-22, RTLS-15
    EXPECT_FALSE(arguments({"a@x"}).requiretls);
    EXPECT_TRUE(arguments({"-O", "requiretls=yes", "a@x"}).requiretls);
    EXPECT_TRUE(arguments({"-ORequireTLS=YES", "a@x"}).requiretls);
    EXPECT_FALSE(arguments({"-O", "requiretls=no", "a@x"}).requiretls);
    EXPECT_EQ(arguments({"a@x"}).smtputf8, Utf8Wish::automatic);
    EXPECT_EQ(arguments({"-O", "smtputf8=auto", "a@x"}).smtputf8, Utf8Wish::automatic);
    EXPECT_EQ(arguments({"-O", "smtputf8=yes", "a@x"}).smtputf8, Utf8Wish::yes);
    EXPECT_EQ(arguments({"-O", "smtputf8=no", "a@x"}).smtputf8, Utf8Wish::no);
    EXPECT_EQ(error_of({"-O", "smtputf8=maybe", "a@x"}), Exit::usage);
    EXPECT_EQ(arguments({"-f", "j\xc3\xb6rg@x", "\xc3\xa9@y"}).reverse_path, "j\xc3\xb6rg@x");
    EXPECT_EQ(error_of({"\xff@y"}), Exit::data_error);
}

TEST(SendmailArguments, DecideWhenAMessageGoesWithSmtputf8) {  // CLI-22, SMTP-85
    const std::vector<std::string> plain = {"a@x.example"};
    const std::vector<std::string> utf8 = {"a@x.example", "\xc3\xa9@y.example"};
    const auto wants = [](Utf8Wish wish, std::string_view from, const std::vector<std::string>& to,
                          bool header) {
        const auto answer = wants_smtputf8(wish, from, to, header);
        return !answer ? "refused" : *answer ? "yes" : "no";
    };
    EXPECT_STREQ(wants(Utf8Wish::automatic, "a@x", plain, false), "no");
    EXPECT_STREQ(wants(Utf8Wish::automatic, "a@x", plain, true), "yes");
    EXPECT_STREQ(wants(Utf8Wish::automatic, "a@x", utf8, false), "yes");
    EXPECT_STREQ(wants(Utf8Wish::automatic, "\xc3\xa9@x", plain, false), "yes");
    EXPECT_STREQ(wants(Utf8Wish::yes, "a@x", plain, false), "yes");
    EXPECT_STREQ(wants(Utf8Wish::no, "a@x", plain, true), "refused");
    EXPECT_STREQ(wants(Utf8Wish::no, "a@x", utf8, false), "refused");
    EXPECT_STREQ(wants(Utf8Wish::no, "\xc3\xa9@x", plain, false), "refused");
}

TEST(SendmailArguments, TakeWhatHasNoMeaningHere) {  // CLI-21
    for (const Words& words : {Words{"-O", "x=y"},
                               {"-Ox=y"},
                               {"-odb"},
                               {"-odi"},
                               {"-odq"},
                               {"-oem"},
                               {"-oee"},
                               {"-oep"},
                               {"-oeq"},
                               {"-oew"},
                               {"-om"},
                               {"-o7"},
                               {"-o8"},
                               {"-o", "Q/dir"},
                               {"-em"},
                               {"-e", "m"},
                               {"-h", "5"},
                               {"-h5"},
                               {"-L", "tag"},
                               {"-m"},
                               {"-n"},
                               {"-U"},
                               {"-v"},
                               {"-vv"},
                               {"-X", "file"},
                               {"-x"},
                               {"-Am"},
                               {"-Ac"},
                               {"-C", "file"},
                               {"-Cfile"},
                               {"-d"},
                               {"-d0.1"},
                               {"-p", "SMTP"},
                               {"-pSMTP:host"},
                               {"-O", "requiretls=no"}}) {
        Words with = words;
        with.emplace_back("a@x");
        const Arguments parsed = arguments(with);
        EXPECT_EQ(parsed.recipients, std::vector<std::string>{"a@x"}) << words.front();
        EXPECT_EQ(parsed.mode, Mode::send);
    }
    EXPECT_EQ(arguments({"-q30m"}).mode, Mode::do_nothing);
    EXPECT_EQ(arguments({"-qp30m"}).mode, Mode::do_nothing);
    EXPECT_EQ(arguments({"-bs"}).mode, Mode::smtp_session);           // CLI-15
    EXPECT_EQ(arguments({"-bv", "a@x.example"}).mode, Mode::verify);  // CLI-16
    for (const auto& [word, retry] :
         {std::pair("-q", "--all"), std::pair("-qf", "--all"), std::pair("-qI4x4c0R0vqN", "4x4c0R0vqN"),
          std::pair("-qRx.ex", "--recipient=x.ex"), std::pair("-qRa@x.example", "--recipient=a@x.example"),
          std::pair("-qSw", "--from=w")}) {  // CLI-17
        EXPECT_EQ(arguments({word}).mode, Mode::run_queue) << word;
        EXPECT_EQ(arguments({word}).retry, std::vector<std::string>{retry}) << word;
    }
    EXPECT_EQ(arguments({"-qR", "x.ex"}).retry, std::vector<std::string>{"--recipient=x.ex"});
    EXPECT_EQ(arguments({"-qI", "4x4c0R0vqN"}).retry, std::vector<std::string>{"4x4c0R0vqN"});
    EXPECT_EQ(error_of({"-qIzzz"}), Exit::usage) << "an exit code that mail programs know";
}

TEST(SendmailExit, SaysWhatTheDaemonSaid) {  // CLI-24
    const auto exit_code = [](Answer::Kind kind, const char* text) { return exit_of(Answer{kind, text}); };
    EXPECT_EQ(exit_code(Answer::Kind::ok, "id"), Exit::ok);
    EXPECT_EQ(exit_code(Answer::Kind::temporary, "4.3.1 full"), Exit::try_again);
    EXPECT_EQ(exit_code(Answer::Kind::permanent, "5.1.3 who"), Exit::no_user);
    EXPECT_EQ(exit_code(Answer::Kind::permanent, "5.1.2 where"), Exit::no_host);
    EXPECT_EQ(exit_code(Answer::Kind::permanent, "5.3.4 big"), Exit::data_error);
    EXPECT_EQ(exit_code(Answer::Kind::permanent, "5.7.1 no"), Exit::not_permitted);
    EXPECT_EQ(exit_code(Answer::Kind::permanent, "5.5.2 what"), Exit::unavailable);
}

// ---- the message

struct Case {
    const char* name;
    Words words;
    std::string_view in;
    std::string_view out;
};
class SendmailInput : public testing::TestWithParam<Case> {};
TEST_P(SendmailInput, ComesOutTheSameHoweverItIsCut) {
    const Case& c = GetParam();
    const Arguments parsed = arguments(c.words);
    for (std::size_t a = 0; a <= c.in.size(); ++a)
        for (std::size_t b = a; b <= c.in.size(); ++b) {
            SCOPED_TRACE(testing::Message() << a << " and " << b);
            SendmailMessage message(parsed, "D");
            std::string out;
            message.feed(c.in.substr(0, a), out);
            message.feed(c.in.substr(a, b - a), out);
            message.feed(c.in.substr(b), out);
            message.finish(out);
            ASSERT_EQ(out, c.out);
        }
}

using namespace std::string_view_literals;

const Case cases[] = {
    {"LfBecomesCrlf", {"a@x"}, "Date: x\n\nhi\n", "Date: x\r\n\r\nhi\r\n"},    // CLI-14
    {"CrlfStays", {"a@x"}, "Date: x\r\n\r\nhi\r\n", "Date: x\r\n\r\nhi\r\n"},  // CLI-14
    {"StrayOnesAreReplaced",
     {"a@x"},
     "Date: x\n\na\rb\r\r\nc\0d"sv,
     "Date: x\r\n\r\na\r\nb\r\nc?d\r\n"},                  // SMTP-10, D-44
    {"BodyOnly", {"a@x"}, "hi", "Date: D\r\n\r\nhi\r\n"},  // CLI-12
    {"Nothing", {"a@x"}, "", "Date: D\r\n\r\n"},
    {"DateIsAdded", {"a@x"}, "Subject: s\n\n", "Subject: s\r\nDate: D\r\n\r\n"},  // CLI-12
    {"GatewayTouchesNothing",
     {"-G", "a@x"},
     "Subject: s\nBcc: b@x\n\nhi\n",
     "Subject: s\r\nBcc: b@x\r\n\r\nhi\r\n"},                              // CLI-20
    {"DotEnds", {"a@x"}, "Date: x\n\na\n.\nb\n", "Date: x\r\n\r\na\r\n"},  // CLI-07
    {"DotCrlfEnds", {"a@x"}, "Date: x\n\na\r\n.\r\nb\n", "Date: x\r\n\r\na\r\n"},
    {"DotAtTheEnd", {"a@x"}, "Date: x\n\na\n.", "Date: x\r\n\r\na\r\n"},
    {"OtherDotsAreText", {"a@x"}, "Date: x\n\n..\n.a\n. \n", "Date: x\r\n\r\n..\r\n.a\r\n. \r\n"},
    {"DotDoesNotEnd", {"-i", "a@x"}, "Date: x\n\na\n.\nb\n", "Date: x\r\n\r\na\r\n.\r\nb\r\n"},
    {"MboxLineGoes",
     {"a@x"},
     "From bob Mon\nDate: x\n\nFrom here\n",
     "Date: x\r\n\r\nFrom here\r\n"},  // CLI-13
    {"QuotedMboxLineGoes", {"a@x"}, ">From bob Mon\nDate: x\n\n", "Date: x\r\n\r\n"},
    {"FromFieldStays", {"a@x"}, "From: bob\nDate: x\n\n", "From: bob\r\nDate: x\r\n\r\n"},
    {"BccAndReturnPathGo",
     {"a@x"},
     "Return-Path: <r@x>\nBcc: b@x,\n c@x\nDate: x\nbcc:\n\n",
     "Date: x\r\n\r\n"},  // CLI-04, CLI-13
};
INSTANTIATE_TEST_SUITE_P(Cli, SendmailInput, testing::ValuesIn(cases),
                         [](const auto& row) { return row.param.name; });

std::vector<std::string> header_recipients(std::string_view text) {
    SendmailMessage message(arguments({"-t"}), "D");
    std::string out;
    message.feed(text, out);
    message.finish(out);
    EXPECT_EQ(out.find("bcc"), std::string::npos);
    auto found = message.recipients();
    return found ? *found
                 : std::vector<std::string>{"error " + std::to_string(static_cast<int>(found.error().code))};
}

TEST(SendmailHeader, ShowsWhetherItNeedsSmtputf8) {  // CLI-22
    const auto utf8 = [](std::string_view message, const Words& words = {"-t"}) {
        SendmailMessage reader(arguments(words), "D");
        std::string out;
        reader.feed(message, out);
        reader.finish(out);
        return reader.utf8_address();
    };
    EXPECT_FALSE(utf8("Subject: \xc3\xb6\n\nx\n"));  // D-42: the daemon encodes it
    EXPECT_TRUE(utf8("To: \xc3\xb6@x.example\n\nx\n"));
    EXPECT_FALSE(utf8("To: a@\xc3\xb6.example\n\nx\n"));
    EXPECT_FALSE(utf8("Subject: =?utf-8?q?=C3=B6?=\n\n\xc3\xb6\n"));
    EXPECT_FALSE(utf8("Subject: \xf6\n\nx\n"));  // Latin-1: an old habit, no SMTPUTF8
    EXPECT_FALSE(utf8("Bcc: \xc3\xb6@x.example\n\nx\n"));
    EXPECT_FALSE(utf8("To: \xc3\xb6@x.example\n\nx\n", {"-G", "-t"}));
}

TEST(SendmailHeader, NamesRecipients) {  // CLI-03, CLI-04
    using List = std::vector<std::string>;
    EXPECT_EQ(header_recipients("To: a@x, B <b@x>\ncc: (c) c@x\nbcc: d@x,\n\te@x\nFrom: f@x\n\nTo: g@x\n"),
              (List{"a@x", "b@x", "c@x", "d@x", "e@x"}));
    EXPECT_EQ(header_recipients("To: a@x\nResent-To: b@x\nresent-bcc: c@x\nCc: d@x\n\n"),
              (List{"b@x", "c@x"}));
    EXPECT_EQ(header_recipients("To: Team: a@x, root;\nbcc:\nTo: undisclosed-recipients:;\n\n"),
              (List{"a@x", "root"}));
    EXPECT_EQ(header_recipients("Subject: x\n\n"), (List{}));
    EXPECT_EQ(header_recipients("To: a b c\n\n"), (List{"error 65"}));
    EXPECT_EQ(header_recipients("X: " + std::string(1'100'000, 'x') + "\nTo: a@x\n\n"), (List{"error 65"}));
}

}  // namespace
}  // namespace sternpost::local
