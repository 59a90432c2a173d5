// From results to notices: their envelopes, and their text part by part.
#include "delivery/bounce.h"

#include <gtest/gtest.h>

#include <future>

#include "dsn/notice.h"
#include "fake/intake_store.h"
#include "fake/io_loop.h"
#include "fake/log_lines.h"
#include "fake/seeded_random.h"
#include "mail/header.h"
#include "mail/seven_bit.h"
#include "util/text.h"

namespace sternpost::delivery {
namespace {

const char* const utf8_path =
    "j\xc3\xb6rg@b\xc3\xbc"
    "cher.example";

// A notice, read: the header, and the three parts with their headers.
struct Read {
    mail::Header header;
    struct Part {
        mail::Header header;
        std::string_view body;
        std::string type() const { return lowered(mail::unfolded(header.find("Content-Type")->value)); }
        std::string encoding() const {
            const auto* field = header.find("Content-Transfer-Encoding");
            return field == nullptr ? "" : mail::unfolded(field->value);
        }
        bool has(std::string_view text) const { return body.find(text) != std::string_view::npos; }
    };
    std::vector<Part> parts;

    explicit Read(std::string_view text) : header(mail::read_header(text)) {
        const std::string type = mail::unfolded(header.find("Content-Type")->value);
        const auto quote = type.find("boundary=\"") + sizeof("boundary=\"") - 1;
        const std::string delimiter = "--" + type.substr(quote, type.find('"', quote) - quote);
        std::string_view rest = text.substr(header.end);
        EXPECT_TRUE(rest.starts_with(delimiter + "\r\n"));
        while (rest.starts_with(delimiter + "\r\n")) {
            rest.remove_prefix(delimiter.size() + 2);
            const std::string_view part = rest.substr(0, rest.find("\r\n" + delimiter));
            rest.remove_prefix(part.size() + 2);
            Part read;
            read.header = mail::read_header(part);
            read.body = part.substr(read.header.end);
            parts.push_back(std::move(read));
        }
        EXPECT_EQ(rest, delimiter + "--\r\n");
    }
    std::string field(std::string_view name) const {
        const auto* found = header.find(name);
        return found == nullptr ? "" : mail::unfolded(found->value);
    }
};

class BouncerTest : public testing::Test {
  protected:
    // What comes of a permanent failure of `recipients` of a message with this text.
    store::NewMessage bounce(const mail::Envelope& envelope, const std::vector<std::string>& recipients,
                             const std::string& text, std::uint64_t most_returned = 64UL * 1024) {
        store::NewMessage message;
        message.id = ids_.next();
        message.arrived = clock_.wall();
        message.envelope = envelope;
        std::vector<store::DeliveryResult> results;
        for (const auto& path : recipients) {
            message.recipients.emplace_back(mail::Recipient(mail::ForwardPath::parse(path, true).value()),
                                            "hop");
            store::DeliveryResult result;
            result.recipient = static_cast<std::uint32_t>(results.size());
            result.state = store::RecipientState::bounced;
            result.status = "5.1.1";
            result.text = "no such user";
            results.push_back(std::move(result));
        }
        message.body = store::Body::of(text);
        BounceOptions options;
        options.hostname = "relay.example";
        options.most_returned = most_returned;
        Bouncer bouncer(options, store_, clock_, random_, log_, ids_);
        auto stored = std::make_shared<const store::StoredMessage>(store::StoredMessage::of(message));
        auto notices = loop_.run(bouncer.notices(std::move(stored), std::move(results)));
        EXPECT_EQ(notices.value().size(), 1U);
        return notices->at(0);
    }
    static mail::Envelope from(std::string_view path) {
        mail::Envelope out;
        out.reverse_path = mail::ReversePath::parse(path, true).value();
        return out;
    }

    SystemClock clock_;
    fake::SeededRandom random_;
    fake::LogLines log_;
    fake::IntakeStore store_;
    store::IdSource ids_{clock_, 0, {}};
    fake::IoLoop loop_;
};

// What can be multiplied by whoever writes a reverse-path, or names recipients that fail one by one.
class BoundedNotices : public BouncerTest {
  protected:
    struct SetClock final : Clock {
        WallTime wall() const override { return now; }
        SteadyTime steady() const override { return {}; }
        WallTime now{std::chrono::sys_days(std::chrono::year(2026) / 11 / 30) + std::chrono::hours(12)};
    };

