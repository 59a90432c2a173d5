#include "dkim/keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "fake/temporary_folder.h"

namespace sternpost::dkim {
namespace {

dns::Domain domain(std::string_view text) {
    return dns::Domain::parse(text).value();
}

const WallTime then = std::chrono::sys_days(std::chrono::year(2026) / 11 / 26);

StoredKey key(std::string_view name, const char* selector, State state = State::active,
              bool reports_only = false, Algorithm algorithm = Algorithm::ed25519) {
    return {{domain(name), selector, PrivateKey::generate(algorithm).value()}, state, then, reports_only};
}

std::string chosen(const KeySet& keys, std::string_view author, bool report = false) {
    const auto choice = keys.choose(domain(author), report);
    std::string out;
    for (const auto* one : choice.keys)
        out += (out.empty() ? "" : " ") + one->signer.selector + "@" + one->signer.domain.text();
    return choice.trouble != nullptr ? "trouble: " + choice.trouble->file : out;
}

TEST(KeyFile, ReadsBackWhatItWrote) {
    for (const auto state : {State::next, State::active, State::retired}) {
        const auto one = key("example.com", "a.b", state, state == State::next);
        EXPECT_EQ(one.file(), "a.b._domainkey.example.com.pem");
        const auto again = parse_key_file(one.file(), key_file(one));
        ASSERT_TRUE(again) << again.error().text;
        EXPECT_EQ(again->state, state);
        EXPECT_EQ(again->since, then);
        EXPECT_EQ(again->reports_only, one.reports_only);
        EXPECT_EQ(again->signer.domain, one.signer.domain);
        EXPECT_EQ(again->signer.selector, "a.b");
        EXPECT_EQ(again->signer.key.public_text(), one.signer.key.public_text());
    }
}

TEST(KeyFile, FromElsewhereIsActive) {
    const auto one = key("example.com", "s");
    const auto read = parse_key_file(one.file(), one.signer.key.pem());
    ASSERT_TRUE(read);
    EXPECT_EQ(read->state, State::active);
    EXPECT_FALSE(read->reports_only);
}

TEST(KeyFile, IsRefusedWhenItSaysNonsense) {
    const auto one = key("example.com", "s");
    const std::string pem = one.signer.key.pem();
    for (const std::string& text : {"State: maybe\n" + pem, "Since: today\n" + pem, "Service: web\n" + pem,
                                    std::string("State: active\n"), std::string()})
        EXPECT_FALSE(parse_key_file(one.file(), text)) << text;
    for (const char* name : {"example.com.pem", "s._domainkey.pem", "._domainkey.example.com.pem",
                             "s._domainkey.example.com", "s_._domainkey.example.com.pem"})
        EXPECT_FALSE(parse_key_file(name, pem)) << name;
}

TEST(KeyChoice, GoesByTheAuthorsDomain) {
    KeySet keys;
    keys.keys = {key("example.com", "a"), key("example.com", "n", State::next),
                 key("example.com", "r", State::retired), key("sub.example.com", "b"),
                 key("example.net", "t", State::active, true)};
    EXPECT_EQ(chosen(keys, "example.com"), "a@example.com");
    EXPECT_EQ(chosen(keys, "sub.example.com"), "b@sub.example.com");
    EXPECT_EQ(chosen(keys, "deep.sub.example.com"), "b@sub.example.com");
    EXPECT_EQ(chosen(keys, "other.example.com"), "a@example.com");
    EXPECT_EQ(chosen(keys, "notexample.com"), "");
    EXPECT_EQ(chosen(keys, "com"), "");
    EXPECT_EQ(chosen(keys, "example.net"), "") << "a key for reports signs no mail";
}

TEST(KeyChoice, IsExactForReports) {  // RPT-63
    KeySet keys;
    keys.keys = {key("example.com", "a"), key("example.com", "t", State::active, true),
                 key("example.net", "n")};
    EXPECT_EQ(chosen(keys, "example.com", true), "t@example.com");
    EXPECT_EQ(chosen(keys, "example.net", true), "n@example.net");
    EXPECT_EQ(chosen(keys, "sub.example.net", true), "");
}

TEST(KeyChoice, IsTroubleOnlyWhereNoGoodKeyIs) {
    KeySet keys;
    keys.keys = {key("example.com", "a")};
    const auto bad = [](const char* file, std::optional<dns::Domain> of) {
        return BadKey{file, std::move(of), "", {Errc::unreadable, "why"}};
    };
    keys.bad = {bad("x", domain("example.com")), bad("y", domain("example.net")), bad("z", std::nullopt)};
    EXPECT_EQ(chosen(keys, "example.com"), "a@example.com");
    EXPECT_EQ(chosen(keys, "sub.example.net"), "trouble: y");
    EXPECT_EQ(chosen(keys, "example.org"), "");
    keys.bad.push_back(bad("", std::nullopt));  // the whole folder
    EXPECT_EQ(chosen(keys, "example.org"), "trouble: ");
}

TEST(KeyFolder, HoldsWhatWasWritten) {
    const fake::TemporaryFolder around;
    const KeyFolder folder(around / "dkim");
    EXPECT_TRUE(folder.read().keys.empty());
    EXPECT_TRUE(folder.read().bad.empty());
    const std::string empty = folder.fingerprint();
    auto one = key("example.com", "a", State::next);
    ASSERT_TRUE(folder.write(one, true));
    EXPECT_EQ(folder.write(one, true).error().code, Errc::exists);
    struct stat is = {};
    ASSERT_EQ(::stat((around / ("dkim/" + one.file())).c_str(), &is), 0);
    EXPECT_EQ(is.st_mode & 07777U, 0600U);
    ASSERT_EQ(::stat((around / "dkim").c_str(), &is), 0);
    EXPECT_EQ(is.st_mode & 07777U, 0700U);
    const std::string first = folder.fingerprint();
    EXPECT_NE(first, empty);
    EXPECT_EQ(folder.fingerprint(), first);
    one.state = State::active;
    ASSERT_TRUE(folder.write(one, false));
    EXPECT_NE(folder.fingerprint(), first);
    ASSERT_EQ(folder.read().keys.size(), 1U);
    EXPECT_EQ(folder.read().keys[0].state, State::active);
    ASSERT_TRUE(folder.remove(one));
    EXPECT_TRUE(folder.read().keys.empty());
    EXPECT_EQ(folder.remove(one).error().code, Errc::not_found);
}

TEST(KeyFolder, ReadsFilesOf64KiB) {
    const fake::TemporaryFolder around;
    const KeyFolder folder(around / "dkim");
    const auto one = key("example.com", "a");
    ASSERT_TRUE(folder.write(one, true));
    for (const std::size_t octets : {65'536U, 65'537U}) {
        const std::string pem = one.signer.key.pem();
        std::ofstream(around / ("dkim/" + one.file())) << std::string(octets - pem.size() - 1, 'x') << '\n'
                                                       << pem;
        const auto keys = folder.read();
        EXPECT_EQ(keys.keys.size(), octets == 65'536 ? 1U : 0U);
        EXPECT_EQ(keys.bad.size(), octets == 65'536 ? 0U : 1U);
    }
}

TEST(KeyFolder, RefusesWhatOthersCouldRead) {
    const fake::TemporaryFolder around;
    const KeyFolder folder(around / "dkim");
    const auto one = key("example.com", "a");
    const auto two = key("example.com", "b");
    ASSERT_TRUE(folder.write(one, true));
    ASSERT_TRUE(folder.write(two, true));
    const std::string path = around / ("dkim/" + one.file());
    ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
    auto keys = folder.read();
    ASSERT_EQ(keys.keys.size(), 1U);
    ASSERT_EQ(keys.bad.size(), 1U);
    EXPECT_EQ(keys.bad[0].error.code, Errc::unsafe);
    EXPECT_EQ(keys.bad[0].domain, domain("example.com"));
    EXPECT_EQ(keys.bad[0].selector, "a");

    std::filesystem::remove(path);
    std::filesystem::create_symlink(around / ("dkim/" + two.file()), path);
    EXPECT_EQ(folder.read().bad.at(0).error.code, Errc::unsafe);
    std::filesystem::remove(path);

    std::ofstream(around / "dkim/notes.txt") << "no key";
    std::ofstream(around / "dkim/other.pem") << "no key";
    ASSERT_EQ(::chmod((around / "dkim/other.pem").c_str(), 0600), 0);
    keys = folder.read();
    EXPECT_EQ(keys.keys.size(), 1U);
    ASSERT_EQ(keys.bad.size(), 1U);
    EXPECT_EQ(keys.bad[0].file, "other.pem");
    EXPECT_FALSE(keys.bad[0].domain);

    ASSERT_EQ(::chmod((around / "dkim").c_str(), 0770), 0);
    keys = folder.read();
    EXPECT_TRUE(keys.keys.empty());
    ASSERT_EQ(keys.bad.size(), 1U);
    EXPECT_TRUE(keys.bad[0].file.empty());
    EXPECT_EQ(keys.bad[0].error.code, Errc::unsafe);
}

}  // namespace
}  // namespace sternpost::dkim
