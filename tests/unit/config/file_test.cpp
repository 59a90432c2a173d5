#include "config/file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "fake/temporary_folder.h"
#include "util/text.h"

namespace sternpost::config {
namespace {

struct Wrong {
    const char* name;
    const char* text;
    const char* error;
};
class WrongConfig : public testing::TestWithParam<Wrong> {};
TEST_P(WrongConfig, SaysFileLineValueAndWhatIsAllowed) {
    const auto loaded = read_text(GetParam().text, "f.toml");
    ASSERT_EQ(loaded.errors.size(), 1U);
    EXPECT_EQ(loaded.errors.front(), GetParam().error);
}
const Wrong wrong[] = {
    {"MistypedKey", "\nhostnmae = \"a.test\"\n",
     "f.toml:2: unknown key \"hostnmae\"; did you mean \"hostname\"?"},
    {"MistypedKeyInSection", "[queue]\nlifetme = \"5d\"\n",
     "f.toml:2: unknown key \"queue.lifetme\"; did you mean \"queue.lifetime\"?"},
    {"KeyInTheWrongPlace", "lifetime = \"5d\"\n",
     "f.toml:1: unknown key \"lifetime\"; did you mean \"queue.lifetime\"?"},
    {"UnknownSection", "[qeueu]\nx = 1\n", "f.toml:1: unknown key \"qeueu\"; did you mean \"queue\"?"},
    {"BadDuration", "[queue]\nlifetime = \"5x\"\n",
     "f.toml:2: queue.lifetime = \"5x\": a duration such as \"90s\", \"5m\", \"5d\""},
    {"BadNumber", "[dns]\nattempts = 0\n", "f.toml:2: dns.attempts = 0: a whole number, 1 or more"},
    {"BadPort", "[delivery]\nsmtp_port = 70000\n",
     "f.toml:2: delivery.smtp_port = 70000: a port, 1 to 65535"},
    {"NoFqdn", "hostname = \"relay\"\n",
     "f.toml:1: hostname = \"relay\": a fully qualified domain name such as \"relay.example.net\""},
    {"TooFewRecipients", "[listener]\nmax_recipients = 99\n",
     "f.toml:2: listener.max_recipients = 99: a whole number, 100 or more (RFC 5321 §4.5.3.1.8)"},
    {"NoPortToListenOn", "[listener]\nlisten = [\"0.0.0.0\"]\n",
     "f.toml:2: listener.listen = [ \"0.0.0.0\" ]: a list of addresses and ports such as [\"0.0.0.0:25\", "
     "\"[::]:25\"]"},
    {"BadRole", "[[client]]\nnetwork = \"192.0.2.0/24\"\nrole = \"submit\"\n",
     "f.toml:3: client.role = \"submit\": one of \"originate\", \"relay\""},
    {"BadSender", "[[sender]]\nmatch = \"ann@example.com\"\n",
     "f.toml:2: sender.match = \"ann@example.com\": \"192.0.2.0/24\", \"2001:db8::1\", \"user:www-data\""},
    {"BadSendersNumber", "[[sender]]\nmatch = \"user:33\"\nmessages_per_minute = -1\n",
     "f.toml:3: sender.messages_per_minute = -1: a number from 0 to 1000000"},
    {"BadNetwork", "[[client]]\nnetwork = \"192.0.2.0/99\"\n",
     "f.toml:2: client.network = \"192.0.2.0/99\": a network such as \"192.0.2.0/24\" or \"2001:db8::/32\""},
};
INSTANTIATE_TEST_SUITE_P(Keys, WrongConfig, testing::ValuesIn(wrong),
                         [](const auto& row) { return row.param.name; });

TEST(Config, SaysWhereItIsNoToml) {
    const auto loaded = read_text("hostname = \n", "f.toml");
    ASSERT_EQ(loaded.errors.size(), 1U);
    EXPECT_TRUE(loaded.errors.front().starts_with("f.toml:1: not TOML: ")) << loaded.errors.front();
}

TEST(Config, IsOneMiBAtMost) {
    const fake::TemporaryFolder folder;
    for (const std::size_t octets : {1'048'576U, 1'048'577U}) {
        const std::string path = folder / "f.toml";
        std::ofstream(path) << "hostname = \"relay.example\"\n#" << std::string(octets - 29, 'x') << '\n';
        ASSERT_EQ(std::filesystem::file_size(path), octets);
        const auto loaded = read_file(path);
        EXPECT_EQ(loaded.errors.empty(), octets == 1'048'576);
    }
}

TEST(Config, ReadsEveryOptionAsItShowsIt) {
    const Settings defaults;
    std::string text;
    std::string section;
    for (const Option& option : options()) {
        const auto dot = option.name.find('.');
        const std::string here(dot == std::string_view::npos ? "" : option.name.substr(0, dot));
        if (here != section) text += "[" + here + "]\n";
        section = here;
        text += std::string(option.name.substr(dot == std::string_view::npos ? 0 : dot + 1)) + " = " +
                value_text(option, defaults) + "\n";
    }
    const auto loaded = read_text(text, "f.toml");
    EXPECT_EQ(loaded.errors, std::vector<std::string>());
    for (const Option& option : options())
        EXPECT_EQ(value_text(option, loaded.settings), value_text(option, defaults)) << option.name;
}

TEST(Config, WantsTheCertificateOfAKey) {
    const auto errors = [](std::string_view lines) {
        return read_text("[listener]\n" + std::string(lines), "f").errors;
    };
    EXPECT_EQ(errors("tls_key = \"/k.pem\"\n").size(), 1U);
    EXPECT_EQ(errors("tls_key = \"/k.pem\"\ntls_certificate = \"/c.pem\"\n").size(), 0U);
    EXPECT_EQ(errors("tls_certificate = \"/c.pem\"\n").size(), 0U);
    EXPECT_EQ(errors("tls_certificate = \"c.pem\"\n").size(), 1U);
}

TEST(Config, ReadsClients) {
    const auto loaded = read_text(
        "[[client]]\nnetwork = \"192.0.2.0/24\"\nrole = \"relay\"\n[[client]]\nnetwork = \"2001:db8::1\"\n",
        "f");
    ASSERT_EQ(loaded.settings.clients.size(), 2U);
    EXPECT_EQ(loaded.settings.clients[0].role, ClientRole::relay);
    EXPECT_EQ(loaded.settings.clients[1].network.text(), "2001:db8::1/128");
}

TEST(Config, ReadsSenders) {
    const auto loaded = read_text(
        "[[sender]]\nmatch = \"192.0.2.0/24\"\nrecipients_per_hour = 5\n[[sender]]\nmatch = "
        "\"user:www-data\"\n"
        "messages_per_minute = 0\n",
        "f");
    ASSERT_EQ(loaded.settings.senders.size(), 2U);
    EXPECT_EQ(loaded.settings.senders[0].network->text(), "192.0.2.0/24");
    EXPECT_EQ(loaded.settings.senders[0].recipients_per_hour, 5U);
    EXPECT_EQ(loaded.settings.senders[0].messages_per_minute, std::nullopt);
    EXPECT_EQ(loaded.settings.senders[1].user, "www-data");
    EXPECT_EQ(loaded.settings.senders[1].messages_per_minute, 0U);
}

TEST(Durations, AreReadAndWritten) {
    EXPECT_EQ(parse_duration("1h30m"), std::chrono::minutes(90));
    EXPECT_EQ(parse_duration("90"), std::chrono::seconds(90));
    EXPECT_EQ(parse_duration("250ms"), std::chrono::milliseconds(250));
    for (const char* bad : {"", "5", "m", "5x", "-5m", "5 m", "99999999999999d"})
        if (std::string_view(bad) != "5") {
            EXPECT_EQ(parse_duration(bad), std::nullopt) << bad;
        }
    EXPECT_EQ(duration_text(std::chrono::hours(120)), "\"5d\"");
    EXPECT_EQ(duration_text(std::chrono::minutes(90)), "\"90m\"");
    EXPECT_EQ(parse_size("64KiB"), 65536U);
    EXPECT_EQ(parse_size("64KB"), std::nullopt);
}

TEST(Settings, RunSessionsOnTheControlThreadWhereProcessorsAreFew) {
    Settings settings;
    EXPECT_EQ(effective_io_threads(settings, 1), 1U);
    EXPECT_EQ(effective_io_threads(settings, 2), 1U);
    EXPECT_EQ(effective_io_threads(settings, 4), 2U);
    EXPECT_EQ(effective_io_threads(settings, 64), 8U);
    settings.io_threads = 3;
    EXPECT_EQ(effective_io_threads(settings, 2), 3U);
}

}  // namespace
}  // namespace sternpost::config