    static BounceOptions options() {
        BounceOptions out;
        out.hostname = "relay.example";
        out.most_per_message = 3;
        out.most_per_day = 5;
        return out;
    }
    store::StoredMessage message_with(std::size_t recipients) {
        store::NewMessage message;
        message.id = ids_.next();
        message.envelope = from("alice@example.org");
        for (std::size_t n = 0; n < recipients; ++n)
            message.recipients.emplace_back(
                mail::Recipient(mail::ForwardPath::parse("u" + std::to_string(n) + "@b.example").value()),
                "hop");
        message.body = store::Body::of("Subject: hi\r\n\r\nthe text itself\r\n");
        return store::StoredMessage::of(message);
    }
    /// The notice that comes of the failure of one recipient; empty: none.
    std::string notice(store::StoredMessage& message, std::uint32_t recipient) {
        store::DeliveryResult result;
        result.recipient = recipient;
        result.state = store::RecipientState::bounced;
        result.status = "5.1.1";
        result.text = "no such user";
        message.recipients[recipient].state = store::RecipientState::bounced;
        auto notices =
            loop_.run(bouncer_.notices(std::make_shared<const store::StoredMessage>(message), {result}));
        return notices.value().empty() ? "" : *notices->at(0).body.octets;
    }

    /// How many notices come of failures that are all known before the first notice is made.
    std::size_t made_at_once(const std::vector<store::StoredMessage>& messages) {
        using Notices = store::Result<std::vector<store::NewMessage>>;
        std::vector<std::future<Notices>> made;
        store_.hold_replies = true;  // to the question for the text, which each notice asks
        for (auto message : messages) {
            message.body.octets.reset();
            store::DeliveryResult result;
            result.state = message.recipients[0].state = store::RecipientState::bounced;
            result.status = "5.1.1";
            result.text = "no such user";
            auto task = bouncer_.notices(std::make_shared<const store::StoredMessage>(message), {result});
            made.push_back(boost::asio::co_spawn(loop_.context(), std::move(task), boost::asio::use_future));
        }
        loop_.call([] {});  // all of them wait by then
        store_.release();
        std::size_t out = 0;
        for (auto& notices : made) out += notices.get().value().size();
        return out;
    }

