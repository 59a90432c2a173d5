#include "delivery/signing.h"

#include <gtest/gtest.h>

#include "delivery/write_rule.h"
#include "fake/io_loop.h"
#include "fake/log_lines.h"
#include "fake/step_world.h"
#include "util/pool.h"

namespace sternpost::delivery {
namespace {

asio::awaitable<smtp::Result<std::string>> slice(std::shared_ptr<const std::string> text,
                                                 std::uint64_t offset, std::size_t most) {
    if (offset >= text->size()) co_return std::string();
    co_return text->substr(offset, most);
}

asio::awaitable<smtp::Result<std::string>> unreadable(std::uint64_t, std::size_t) {
    co_return fail(smtp::Errc::body_unreadable, "the disk is away");
}

smtp::Message message_of(std::string text) {
    smtp::Message out;
    out.size = text.size();
    const auto shared = std::make_shared<const std::string>(std::move(text));
    out.read = [shared](std::uint64_t offset, std::size_t most) { return slice(shared, offset, most); };
    return out;
}

const std::string text = "From: <a@example.com>\r\nSubject: x\r\n\r\nhi\r\n";

class SigningTest : public testing::Test {
  protected:
    static dkim::StoredKey key(const char* domain, const char* selector,
                               dkim::Algorithm algorithm = dkim::Algorithm::ed25519,
                               bool reports_only = false) {
        return {{dns::Domain::parse(domain).value(), selector, dkim::PrivateKey::generate(algorithm).value()},
                dkim::State::active,
                {},
                reports_only};
    }
    void use(std::vector<dkim::StoredKey> keys, std::vector<dkim::BadKey> bad = {}) {
        auto set = std::make_shared<dkim::KeySet>();
        set->keys = std::move(keys);
        set->bad = std::move(bad);
        signing_->use(std::move(set));
    }
    static dkim::BadKey bad(const char* domain) {
        return {
            "bad.pem", dns::Domain::parse(domain).value(), "s", {dkim::Errc::unsafe, "others may read it"}};
    }
    void start(SigningOptions options) {
        signing_ = std::make_unique<Signing>(options, pool_, clock_, log_,
                                             [this](const std::string& domain, const std::string& why) {
                                                 troubles_.push_back(domain + ": " + why);
                                             });
    }
    void SetUp() override { start({}); }

    store::StoredMessage stored(bool originated = true,
                                store::MessageClass message_class = store::MessageClass::mail) {
        store::NewMessage message;
        message.arrived = clock_.wall();
        message.message_class = message_class;
        message.envelope.originated = originated;
        return store::StoredMessage::of(message);
    }
    Signed sign(smtp::Message message, store::MessageClass message_class = store::MessageClass::mail,
                std::chrono::seconds age = {}) {
        const auto waiting = stored(true, message_class);
        clock_.pass(age);
        auto job = signing_->job_for(waiting);
        EXPECT_NE(job, nullptr);
        auto out = loop_.run(signing_->sign(std::move(job), std::move(message))).value();
        signing_->heard(out);
        return out;
    }

