#include "mail/address.h"

#include <gtest/gtest.h>

namespace sternpost::mail {
namespace {

TEST(Mailbox, KeepsTheLocalPartOctetForOctet) {  // SMTP-24
    for (const char* text :
         {"MiXed.Case+Tag@d.test", "\"a b\\\"c\"@d.test", "a@[192.0.2.1]", "a@[IPv6:2001:db8::1]"})
        EXPECT_EQ(Mailbox::parse(text).value().text(), text);
    EXPECT_EQ(Mailbox::parse("A@D.Test.").value().text(), "A@D.Test");
    EXPECT_EQ(Mailbox::parse("A@D.Test.").value().host(), "d.test");
}

TEST(Mailbox, NeedsSmtputf8ForUtf8) {  // SMTP-83
    EXPECT_EQ(Mailbox::parse("j\xc3\xb6rg@d.test").error().code, Errc::needs_utf8);
    EXPECT_EQ(Mailbox::parse("j\xc3\xb6rg@d.test", true).value().local_part(), "j\xc3\xb6rg");
    EXPECT_EQ(Mailbox::parse("\xff@d.test", true).error().code, Errc::bad_address);
}

TEST(Mailbox, HasAFormInALabelsForHostsWithoutSmtputf8) {  // SMTP-84
    const auto mailbox = Mailbox::parse(
                             "a@B\xc3\xbc"
                             "cher.Test",
                             true)
                             .value();
    EXPECT_EQ(mailbox.text(),
              "a@B\xc3\xbc"
              "cher.Test");
    EXPECT_EQ(mailbox.host(), "xn--bcher-kva.test");
    EXPECT_EQ(mailbox.a_label_text(), "a@xn--bcher-kva.test");
    EXPECT_TRUE(mailbox.ascii());
    EXPECT_EQ(mailbox, Mailbox::parse("a@xn--bcher-kva.test").value());
    const auto both = Mailbox::parse(
                          "j\xc3\xb6rg@b\xc3\xbc"
                          "cher.test",
                          true)
                          .value();
    EXPECT_FALSE(both.ascii());
    EXPECT_EQ(Mailbox::parse("A@D.Test").value().a_label_text(), "A@D.Test");
    EXPECT_EQ(Mailbox::parse("a@[192.0.2.1]").value().a_label_text(), "a@[192.0.2.1]");
}

TEST(Mailbox, RefusesWhatIsNone) {
    for (const char* text :
         {"", "@", "a", "a@", "@d.test", "a b@d.test", ".a@d.test", "a.@d.test", "a..b@d.test", "\"a@d.test",
          "a@[1.2.3]", "a@[2001:db8::1]", "a@d..test", "a@b@c", "a\r\n@d.test"})
        EXPECT_FALSE(Mailbox::parse(text)) << text;
}

TEST(Mailbox, TakesLongerLocalPartsThanEverybodyMust) {  // D-49
    EXPECT_EQ(Mailbox::parse(std::string(256, 'x') + "@d.test").error().code, Errc::too_long);
    const std::string local(255, 'x');
    EXPECT_EQ(Mailbox::parse(local + "@d.test").value().text(), local + "@d.test");
    const std::string domain = std::string(63, 'd') + "." + std::string(63, 'e') + "." +
                               std::string(63, 'f') + "." + std::string(60, 'g');
    EXPECT_EQ(Mailbox::parse(std::string(255, 'x') + "@" + domain).value().text().size(), 508U);
}

TEST(Paths, DropSourceRoutes) {  // SMTP-56
    EXPECT_EQ(ForwardPath::parse("@a.test,@b.test:u@d.test").value().text(), "u@d.test");
    EXPECT_TRUE(ReversePath::parse("").value().is_null());
    EXPECT_TRUE(ForwardPath::is_postmaster("PostMaster"));
}

}  // namespace
}  // namespace sternpost::mail