    SetClock set_clock_;
    Bouncer bouncer_{options(), store_, set_clock_, random_, log_, ids_};
};

TEST_F(BoundedNotices, BringTheMessageOnceAndItsHeaderLater) {
    auto message = message_with(2);
    EXPECT_NE(notice(message, 0).find("the text itself"), std::string::npos);
    const std::string later = notice(message, 1);
    EXPECT_NE(later.find("Subject: hi"), std::string::npos);
    EXPECT_EQ(later.find("the text itself"), std::string::npos);
}

TEST_F(BoundedNotices, OfOneMessageAreNoMoreThanTheLimit) {
    auto message = message_with(4);
    for (std::uint32_t n = 0; n < 3; ++n) EXPECT_NE(notice(message, n), "");
    EXPECT_EQ(notice(message, 3), "");
    EXPECT_EQ(log_.count("bounce for=" + message.id.text() + " status=dropped"), 1U);
    auto other = message_with(1);
    EXPECT_NE(notice(other, 0), "");
}

TEST_F(BoundedNotices, ToOneMailboxAreNoMoreThanTheLimitOfADay) {
    const auto told = [&] {
        auto message = message_with(1);
        return !notice(message, 0).empty();
    };
    for (int n = 0; n < 5; ++n) EXPECT_TRUE(told());
    EXPECT_FALSE(told());
    set_clock_.now += std::chrono::hours(12) - std::chrono::seconds(1);
    EXPECT_FALSE(told());
    set_clock_.now += std::chrono::seconds(1);
    for (int n = 0; n < 5; ++n) EXPECT_TRUE(told()) << "the next day, by UTC";
    EXPECT_FALSE(told());
    set_clock_.now -= std::chrono::minutes(5);
    EXPECT_FALSE(told()) << "a clock that is set back gives nobody a second day";
    set_clock_.now += std::chrono::minutes(5);
    EXPECT_FALSE(told());
}

TEST_F(BoundedNotices, ToOneMailboxCountTogetherHoweverItIsSpelled) {
    std::size_t told = 0;
    for (const char* path :
         {"ann@sender.test", "Ann@sender.test", "ANN@sender.test", "\"ann\"@sender.test",
          "\"a\\nn\"@sender.test", "ann+1@sender.test", "aNn+2@SENDER.test", "ann@sender.test"}) {
        auto message = message_with(1);
        message.envelope.reverse_path = mail::ReversePath::parse(path).value();
        told += notice(message, 0).empty() ? 0U : 1U;
    }
    EXPECT_EQ(told, 5U);
}

TEST_F(BoundedNotices, ToOneDomainAreNoMoreThanToTenMailboxes) {
    std::size_t told = 0;
    for (int n = 0; n < 60; ++n) {
        auto message = message_with(1);
        message.envelope.reverse_path =
            mail::ReversePath::parse("u" + std::to_string(n) + "@sender.test").value();
        told += notice(message, 0).empty() ? 0U : 1U;
    }
    EXPECT_EQ(told, 50U);
    auto message = message_with(1);
    message.envelope.reverse_path = mail::ReversePath::parse("a@other.test").value();
    EXPECT_NE(notice(message, 0), "");
}

TEST_F(BoundedNotices, ThatAreMadeAtTheSameTimeSeeEachOther) {
    EXPECT_EQ(made_at_once(std::vector(10, message_with(1))), 3U) << "of one message";
    std::vector<store::StoredMessage> bulk;
    for (int n = 0; n < 10; ++n) bulk.push_back(message_with(1));
    EXPECT_EQ(made_at_once(bulk), 2U) << "of the five to one mailbox in a day three were sent";
}

TEST_F(BouncerTest, ANoticeThatThereIsNoRoomForIsNoReasonToGoOnWithoutIt) {
    store_.refuse_write = store::Errc::full;
    store::NewMessage message;
    message.envelope = from("alice@example.org");
    message.recipients.emplace_back(mail::Recipient(mail::ForwardPath::parse("bob@example.com").value()),
                                    "hop");
    message.body = store::Body::of("Subject: hi\r\n\r\n");
    store::DeliveryResult bounced;
    bounced.state = store::RecipientState::bounced;
    BounceOptions options;
    options.hostname = "relay.example";
    Bouncer bouncer(options, store_, clock_, random_, log_, ids_);
    const auto stored = std::make_shared<const store::StoredMessage>(store::StoredMessage::of(message));
    const auto notices = loop_.run(bouncer.notices(stored, {bounced}));
    ASSERT_FALSE(notices);
    EXPECT_EQ(notices.error().code, store::Errc::full);
}

TEST_F(BouncerTest, TellsTheAdministratorOfMailWithoutSenderThatWasForTheAdministrator) {  // D-42
    for (const bool notice : {false, true}) {
        store::NewMessage message;
        message.id = ids_.next();
        if (notice) message.message_class = store::MessageClass::notice;
        message.recipients.emplace_back(mail::Recipient(mail::ForwardPath::parse("adm@example.com").value()),
                                        "hop");
        message.body = store::Body::of("Subject: hi\r\n\r\n");
        store::DeliveryResult bounced;
        bounced.state = store::RecipientState::bounced;
        bounced.status = "5.6.7";
        BounceOptions options;
        options.hostname = "relay.example";
        options.admin = mail::Mailbox::parse("adm@example.com").value();
        Bouncer bouncer(options, store_, clock_, random_, log_, ids_);
        const auto stored = std::make_shared<const store::StoredMessage>(store::StoredMessage::of(message));
        const auto notices = loop_.run(bouncer.notices(stored, {bounced}));
        ASSERT_TRUE(notices);
        ASSERT_EQ(notices->size(), notice ? 0U : 1U) << "and no notice about a notice";
        if (!notice) {
            EXPECT_EQ(notices->at(0).recipients.at(0).recipient.path.text(), "adm@example.com");
        }
    }
}

TEST_F(BouncerTest, SendsNoNoticeAboutATlsReport) {  // RPT-14
    for (const auto message_class : {store::MessageClass::mail, store::MessageClass::report}) {
        store::NewMessage message;
        message.id = ids_.next();
        message.message_class = message_class;
        message.envelope = from("tls-reports@relay.example");
        message.recipients.emplace_back(mail::Recipient(mail::ForwardPath::parse("rua@example.com").value()),
                                        "hop");
        message.body = store::Body::of("Subject: hi\r\n\r\n");
        store::DeliveryResult bounced;
        bounced.state = store::RecipientState::bounced;
        bounced.status = "5.1.1";
        BounceOptions options;
        options.hostname = "relay.example";
        Bouncer bouncer(options, store_, clock_, random_, log_, ids_);
        const auto stored = std::make_shared<const store::StoredMessage>(store::StoredMessage::of(message));
        const auto notices = loop_.run(bouncer.notices(stored, {bounced}));
        ASSERT_TRUE(notices);
        EXPECT_EQ(notices->size(), message_class == store::MessageClass::report ? 0U : 1U);
    }
}

TEST_F(BouncerTest, TellsOfSuccessAtAHostThatDoesNot) {  // SMTP-95
    store::NewMessage message;
    message.id = ids_.next();
    message.arrived = clock_.wall();
    message.envelope = from("alice@corp.example");
    message.envelope.envid = "QQ+2B314";
    std::vector<store::DeliveryResult> results;
    for (const char* path : {"a@dest.example", "b@dest.example", "c@dest.example"}) {
        mail::Recipient recipient(mail::ForwardPath::parse(path).value());
        recipient.notify.success = recipient.notify.failure = path[0] != 'c';
        if (path[0] == 'a') recipient.orcpt = "rfc822;First+2BA@dest.example";
        message.recipients.emplace_back(std::move(recipient), "dest.example");
        store::DeliveryResult result;
        result.recipient = static_cast<std::uint32_t>(results.size());
        result.state = store::RecipientState::sent;
        result.status = "2.1.5";
        result.text = "250 2.1.5 ok";
        result.relayed = path[0] != 'b';  // b's host tells of it itself
        results.push_back(std::move(result));
    }
    message.body = store::Body::of("Subject: hi\r\n\r\nsecret body\r\n");
    BounceOptions options;
    options.hostname = "relay.example";
    Bouncer bouncer(options, store_, clock_, random_, log_, ids_);
    const auto stored = std::make_shared<const store::StoredMessage>(store::StoredMessage::of(message));
    const auto notices = loop_.run(bouncer.notices(stored, results)).value();
    ASSERT_EQ(notices.size(), 1U);
    const Read read(*notices[0].body.octets);
    EXPECT_EQ(read.field("Subject"), "Your message was handed over");
    ASSERT_EQ(read.parts.size(), 3U);
    for (const char* line :
         {"Original-Envelope-Id: QQ+314\r\n", "Original-Recipient: rfc822; First+A@dest.example\r\n",
          "Final-Recipient: rfc822; a@dest.example\r\n", "Action: relayed\r\n", "Status: 2.1.5\r\n"})
        EXPECT_TRUE(read.parts[1].has(line)) << line << read.parts[1].body;
    for (const char* other : {"b@dest.example", "c@dest.example", "Will-Retry-Until"})
        EXPECT_FALSE(read.parts[1].has(other)) << other << ": SMTP-108, SMTP-107";
    EXPECT_EQ(read.parts[2].type(), "text/rfc822-headers") << "SMTP-103: no text of it comes back";
    results[0].relayed = false;
    EXPECT_TRUE(loop_.run(bouncer.notices(stored, results)).value().empty());
}

const char* const plain_text = "Subject: hi\r\n\r\nsecret body\r\n";

TEST_F(BouncerTest, SendsAsciiWhereAllIsAscii) {  // RFC 3464
    const auto notice = bounce(from("alice@corp.example"), {"bob@dest.example"}, plain_text);
    EXPECT_TRUE(notice.envelope.reverse_path.is_null());
    EXPECT_TRUE(notice.envelope.originated);  // ours to sign
    EXPECT_TRUE(notice.recipients.at(0).recipient.notify.never);
    EXPECT_FALSE(notice.envelope.requiretls || notice.envelope.smtputf8 || notice.body.eight_bit);
    const Read read(*notice.body.octets);
    EXPECT_EQ(read.field("To"), "<alice@corp.example>");
    ASSERT_EQ(read.parts.size(), 3U);
    EXPECT_EQ(read.parts[0].type(), "text/plain; charset=utf-8");
    EXPECT_EQ(read.parts[0].encoding(), "");
    EXPECT_EQ(read.parts[1].type(), "message/delivery-status");
    EXPECT_TRUE(read.parts[1].has("Final-Recipient: rfc822; bob@dest.example\r\n"));
    EXPECT_EQ(read.parts[2].type(), "message/rfc822");
    EXPECT_EQ(read.parts[2].body, plain_text);
}

TEST_F(BouncerTest, ReturnsAMessageOf64KiBWholeAndTheHeaderOfALargerOne) {
    EXPECT_EQ(BounceOptions().most_returned, 65'536U);
    const std::string header = "Subject: hi\r\n\r\n";
    for (const std::size_t octets : {65'536U, 65'537U}) {
        std::string text = header;
        while (text.size() + 82 <= octets) text += std::string(78, 'x') + "\r\n";
        text += std::string(octets - text.size() - 2, 'y') + "\r\n";
        const auto notice = bounce(from("alice@corp.example"), {"bob@dest.example"}, text);
        const Read read(*notice.body.octets);
        ASSERT_EQ(read.parts.size(), 3U);
        EXPECT_EQ(read.parts[2].type(), octets == 65'536 ? "message/rfc822" : "text/rfc822-headers");
        EXPECT_EQ(read.parts[2].has("xxx"), octets == 65'536);
        EXPECT_TRUE(read.parts[2].has("Subject: hi"));
    }
}

TEST_F(BouncerTest, RedactsAndTagsNoticesAboutRequiretls) {  // RTLS-08, RTLS-09
    for (const auto ret : {mail::Ret::unspecified, mail::Ret::full, mail::Ret::hdrs}) {
        mail::Envelope envelope = from("alice@corp.example");
        envelope.requiretls = true;
        envelope.ret = ret;
        const auto notice = bounce(envelope, {"bob@dest.example"}, plain_text);
        EXPECT_TRUE(notice.envelope.requiretls);
        const Read read(*notice.body.octets);
        ASSERT_EQ(read.parts.size(), 3U);
        EXPECT_EQ(read.parts[2].type(), "text/rfc822-headers");
        EXPECT_TRUE(read.parts[2].has("Subject: hi"));
        EXPECT_EQ(notice.body.octets->find("secret"), std::string::npos);
    }
}

TEST_F(BouncerTest, SpeaksAsciiOfUtf8AddressesToAnAsciiReversePath) {  // SMTP-110
    mail::Envelope envelope = from("alice@corp.example");
    envelope.smtputf8 = true;
    envelope.ret = mail::Ret::hdrs;
    const auto notice = bounce(envelope,
                               {utf8_path,
                                "a@b\xc3\xbc"
                                "cher.example"},
                               "Subject: \xc3\xb6\r\n\r\nsecret body\r\n");
    EXPECT_FALSE(notice.envelope.smtputf8);
    EXPECT_FALSE(notice.body.eight_bit);
    EXPECT_TRUE(is_ascii(*notice.body.octets));
    const Read read(*notice.body.octets);
    EXPECT_EQ(read.field("Content-Transfer-Encoding"), "");
    ASSERT_EQ(read.parts.size(), 3U);
    EXPECT_EQ(read.parts[0].encoding(), "quoted-printable");
    EXPECT_TRUE(read.parts[0].has("<j=C3=B6rg@b=C3=BCcher.example>"));
    EXPECT_EQ(read.parts[1].type(), "message/delivery-status");
    EXPECT_TRUE(read.parts[1].has("Final-Recipient: utf-8; j\\x{F6}rg@b\\x{FC}cher.example\r\n"));
    EXPECT_TRUE(read.parts[1].has("Final-Recipient: rfc822; a@xn--bcher-kva.example\r\n"));
    EXPECT_EQ(read.parts[2].type(), "message/global-headers");
    EXPECT_EQ(read.parts[2].encoding(), "quoted-printable");
    EXPECT_TRUE(read.parts[2].has("Subject: =C3=B6"));
}

TEST_F(BouncerTest, SpeaksUtf8ToAUtf8ReversePath) {  // SMTP-110
    mail::Envelope envelope = from(utf8_path);
    envelope.smtputf8 = true;
    const auto headers =
        bounce(envelope, {"\xe7\x94\xb2@dest.example"}, "Subject: \xc3\xb6\r\n\r\nlong body\r\n", 10);
    EXPECT_TRUE(headers.envelope.smtputf8);
    EXPECT_TRUE(headers.envelope.eight_bit_header);
    EXPECT_EQ(headers.envelope.body, mail::BodyType::eight_bit_mime);
    EXPECT_EQ(headers.recipients.at(0).recipient.path.text(), utf8_path);
    EXPECT_EQ(headers.recipients[0].next_hop, "xn--bcher-kva.example");
    const auto notice = bounce(envelope, {"\xe7\x94\xb2@dest.example"}, "Subject: \xc3\xb6\r\n\r\nbody\r\n");
    const Read read(*notice.body.octets);
    EXPECT_EQ(read.field("To"), "<" + std::string(utf8_path) + ">");
    EXPECT_EQ(read.field("Content-Transfer-Encoding"), "8bit");
    ASSERT_EQ(read.parts.size(), 3U);
    EXPECT_TRUE(read.parts[0].has("<\xe7\x94\xb2@dest.example>"));
    EXPECT_EQ(read.parts[1].type(), "message/global-delivery-status");
    EXPECT_TRUE(read.parts[1].has("Final-Recipient: utf-8; \xe7\x94\xb2@dest.example\r\n"));
    EXPECT_EQ(read.parts[2].type(), "message/global");
    EXPECT_EQ(read.parts[2].encoding(), "8bit");
    EXPECT_EQ(read.parts[2].body, "Subject: \xc3\xb6\r\n\r\nbody\r\n");
}

TEST_F(BouncerTest, ReturnsA8BitBodySoThatItCanStillBeMade7Bit) {  // SMTP-78
    const auto notice =
        bounce(from("alice@corp.example"), {"bob@dest.example"}, "Subject: x\r\n\r\ncaf\xe9\r\n");
    EXPECT_EQ(notice.envelope.body, mail::BodyType::eight_bit_mime);
    const Read read(*notice.body.octets);
    EXPECT_EQ(read.parts.at(2).type(), "message/rfc822");
    EXPECT_EQ(read.parts[2].encoding(), "8bit");
    const auto converted = mail::to_seven_bit(*notice.body.octets);
    ASSERT_TRUE(converted.has_value()) << converted.error().text;
    const Read again(*converted);
    EXPECT_EQ(again.parts.at(2).encoding(), "7bit");
    EXPECT_TRUE(again.parts[2].has("caf=E9\r\n"));
}

TEST_F(BouncerTest, ReturnsAHeaderOfRawOctetsEncoded) {
    const auto notice =
        bounce(from("alice@corp.example"), {"bob@dest.example"}, "Subject: caf\xe9\r\n\r\nbody\r\n");
    EXPECT_TRUE(is_ascii(*notice.body.octets));
    const Read read(*notice.body.octets);
    EXPECT_EQ(read.parts.at(2).type(), "text/rfc822-headers");
    EXPECT_EQ(read.parts[2].encoding(), "quoted-printable");
    EXPECT_TRUE(read.parts[2].has("Subject: caf=E9"));
}

TEST(Utf8AddressAsAscii, IsThatOfRfc6533) {  // SMTP-110
    EXPECT_EQ(dsn::utf8_address_as_ascii("a.b-c@d.example"), "a.b-c@d.example");
    EXPECT_EQ(dsn::utf8_address_as_ascii("\xc3\xa9@x"), "\\x{E9}@x");
    EXPECT_EQ(dsn::utf8_address_as_ascii("\xe7\x94\xb2@x"), "\\x{7532}@x");
    EXPECT_EQ(dsn::utf8_address_as_ascii("\xf0\x9f\x98\x80@x"), "\\x{1F600}@x");
    EXPECT_EQ(dsn::utf8_address_as_ascii("\"a b\\+=\"@x"), "\"a\\x{20}b\\x{5C}\\x{2B}\\x{3D}\"@x");
}

}  // namespace
}  // namespace sternpost::delivery
