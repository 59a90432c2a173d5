#include "delivery/adapt.h"

#include <gtest/gtest.h>

#include "delivery/outcome.h"

namespace sternpost::delivery {
namespace {

smtp::Extensions host(bool eight_bit_mime, bool smtputf8, std::uint64_t limit = 0) {
    smtp::Extensions out;
    out.esmtp = out.size = true;
    out.eight_bit_mime = eight_bit_mime;
    out.smtputf8 = smtputf8;
    out.size_limit = limit;
    return out;
}

MessageTraits plain() {
    MessageTraits out;
    out.size = 1000;
    return out;
}

struct Row {
    const char* name;
    MessageTraits message;
    smtp::Extensions offered;
    ConvertEightBit convert;
    std::string_view expected;  // a status, or what is done: plain, smtputf8, convert
};

std::string text_of(const Adaptation& a) {
    if (a.refused()) return refused_by_offer(a).result.status;
    return a.convert ? "convert" : a.smtputf8 ? "smtputf8" : "plain";
}

class Adapting : public testing::TestWithParam<Row> {};
TEST_P(Adapting, GoesByTheOffer) {
    const Row& row = GetParam();
    const Adaptation got = adapt(row.message, row.offered, row.convert);
    EXPECT_EQ(text_of(got), row.expected);
    EXPECT_EQ(got.refused(), !got.text.empty());
}

template <class F>
MessageTraits with(F change) {
    MessageTraits out = plain();
    change(out);
    return out;
}

constexpr auto usual = ConvertEightBit::unsigned_only;

const Row rows[] = {
    {"PlainAnywhere", plain(), host(false, false), usual, "plain"},
    {"PlainNeedsNoParameter", plain(), host(true, true), usual, "plain"},  // SMTP-85
    {"AskedForButNotNeeded", with([](auto& m) { m.smtputf8 = true; }), host(true, true), usual,
     "plain"},  // SMTP-85
    {"AskedForButNotNeededNorOffered", with([](auto& m) { m.smtputf8 = true; }), host(true, false), usual,
     "plain"},  // SMTP-84: a domain goes as A-labels
    {"Utf8LocalPart", with([](auto& m) { m.smtputf8 = m.utf8_addresses = true; }), host(true, true), usual,
     "smtputf8"},
    {"Utf8LocalPartNotOffered", with([](auto& m) { m.smtputf8 = m.utf8_addresses = true; }),
     host(true, false), usual, "5.6.7"},  // SMTP-84
    {"Utf8Header", with([](auto& m) { m.smtputf8 = m.eight_bit = m.eight_bit_header = true; }),
     host(true, true), usual, "smtputf8"},
    {"Utf8HeaderNotOffered", with([](auto& m) { m.smtputf8 = m.eight_bit = m.eight_bit_header = true; }),
     host(true, false), usual, "5.6.7"},  // SMTP-84
    {"RawHeaderOfOldMail", with([](auto& m) { m.eight_bit = m.eight_bit_header = true; }), host(true, true),
     usual, "plain"},
    {"RawHeaderOfOldMailTo7Bit", with([](auto& m) { m.eight_bit = m.eight_bit_header = true; }),
     host(false, false), usual, "5.6.3"},
    {"EightBit", with([](auto& m) { m.eight_bit = true; }), host(true, false), usual, "plain"},
    {"EightBitTo7Bit", with([](auto& m) { m.eight_bit = true; }), host(false, false), usual,
     "convert"},  // SMTP-78, D-28
    {"EightBitTo7BitNever", with([](auto& m) { m.eight_bit = true; }), host(false, false),
     ConvertEightBit::never, "5.6.3"},  // SMTP-78
    {"SignedTo7Bit", with([](auto& m) { m.eight_bit = m.dkim_signed = true; }), host(false, false), usual,
     "5.6.3"},  // D-28
    {"SignedTo7BitAlways", with([](auto& m) { m.eight_bit = m.dkim_signed = true; }), host(false, false),
     ConvertEightBit::always, "convert"},
    {"Signed", with([](auto& m) { m.dkim_signed = true; }), host(false, false), usual, "plain"},
    {"TooLargeToConvert", with([](auto& m) {
         m.eight_bit = true;
         m.size = max_converted + 1;
     }),
     host(false, false), usual, "5.6.3"},
    {"LargerThanTheLimit", plain(), host(true, true, 999), usual, "5.3.4"},  // SMTP-76
    {"AsLargeAsTheLimit", plain(), host(true, true, 1000), usual, "plain"},
    {"NoLimit", with([](auto& m) { m.size = 1ULL << 40U; }), host(true, true, 0), usual, "plain"},
};
INSTANTIATE_TEST_SUITE_P(Offers, Adapting, testing::ValuesIn(rows),
                         [](const auto& row) { return row.param.name; });

TEST(MessageTraits, AreThoseOfTheTransaction) {
    store::NewMessage message;
    message.envelope.smtputf8 = message.envelope.eight_bit_header = message.envelope.dkim_signed = true;
    for (const char* to : {"a@b\xc3\xbc"
                           "cher.example",
                           "j\xc3\xb6rg@dest.example"})
        message.recipients.emplace_back(mail::Recipient(mail::ForwardPath::parse(to, true).value()), "hop");
    message.body = store::Body::of("Subject: x\r\n\r\n\xc3\xb6\r\n");
    queue::Work work;
    work.message = std::make_shared<const store::StoredMessage>(store::StoredMessage::of(message));
    work.recipients = {0};
    const MessageTraits first = traits_of(work);
    EXPECT_EQ(first.size, 18U);
    EXPECT_TRUE(first.eight_bit && first.eight_bit_header && first.dkim_signed && first.smtputf8);
    EXPECT_FALSE(first.utf8_addresses);  // a domain has A-labels
    work.recipients = {0, 1};
    EXPECT_TRUE(traits_of(work).utf8_addresses);
}

}  // namespace
}  // namespace sternpost::delivery