    fake::IoLoop loop_;
    Pool pool_{2};
    fake::StepClock clock_;
    fake::LogLines log_;
    std::vector<std::string> troubles_;
    std::unique_ptr<Signing> signing_;
};

// What `why` says of it, for each kind of sender (D-47).
TEST_F(SigningTest, TheRuleIsNamedInWords) {
    mail::SenderDomains::Rule network;
    network.name = "[[client]] 192.0.2.0/28";
    network.network = dns::Network::parse("192.0.2.0/28").value();
    network.domains = {"example.com", ".example.com"};
    mail::SenderDomains::Rule user;
    user.name = "[[sender]] user:www-data";
    user.user = "www-data";
    user.domains = {"shop.example"};
    const mail::SenderDomains domains({network, user});
    const auto login = [](std::uint32_t uid) { return std::string(uid == 33 ? "www-data" : ""); };
    const auto said = [&](const store::StoredMessage& message) {
        return sentence_of(write_rule_of(domains, login, message), message);
    };
    auto message = stored();
    EXPECT_EQ(said(message), "") << "this relay's own";
    message.origin.uid = 33;
    EXPECT_EQ(said(message),
              "the rule [[sender]] user:www-data lets the user www-data write as shop.example");
    message.origin.uid = 7;
    EXPECT_EQ(
        said(message),
        "no rule says what uid 7 may write as: its mail is signed while all keys that sign belong to one "
        "organization");
    message.origin.address = "192.0.2.7";
    EXPECT_EQ(
        said(message),
        "the rule [[client]] 192.0.2.0/28 lets the client 192.0.2.7 write as example.com, .example.com");
    message.envelope.originated = false;
    EXPECT_EQ(said(message), "") << "it is relayed";
}

TEST_F(SigningTest, IsForWhatOriginatesHereAlone) {  // DKIM-14
    EXPECT_EQ(signing_->job_for(stored()), nullptr) << "there is no key";
    use({key("example.com", "s")});
    EXPECT_NE(signing_->job_for(stored()), nullptr);
    EXPECT_EQ(signing_->job_for(stored(false)), nullptr);
    SigningOptions off;
    off.sign = false;
    start(off);
    use({key("example.com", "s")});
    EXPECT_EQ(signing_->job_for(stored()), nullptr);
}

// D-47
TEST_F(SigningTest, IsForTheDomainsThatAClientOrAUserMayWriteAs) {
    SigningOptions options;
    options.domains = mail::SenderDomains(
        {{"[[client]] 192.0.2.0/24", dns::Network::parse("192.0.2.0/24").value(), "", {"example.com"}},
         {"[[client]] 198.51.100.0/24", dns::Network::parse("198.51.100.0/24").value(), "", {"example.net"}},
         {"[[sender]] user:shop", std::nullopt, "shop", {"example.com"}}});
    options.login_of = [](std::uint32_t uid) { return uid == 33 ? "shop" : uid == 34 ? "other" : ""; };
    start(options);
    use({key("example.com", "e"), key("example.net", "n")});
    const auto fields = [&](std::string address, std::optional<std::uint32_t> uid,
                            store::MessageClass kind = store::MessageClass::mail) {
        auto message = stored(true, kind);
        message.origin.address = std::move(address);
        message.origin.uid = uid;
        return loop_.run(signing_->sign(signing_->job_for(message), message_of(text))).value().fields;
    };
    EXPECT_NE(fields("192.0.2.7", std::nullopt), "");
    EXPECT_EQ(log_.find("signed").substr(log_.find("signed").find("rule=")),
              "rule=\"[[client]] 192.0.2.0/24\"");
    EXPECT_EQ(fields("198.51.100.7", std::nullopt), "") << "its own domain is another one";
    EXPECT_EQ(fields("203.0.113.7", std::nullopt), "")
        << "nobody has said, and the keys are of two organizations";
    EXPECT_NE(log_.find("unsigned"), "");
    EXPECT_NE(fields("", 33), "");
    EXPECT_EQ(fields("", 34), "");
    EXPECT_EQ(fields("", 0), "");
    EXPECT_NE(fields("", std::nullopt, store::MessageClass::notice), "") << "our own words";
    use({key("example.com", "e"), key("mail.example.com", "m")});
    EXPECT_NE(fields("203.0.113.7", std::nullopt), "") << "the keys are of one organization";
    EXPECT_EQ(fields("198.51.100.7", std::nullopt), "") << "a list holds all the same";
}

TEST_F(SigningTest, GivesASignatureForEachKey) {
    use({key("example.com", "r", dkim::Algorithm::rsa), key("example.com", "e"),
         key("mail.example.com", "n")});
    const auto done = sign(message_of(text));
    const auto header = mail::read_header(done.fields);
    ASSERT_EQ(header.fields.size(), 2U) << done.fields;
    EXPECT_NE(header.fields[0].value.find("a=rsa-sha256"), std::string_view::npos);
    EXPECT_NE(header.fields[1].value.find("a=ed25519-sha256"), std::string_view::npos);
    EXPECT_FALSE(log_.find("signed ").empty());
    EXPECT_TRUE(sign(message_of("From: <a@example.org>\r\n\r\nhi\r\n")).fields.empty());
    EXPECT_TRUE(troubles_.empty());
}

TEST_F(SigningTest, ReadsALargeMessageInPieces) {
    use({key("example.com", "s")});
    const std::string large = text + std::string(3'000'000, 'x') + "\r\n";
    const auto whole = sign(message_of(large));
    dkim::MessageHash hash;
    hash.feed(large);
    ASSERT_TRUE(hash.finish());
    EXPECT_NE(whole.fields.find("bh=" + hash.body_hash()), std::string::npos);
}

TEST_F(SigningTest, WaitsForAKeyThatCannotBeUsed) {
    use({key("example.net", "s")}, {bad("example.com")});
    EXPECT_FALSE(log_.find("dkim-key ").empty());
    const auto waits = sign(message_of(text));
    EXPECT_TRUE(waits.waits);
    EXPECT_NE(waits.sentence().find("others may read it"), std::string::npos) << waits.sentence();
    EXPECT_EQ(troubles_.size(), 1U);
    const auto gone = sign(message_of(text), store::MessageClass::mail, std::chrono::hours(5));
    EXPECT_FALSE(gone.waits);
    EXPECT_TRUE(gone.fields.empty());
    EXPECT_EQ(troubles_.size(), 2U);
    EXPECT_FALSE(log_.find("unsigned ").empty());
}

TEST_F(SigningTest, NeverLetsAReportGoUnsigned) {  // RPT-63
    const auto none = sign(message_of(text), store::MessageClass::report, std::chrono::hours(100));
    EXPECT_TRUE(none.waits);
    use({key("com.example", "s")}, {bad("example.com")});
    EXPECT_TRUE(sign(message_of(text), store::MessageClass::report, std::chrono::hours(100)).waits);
    use({key("example.com", "a"), key("example.com", "t", dkim::Algorithm::ed25519, true)});
    const auto done = sign(message_of(text), store::MessageClass::report);
    EXPECT_NE(done.fields.find("s=t;"), std::string::npos) << done.fields;
    EXPECT_EQ(done.fields.find("s=a;"), std::string::npos) << done.fields;
}

TEST_F(SigningTest, LeavesAloneWhatHasNoAuthor) {
    use({key("example.com", "s")});
    for (const char* odd :
         {"Subject: x\r\n\r\nhi\r\n", "From: <a@example.com>\r\nFrom: <b@example.com>\r\n\r\nhi\r\n",
          "no header\r\n", ""}) {
        const auto done = sign(message_of(odd));
        EXPECT_TRUE(done.fields.empty() && !done.waits) << odd;
    }
    EXPECT_EQ(log_.count("unsigned "), 4U);
}

TEST_F(SigningTest, TellsWhenAMessageCannotBeRead) {
    use({key("example.com", "s")});
    smtp::Message broken;
    broken.size = 10;
    broken.read = unreadable;
    const auto done = loop_.run(signing_->sign(signing_->job_for(stored()), std::move(broken)));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, smtp::Errc::body_unreadable);
}

TEST_F(SigningTest, StandsInFrontOfTheMessageHoweverItIsRead) {
    const std::string fields = "DKIM-Signature: x\r\n";
    const auto message = Signing::in_front(fields, message_of(text));
    EXPECT_EQ(message.size, fields.size() + text.size());
    for (std::size_t most = 1; most < message.size + 2; ++most) {
        std::string all;
        for (;;) {
            const auto piece = loop_.run(message.read(all.size(), most)).value();
            if (piece.empty()) break;
            all += piece;
        }
        ASSERT_EQ(all, fields + text) << most;
    }
}

TEST_F(SigningTest, TellsOfAWeakKeyOnce) {  // DKIM-02
    const auto weak = dkim::PrivateKey::generate(dkim::Algorithm::rsa, 1024).value();
    auto one = key("example.com", "s");
    one.signer.key = weak;
    use({one});
    use({one});
    EXPECT_EQ(log_.count("dkim-key "), 1U);
    EXPECT_EQ(log_.count("dkim-keys "), 2U);
}

}  // namespace
}  // namespace sternpost::delivery
