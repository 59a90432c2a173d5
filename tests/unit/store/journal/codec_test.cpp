#include "store/journal/codec.h"

#include <gtest/gtest.h>

#include "unit/store/store_testing.h"
#include "util/crc32c.h"

namespace sternpost::store {
namespace {

using testing::message_to;

TEST(Crc32c, MatchesTheRfcsVectors) {  // RFC 3720 Appendix B.4
    std::string counting;
    for (char c = 0; c < 32; ++c) counting += c;
    const std::pair<std::string, std::uint32_t> vectors[] = {{std::string(32, '\0'), 0x8A9136AA},
                                                             {std::string(32, '\xff'), 0x62A8AB43},
                                                             {counting, 0x46DD794E},
                                                             {"123456789", 0xE3069283}};
    for (const auto& [octets, crc] : vectors) {
        EXPECT_EQ(crc32c(octets), crc);
        EXPECT_EQ(crc32c_by_table(octets), crc);
        for (std::size_t cut = 0; cut <= octets.size(); ++cut) {
            const std::string_view view(octets);
            EXPECT_EQ(crc32c(view.substr(cut), crc32c(view.substr(0, cut))), crc);
            EXPECT_EQ(crc32c_by_table(view.substr(cut), crc32c_by_table(view.substr(0, cut))), crc);
        }
    }
}

TEST(MessageId, ReadsBackFromItsText) {
    for (const std::uint64_t value :
         {std::uint64_t{0}, std::uint64_t{51}, std::uint64_t{52}, std::uint64_t{1} << 53U, UINT64_MAX})
        EXPECT_EQ(MessageId::parse(MessageId{value}.text()), MessageId{value}) << value;
    EXPECT_EQ(MessageId{0}.text(), "0000000000");
    EXPECT_EQ(MessageId{53}.text(), "0000000011");
}

TEST(MessageId, RefusesWhatIsNoQueueId) {
    for (const char* text :
         {"", "0", "000000000", "00000000000", "000000000a", "000000000E", "000000000-", "zzzzzzzzzzzzz"})
        EXPECT_EQ(MessageId::parse(text), std::nullopt) << text;
}

TEST(MessageId, TextsSortAsTheirValuesDo) {
    EXPECT_LT(MessageId{51}.text(), MessageId{52}.text());
    EXPECT_LT(MessageId{999'999'999}.text(), MessageId{1'000'000'000}.text());
}

TEST(IdSource, NeverGoesBackWithTheClock) {
    testing::FixedClock clock;
    IdSource source(clock, 5, MessageId{0});
    const MessageId first = source.next();
    EXPECT_EQ(first.time(), clock.now);
    EXPECT_EQ(first.value & 63U, 5U);
    clock.now -= std::chrono::hours(1);
    EXPECT_GT(source.next(), first);
    IdSource restarted(clock, 5, first);
    EXPECT_GT(restarted.next(), first);
}

const std::string body_file = "0123456789abcdeffedcba9876543210";

NewMessage full_message() {
    NewMessage message = message_to(77, {"bob@example.com", "\"odd one\"@[192.0.2.7]"}, "text \xe9\r\n");
    testing::SeededRandom random(1);
    message.submission = SubmissionId::make(random);
    message.message_class = MessageClass::notice;
    message.envelope.body = mail::BodyType::eight_bit_mime;
    message.envelope.ret = mail::Ret::hdrs;
    message.envelope.envid = "QQ314159";
    message.envelope.requiretls = true;
    message.envelope.eight_bit_header = true;
    message.envelope.dkim_signed = true;
    message.envelope.originated = true;
    message.envelope.tls_required_no = true;
    message.recipients[0].recipient.notify.failure = true;
    message.recipients[0].recipient.orcpt = "rfc822;bob+40example.com";
    message.origin.uid = 1000;
    message.body.ref = ref_to_file(body_file).value();
    return message;
}

TlsOutcome full_outcome() {
    return {WallTime(std::chrono::seconds(1'700'000'000)),
            "example.com",
            PolicyType::tlsa,
            "mx1.example.com",
            "3 1 1 AB",
            "enforce",
            OutcomeCount::failure,
            "validation-failure",
            "X509_V_ERR_HOSTNAME_MISMATCH",
            "mx1.example.com",
            "mx1",
            "192.0.2.1",
            "192.0.2.7",
            "TLSv1.3",
            "sts: certificate-host-mismatch"};
}

AttemptDetail full_detail() {
    TlsOutcome plain;
    plain.domain = plain.policy_domain = "example.com";
    return {{"mx1.example.com: not in the policy", ""},
            "S: 220 mx1\nC: QUIT\n",
            {full_outcome(), plain},
            "mx1.example.com",
            "421 4.7.0 later"};
}

DeliveryResult full_result() {
    return {MessageId{77},
            1,
            RecipientState::queued,
            WallTime(std::chrono::seconds(5)),
            WallTime(std::chrono::seconds(9)),
            3,
            2,
            "4.7.5",
            "sentence",
            "451 later",
            "mx1.example.com",
            "192.0.2.7",
            "TLSv1.3",
            "sts/enforce",
            "certificate-expired",
            ReasonCode::certificate_expired,
            full_detail()};
}

void expect_equal(const NewMessage& a, const NewMessage& b) {
    EXPECT_EQ(a.id, b.id);
    EXPECT_EQ(a.submission, b.submission);
    EXPECT_EQ(a.arrived, b.arrived);
    EXPECT_EQ(a.message_class, b.message_class);
    EXPECT_EQ(a.envelope, b.envelope);
    EXPECT_EQ(a.origin, b.origin);
    EXPECT_EQ(a.body.ref, b.body.ref);
    EXPECT_EQ(a.body.size, b.body.size);
    EXPECT_EQ(a.body.crc, b.body.crc);
    EXPECT_EQ(a.body.eight_bit, b.body.eight_bit);
    ASSERT_EQ(a.recipients.size(), b.recipients.size());
    for (std::size_t n = 0; n < a.recipients.size(); ++n) {
        EXPECT_EQ(a.recipients[n].recipient, b.recipients[n].recipient);
        EXPECT_EQ(a.recipients[n].next_hop, b.recipients[n].next_hop);
    }
}

TEST(Codec, ReadsBackWhatItWrote) {
    const NewMessage message = full_message();
    expect_equal(decode_message(encode(message)).value(), message);
    NewMessage null_path = message_to(1, {"bob@example.com"}, "");
    null_path.envelope.reverse_path = mail::ReversePath();
    expect_equal(decode_message(encode(null_path)).value(), null_path);
    EXPECT_TRUE(decode_message(encode_head(message)).value().recipients.empty());

    const DeliveryResult result = full_result();
    EXPECT_EQ(encode(decode<DeliveryResult>(encode(result)).value()), encode(result));
    EXPECT_EQ(decode<DeliveryResult>(encode(result)).value().next_at, result.next_at);
    EXPECT_EQ(decode<DeliveryResult>(encode(result)).value().reason_code, result.reason_code);
    EXPECT_EQ(decode<DeliveryResult>(encode(result)).value().lost_replies, result.lost_replies);
    EXPECT_EQ(decode<DeliveryResult>(encode(result)).value().detail, result.detail);
    const HopState hop{
        "example.com",           {},           WallTime(std::chrono::seconds(60)), 4, "4.4.1", "refused",
        ReasonCode::unreachable, full_detail()};
    EXPECT_EQ(encode(decode<HopState>(encode(hop)).value()), encode(hop));
    EXPECT_EQ(decode<HopState>(encode(hop)).value().detail, hop.detail);
    const Act act{ActKind::hold, MessageId{3}, WallTime(std::chrono::seconds(-1)), "root"};
    EXPECT_EQ(encode(decode<Act>(encode(act)).value()), encode(act));
    EXPECT_EQ(decode<Act>(encode(act)).value().at, act.at);
    const StoredPolicy policy{"example.com", "1", "version: STSv1\r\n", {}, {}, {}, "ab"};
    EXPECT_EQ(decode<StoredPolicy>(encode(policy)).value(), policy);
    const WallTime at(std::chrono::seconds(7));
    for (const StoredDiscovery& discovery :
         {StoredDiscovery{"example.com", at, "1", at, at}, StoredDiscovery{"example.com", {}, "", {}, {}}})
        EXPECT_EQ(decode<StoredDiscovery>(encode(discovery)).value(), discovery);
    const StoredOverride override{".example.com", "encrypt", "they asked", "root", at, {}};
    EXPECT_EQ(decode<StoredOverride>(encode(override)).value(), override);
    const StoredAlarm alarm{"policy-vanished", "example.com", "gone", {}, at, 3};
    EXPECT_EQ(decode<StoredAlarm>(encode(alarm)).value(), alarm);
}

TEST(Codec, KeepsOutcomesOutOfHistory) {
    const auto result = decode<DeliveryResult>(encode(full_result(), WithOutcomes::no)).value();
    EXPECT_EQ(result.detail.hosts, full_detail().hosts);
    EXPECT_TRUE(result.detail.outcomes.empty());
    NewMessage message = full_message();
    const NewMessage kept = decode_message(encode_for_history(message)).value();
    EXPECT_FALSE(kept.submission);
    EXPECT_EQ(kept.body.ref, BodyRef());
    ASSERT_EQ(kept.recipients.size(), 2U);
    EXPECT_EQ(kept.recipients[1].next_hop, message.recipients[1].next_hop);
}

TEST(Codec, BoundsWhatAnAttemptMayTell) {
    AttemptDetail detail;
    detail.hosts.assign(30, "host");
    detail.dialogue.assign(10'000, 'x');
    const auto kept = decode<AttemptDetail>(encode(detail, WithOutcomes::yes)).value();
    EXPECT_EQ(kept.hosts.size(), 20U);
    EXPECT_EQ(kept.dialogue.size(), 4096U);
}

TEST(Codec, PassesOverFieldsOfLaterReleases) {
    FieldWriter later;
    later.octets(1000, "of a later release");
    const std::string more = later.take();
    expect_equal(decode_message(more + encode(full_message())).value(), full_message());
    EXPECT_TRUE(decode<DeliveryResult>(encode(full_result()) + more));
}

TEST(Codec, KeepsWhatHadBecomeOfACopy) {
    Accepted copy{full_message()};
    EXPECT_FALSE(decode_accepted(encode(copy)).value().copied);
    RecipientProgress sent;
    sent.state = RecipientState::sent;
    sent.status = "2.0.0";
    RecipientProgress waits;
    waits.next_at = WallTime(std::chrono::seconds(7));
    waits.tries = 3;
    waits.lost_replies = 1;
    waits.text = "later";
    copy.copied = CopiedState{true, true, {sent, waits}};
    const Accepted read = decode_accepted(encode(copy)).value();
    EXPECT_EQ(read.copied, copy.copied);
    const StoredMessage stored = read.stored();
    EXPECT_TRUE(stored.held);
    EXPECT_TRUE(stored.warned);
    EXPECT_EQ(static_cast<const RecipientProgress&>(stored.recipients.at(1)), waits);
}

TEST(BodyRef, IsAFileOrAPlaceInTheJournal) {
    EXPECT_EQ(file_of(ref_to_file(body_file).value()), body_file);
    EXPECT_FALSE(place_of(ref_to_file(body_file).value()));
    const JournalPlace place{7, 4096};
    EXPECT_EQ(place_of(ref_to(place)), place);
    EXPECT_EQ(file_of(ref_to(place)), "");
    EXPECT_FALSE(place_of(BodyRef()));
    for (const std::string& name :
         {std::string(), body_file.substr(1), body_file + "0", "A" + body_file.substr(1)})
        EXPECT_FALSE(ref_to_file(name)) << name;
}

TEST(Codec, RefusesABodyFileOutsideOfItsFolder) {
    std::string octets = encode(full_message());
    ASSERT_TRUE(decode_message(octets));
    octets.replace(octets.find(body_file), body_file.size(), "../../../../../../../../queue.db");
    EXPECT_FALSE(decode_message(octets));
}

// Whatever the octets are, they are read or refused, and what was read can be written.
void read_as_anything(std::string_view octets) {
    if (const auto message = decode_message(octets)) encode(*message);
    if (const auto result = decode<DeliveryResult>(octets)) encode(*result);
    if (const auto hop = decode<HopState>(octets)) encode(*hop);
    if (const auto act = decode<Act>(octets)) encode(*act);
    if (const auto policy = decode<StoredPolicy>(octets)) encode(*policy);
    if (const auto discovery = decode<StoredDiscovery>(octets)) encode(*discovery);
    if (const auto override = decode<StoredOverride>(octets)) encode(*override);
    if (const auto alarm = decode<StoredAlarm>(octets)) encode(*alarm);
}

TEST(Codec, ReadsAnyOctetsWithoutHarm) {
    for (const std::string& sound : {encode(full_message()), encode(full_result())}) {
        for (std::size_t cut = 0; cut < sound.size(); ++cut)
            read_as_anything(std::string_view(sound).substr(0, cut));
        for (std::size_t at = 0; at < sound.size(); ++at) {
            for (const unsigned flip : {1U, 0x80U, 0xFFU}) {
                std::string damaged = sound;
                damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ flip);
                read_as_anything(damaged);
            }
        }
    }
    testing::SeededRandom random(9);
    for (int i = 0; i < 2000; ++i) {
        std::string noise(random.below(64), '\0');
        random.fill(std::as_writable_bytes(std::span(noise)));
        read_as_anything(noise);
    }
}

}  // namespace
}  // namespace sternpost::store
