#include "smtp/opening.h"

#include <gtest/gtest.h>

namespace sternpost::smtp {
namespace {

Reply reply(int code, std::initializer_list<const char*> lines) {
    Reply out;
    out.code = code;
    out.lines.assign(lines.begin(), lines.end());
    return out;
}

const Reply greeting = reply(220, {"mx.example.com ESMTP"});
const Reply with_starttls = reply(250, {"mx.example.com", "STARTTLS", "SIZE 1000"});
const Reply without_starttls = reply(250, {"mx.example.com", "SIZE 1000"});
const Reply go_ahead = reply(220, {"go ahead"});

// What an opening asks for, in words.
std::string name_of(const Opening::Action& action) {
    if (std::holds_alternative<Opening::Await>(action)) return "greeting";
    if (const auto* ask = std::get_if<Opening::Ask>(&action)) return ask->line;
    if (std::holds_alternative<Opening::Handshake>(action)) return "handshake";
    if (std::holds_alternative<Opening::Ready>(action)) return "ready";
    return "give up";
}

// Up to the step, with a host that offers STARTTLS and takes all.
Opening opening_at(const std::string& step, TlsUse tls) {
    Opening out(tls, "relay.test", "relay.test");
    for (int n = 0; n < 10 && name_of(out.next()) != step; ++n) {
        const std::string now = name_of(out.next());
        if (now == "handshake")
            out.on_tls();
        else
            out.on_reply(now == "greeting"                                       ? greeting
                         : now == "STARTTLS"                                     ? go_ahead
                         : now == "EHLO relay.test" && step == "HELO relay.test" ? reply(502, {"what?"})
                                                                                 : with_starttls);
    }
    EXPECT_EQ(name_of(out.next()), step);
    return out;
}

TEST(Opening, ForgetsWhatWasOfferedBeforeTls) {
    Opening opening = opening_at("handshake", TlsUse::if_offered);
    EXPECT_TRUE(opening.offered().starttls);
    opening.on_tls();
    EXPECT_FALSE(opening.offered().starttls);
    EXPECT_EQ(name_of(opening.next()), "EHLO relay.test");
    opening.on_reply(without_starttls);
    EXPECT_EQ(name_of(opening.next()), "ready");
    EXPECT_TRUE(opening.offered().size);
    EXPECT_FALSE(opening.starttls_refusal());
}

TEST(Opening, SaysHeloWhereEhloIsUnknown_SMTP06) {
    for (const int code : {500, 501, 502, 504, 550}) {
        Opening opening = opening_at("EHLO relay.test", TlsUse::if_offered);
        opening.on_reply(reply(code, {"what?"}));
        EXPECT_EQ(name_of(opening.next()), "HELO relay.test") << code;
        opening.on_reply(with_starttls);
        EXPECT_EQ(name_of(opening.next()), "ready") << "a reply to HELO offers nothing";
        EXPECT_FALSE(opening.offered().starttls);
    }
}

TEST(Opening, DoesNotSayStarttlsWhereItIsNotToUseTls) {
    Opening opening = opening_at("EHLO relay.test", TlsUse::never);
    opening.on_reply(with_starttls);
    EXPECT_EQ(name_of(opening.next()), "ready");
}

TEST(Opening, DoesNotSayStarttlsInsideTls) {
    Opening opening = opening_at("handshake", TlsUse::required);
    opening.on_tls();
    opening.on_reply(with_starttls);
    EXPECT_EQ(name_of(opening.next()), "ready");
}

TEST(Opening, GoesOnInClearWhereStarttlsIsRefusedAndNotRequired_TLS13) {
    Opening opening = opening_at("STARTTLS", TlsUse::if_offered);
    opening.on_reply(reply(454, {"not now"}));
    EXPECT_EQ(name_of(opening.next()), "ready");
    ASSERT_TRUE(opening.starttls_refusal());
    EXPECT_EQ(opening.starttls_refusal()->code, Errc::starttls_refused);
    EXPECT_EQ(opening.starttls_refusal()->reply->code, 454);
}

// ---- each step fails once

struct Failing {
    const char* name;
    TlsUse tls;
    const char* step;
    Reply reply;
    bool more;
    Stage stage;
    Errc code;
    bool polite;
};

class OpeningFails : public testing::TestWithParam<Failing> {};

TEST_P(OpeningFails, AtTheStepWithItsCause) {
    const Failing& row = GetParam();
    Opening opening = opening_at(row.step, row.tls);
    opening.on_reply(row.reply, row.more);
    const auto action = opening.next();
    const auto* over = std::get_if<Opening::GiveUp>(&action);
    ASSERT_TRUE(over != nullptr) << name_of(action);
    EXPECT_EQ(over->failure.stage, row.stage);
    EXPECT_EQ(over->failure.code, row.code);
    EXPECT_EQ(over->polite, row.polite);
    const bool has_reply = row.code == Errc::reply_negative || row.code == Errc::starttls_refused;
    EXPECT_EQ(over->failure.reply.has_value(), has_reply);
}

const Failing failures[] = {
    {"GreetingRefuses", TlsUse::if_offered, "greeting", reply(554, {"no"}), false, Stage::greeting,
     Errc::reply_negative, true},
    {"GreetingOfOurselves", TlsUse::if_offered, "greeting", reply(220, {"RELAY.test. ESMTP"}), false,
     Stage::greeting, Errc::loop, true},
    {"EhloNotNow", TlsUse::if_offered, "EHLO relay.test", reply(421, {"busy"}), false, Stage::helo,
     Errc::reply_negative, true},
    {"EhloOfOurselves", TlsUse::if_offered, "EHLO relay.test", reply(250, {"relay.test", "STARTTLS"}), false,
     Stage::helo, Errc::loop, true},
    {"HeloRefused", TlsUse::if_offered, "HELO relay.test", reply(550, {"no"}), false, Stage::helo,
     Errc::reply_negative, true},
    {"HeloOfOurselves", TlsUse::if_offered, "HELO relay.test", reply(250, {"relay.test"}), false, Stage::helo,
     Errc::loop, true},
    {"NoStarttls", TlsUse::required, "EHLO relay.test", without_starttls, false, Stage::starttls,
     Errc::starttls_not_offered, true},
    {"StarttlsRefused", TlsUse::required, "STARTTLS", reply(454, {"not now"}), false, Stage::starttls,
     Errc::starttls_refused, true},
    {"OctetsBehindStarttls", TlsUse::if_offered, "STARTTLS", go_ahead, true, Stage::starttls,
     Errc::injected_octets, false},
};
INSTANTIATE_TEST_SUITE_P(Each, OpeningFails, testing::ValuesIn(failures),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Opening, GivesUpWithoutQuitWhereNothingComes) {
    for (const char* step : {"greeting", "EHLO relay.test", "HELO relay.test", "STARTTLS", "handshake"}) {
        Opening opening = opening_at(step, TlsUse::if_offered);
        opening.on_failure(Errc::timed_out, "no answer");
        const auto action = opening.next();
        const auto* over = std::get_if<Opening::GiveUp>(&action);
        ASSERT_TRUE(over != nullptr) << step;
        EXPECT_EQ(over->failure.code, Errc::timed_out);
        EXPECT_EQ(over->failure.text, "no answer");
        EXPECT_FALSE(over->polite);
    }
}

TEST(Opening, DoesNotKnowAHostAsItselfWithoutAName) {
    Opening opening(TlsUse::never, "[192.0.2.1]", "");
    opening.on_reply(reply(220, {"relay.test ESMTP"}));
    EXPECT_EQ(name_of(opening.next()), "EHLO [192.0.2.1]");
}

}  // namespace
}  // namespace sternpost::smtp
