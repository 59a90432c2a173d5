#include "local/record.h"

#include <gtest/gtest.h>

#include <string>

#include "util/crc32c.h"

namespace sternpost::local {
namespace {

const char* const id_text = "00112233445566778899aabbccddeeff";

Submission submission() {
    Submission s;
    s.id = store::SubmissionId::parse(id_text).value();
    s.reverse_path = "alice@corp.example";
    s.full_name = "Alice \xc3\x84. Example";
    s.body = mail::BodyType::eight_bit_mime;
    s.gateway = true;
    s.notify.failure = s.notify.delay = true;
    s.ret = mail::Ret::hdrs;
    s.smtputf8 = true;
    s.requiretls = true;  // RTLS-15
    s.envid = "a+2Bb";
    s.recipients = {"bob@dest.example", "root", "\"a b\"@dest.example"};
    return s;
}

std::string record_of(Submission s, std::string_view message) {
    s.octets = message.size();
    const std::string front = encode_head(s) + std::string(message);
    return front + encode_end(crc32c(front));
}

struct Read {
    Result<void> result;
    std::string message;
    bool complete = false;
};
Read read(std::string_view record, std::size_t cut = std::string_view::npos) {
    RecordReader reader(1000, 5);
    Read out;
    out.result = reader.feed(record.substr(0, cut), out.message);
    if (out.result && cut < record.size()) out.result = reader.feed(record.substr(cut), out.message);
    out.complete = reader.complete();
    return out;
}

TEST(Record, IsWhatTheDocumentShows) {  // doc/local-submission.md
    Submission s;
    s.id = store::SubmissionId::parse(id_text).value();
    s.recipients = {"bob@dest.example"};
    EXPECT_EQ(record_of(s, "Subject: hi\r\n\r\nhello\r\n"),
              "sternpost-submission 1\n"
              "id 00112233445566778899aabbccddeeff\n"
              "body 7bit\n"
              "to <bob@dest.example>\n"
              "octets 22\n"
              "\n"
              "Subject: hi\r\n\r\nhello\r\n"
              "crc32c 8fdbf9a3\n"
              "end\n");
}

TEST(Record, ComesBackHoweverItIsCut) {
    for (const std::string& message : {std::string(), std::string("Subject: x\r\n\r\n\n\nhi\r\n")}) {
        const std::string record = record_of(submission(), message);
        for (std::size_t cut = 0; cut <= record.size(); ++cut) {
            RecordReader reader(1000, 5);
            std::string out;
            ASSERT_TRUE(reader.feed(std::string_view(record).substr(0, cut), out).has_value());
            ASSERT_TRUE(reader.feed(std::string_view(record).substr(cut), out).has_value());
            ASSERT_TRUE(reader.complete());
            ASSERT_EQ(out, message);
            Submission expected = submission();
            expected.octets = message.size();
            ASSERT_EQ(*reader.head(), expected);
        }
    }
}

TEST(Record, KeepsNullAndAbsentReversePathsApart) {
    Submission s = submission();
    RecordReader null(1000, 5);
    s.reverse_path = "";
    std::string out;
    ASSERT_TRUE(null.feed(record_of(s, ""), out).has_value());
    EXPECT_EQ(null.head()->reverse_path, "");
    RecordReader absent(1000, 5);
    s.reverse_path.reset();
    ASSERT_TRUE(absent.feed(record_of(s, ""), out).has_value());
    EXPECT_EQ(absent.head()->reverse_path, std::nullopt);
}

TEST(Record, IsNeverCompleteWhenItWasCutOff) {
    const std::string record = record_of(submission(), "Subject: x\r\n\r\nhi\r\n");
    for (std::size_t n = 0; n < record.size(); ++n)
        EXPECT_FALSE(read(std::string_view(record).substr(0, n)).complete);
    EXPECT_EQ(read(record + "x").result.error().code, Errc::malformed);
}

TEST(Record, IsNeverCompleteWhenAnOctetWasAltered) {
    const std::string record = record_of(submission(), "Subject: x\r\n\r\nhi\r\n");
    for (std::size_t at = 0; at < record.size(); ++at)
        for (const unsigned bit : {1U, 0x80U}) {
            std::string altered = record;
            altered[at] = static_cast<char>(static_cast<unsigned char>(altered[at]) ^ bit);
            EXPECT_FALSE(read(altered).complete) << at;
        }
}

TEST(Record, IsTakenAtItsLimits) {
    Submission s = submission();
    s.recipients.resize(5, "bob@dest.example");
    const Read taken = read(record_of(s, std::string(1000, 'x')));
    ASSERT_TRUE(taken.result) << taken.result.error().text;
    EXPECT_TRUE(taken.complete);
}

struct Bad {
    const char* name;
    std::string head;  // after the magic line
    Errc error;
};
class BadRecord : public testing::TestWithParam<Bad> {};
TEST_P(BadRecord, IsRefused) {
    const std::string record = "sternpost-submission 1\n" + GetParam().head + "\n\n";
    const auto result = read(record).result;
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, GetParam().error);
}
const std::string id_line = "id 00112233445566778899aabbccddeeff\n";
const Bad bad[] = {
    {"NoId", "to <a@b>\noctets 1", Errc::malformed},
    {"ShortId", "id 0011\nto <a@b>\noctets 1", Errc::malformed},
    {"TwoIds", id_line + id_line + "to <a@b>\noctets 1", Errc::malformed},
    {"NoRecipient", id_line + "octets 1", Errc::bad_recipient},
    {"NoOctets", id_line + "to <a@b>", Errc::malformed},
    {"OctetsNotLast", id_line + "octets 1\nto <a@b>", Errc::malformed},
    {"OctetsNoNumber", id_line + "to <a@b>\noctets -1", Errc::malformed},
    {"TooBig", id_line + "to <a@b>\noctets 1001", Errc::too_big},
    {"TooBigForAnyNumber", id_line + "to <a@b>\noctets 99999999999999999999", Errc::malformed},
    {"TooManyRecipients", id_line + "to <a>\nto <a>\nto <a>\nto <a>\nto <a>\nto <a>\noctets 1",
     Errc::too_big},
    {"NoBrackets", id_line + "to a@b\noctets 1", Errc::malformed},
    {"TwoReversePaths", id_line + "from <a@b>\nfrom <>\nto <a@b>\noctets 1", Errc::malformed},
    {"UnknownLine", id_line + "x-evil 1\nto <a@b>\noctets 1", Errc::malformed},
    {"BadBody", id_line + "body 9bit\nto <a@b>\noctets 1", Errc::malformed},
    {"BadNotify", id_line + "notify never,delay\nto <a@b>\noctets 1", Errc::malformed},
    {"BadEnvid", id_line + "envid a=b\nto <a@b>\noctets 1", Errc::malformed},
    {"ControlCharacter", id_line + "to <a\x01@b>\noctets 1", Errc::malformed},
    {"CarriageReturn", id_line + "to <a@b>\r\noctets 1", Errc::malformed},
    {"LongLine", id_line + "full-name " + std::string(2000, 'x') + "\nto <a@b>\noctets 1", Errc::malformed},
};
INSTANTIATE_TEST_SUITE_P(Record, BadRecord, testing::ValuesIn(bad),
                         [](const auto& row) { return row.param.name; });

TEST(Record, OfAnotherKindIsRefusedAtOnce) {
    EXPECT_EQ(read("GET / HTTP/1.1\r\n").result.error().code, Errc::malformed);
    EXPECT_EQ(read("sternpost-submission 2\n\n").result.error().code, Errc::malformed);
    EXPECT_EQ(read("sternpost-submission 1\n" + std::string(100'000, 'x')).result.error().code,
              Errc::too_big);
}

TEST(Answer, ComesBack) {
    for (const Answer& answer :
         {Answer{Answer::Kind::ok, "4Xk2"}, Answer{Answer::Kind::temporary, "4.3.1 no space"},
          Answer{Answer::Kind::permanent, "5.1.3 who"}}) {
        std::string line = answer.line();
        ASSERT_EQ(line.back(), '\n');
        line.pop_back();
        EXPECT_EQ(Answer::parse(line), answer);
    }
    EXPECT_EQ(Answer::parse("okay"), std::nullopt);
    EXPECT_EQ((Answer{Answer::Kind::permanent, "a\nb"}.line()), "perm a\\x0ab\n");
}

}  // namespace
}  // namespace sternpost::local
