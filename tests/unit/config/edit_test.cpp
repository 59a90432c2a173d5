#include "config/edit.h"

#include <gtest/gtest.h>

#include "config/file.h"

namespace sternpost::config {
namespace {

struct EditRow {
    const char* name;
    const char* before;
    const char* option;
    const char* after;
};

class Edited : public ::testing::TestWithParam<EditRow> {};
TEST_P(Edited, KeepsEverythingElse) {
    const std::string once = with_option(GetParam().before, GetParam().option, "\"x.test\"");
    EXPECT_EQ(once, GetParam().after);
    EXPECT_EQ(with_option(once, GetParam().option, "\"x.test\""), once) << "again";
}

INSTANTIATE_TEST_SUITE_P(
    As, Edited,
    ::testing::Values(EditRow{"Empty", "", "hostname", "hostname = \"x.test\"\n"},
                      EditRow{"Replaced", "# mine\nhostname = \"old\" # here\nuser = \"a\"\n", "hostname",
                              "# mine\nhostname = \"x.test\"\nuser = \"a\"\n"},
                      EditRow{"Uncommented", "# the name\n#hostname = \"relay.example.net\"\n\n[queue]\n",
                              "hostname", "# the name\nhostname = \"x.test\"\n\n[queue]\n"},
                      EditRow{"RealBeforeCommented", "#hostname = \"a\"\nhostname = \"b\"\n", "hostname",
                              "#hostname = \"a\"\nhostname = \"x.test\"\n"},
                      EditRow{"OfItsSectionAlone", "[queue]\ncontact = 1\n[tlsrpt]\n#contact = \"\"\n",
                              "tlsrpt.contact", "[queue]\ncontact = 1\n[tlsrpt]\ncontact = \"x.test\"\n"},
                      EditRow{"NewInItsSection", "[tlsrpt] # reports\nsend = true\n\n[queue]\n",
                              "tlsrpt.contact",
                              "[tlsrpt] # reports\ncontact = \"x.test\"\nsend = true\n\n[queue]\n"},
                      EditRow{"NewSection", "user = \"a\"", "tlsrpt.contact",
                              "user = \"a\"\n\n[tlsrpt]\ncontact = \"x.test\"\n"},
                      EditRow{"NewOnTop", "[queue]\n", "hostname", "hostname = \"x.test\"\n\n[queue]\n"},
                      EditRow{"NoLongerName", "hostname_of = 1\n", "hostname",
                              "hostname = \"x.test\"\n\nhostname_of = 1\n"},
                      EditRow{"NoListOfSections", "[[client]]\nnetwork = \"192.0.2.1\"\n", "client.x",
                              "[[client]]\nnetwork = \"192.0.2.1\"\n\n[client]\nx = \"x.test\"\n"}),
    [](const auto& info) { return info.param.name; });

TEST(Edit, QuotesWhatTomlWouldRead) {
    const std::string odd = "a\"b\\c\nd\x7f";
    EXPECT_EQ(toml_text(odd), "\"a\\\"b\\\\c\\u000ad\\u007f\"");
    const auto loaded = read_text(with_option("", "tlsrpt.organization", toml_text("Ann \"A\" \\ Co")), "x");
    ASSERT_TRUE(loaded.errors.empty()) << loaded.errors[0];
    EXPECT_EQ(loaded.settings.tlsrpt_organization, "Ann \"A\" \\ Co");
}

}  // namespace
}  // namespace sternpost::config
