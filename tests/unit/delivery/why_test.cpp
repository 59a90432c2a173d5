#include "delivery/why.h"

#include <gtest/gtest.h>

namespace sternpost::delivery {
namespace {

using namespace std::chrono_literals;
using queue::Obstacle;

class Why : public testing::Test {
  protected:
    Why() {
        facts.message = queue::mail_for("d.test");
        facts.message.id = store::MessageId{1'000'000};
        facts.message.arrived = facts.now - 10h;
        facts.deadline = facts.now - 1h;
        facts.blocked.emplace_back();
    }
    bool says(std::string_view text) const {
        const auto lines = lines_of(facts);
        return std::any_of(lines.begin(), lines.end(),
                           [&](const std::string& line) { return line.find(text) != std::string::npos; });
    }
    WhyFacts facts = [] {
        WhyFacts out;
        out.now = WallTime(std::chrono::seconds(1'800'000'000));
        return out;
    }();
};

TEST_F(Why, MailThatWaitsIsGivenUpAfterAnAttempt) {
    facts.blocked[0] = {Obstacle::hop_fails, store::ReasonCode::unreachable, "4.4.1", "no connection",
                        facts.now + 1h};
    EXPECT_TRUE(says("it is given up after an attempt at"));
}

TEST_F(Why, MailThatIsHeldBackIsNotGivenUp) {
    for (const Obstacle what : {Obstacle::held, Obstacle::sender_suspended, Obstacle::hop_suspended}) {
        facts.blocked[0] = {what, store::ReasonCode::held, "", "it is held back", std::nullopt};
        EXPECT_FALSE(says("it is given up after an attempt"));
        EXPECT_TRUE(says("not given up as long as no attempt may begin"));
    }
}

TEST_F(Why, ShowsTheFiftyLatestAttempts) {
    const auto shown = [this] {
        const auto lines = lines_of(facts);
        return std::count_if(lines.begin(), lines.end(), [](const std::string& line) {
            return line.find("rerouted by uid ") != std::string::npos;
        });
    };
    const auto reroute = [this](int uid) {
        facts.history.push_back(
            {facts.now, 0,
             store::Act{store::ActKind::reroute, facts.message.id, facts.now, "uid " + std::to_string(uid)}});
    };
    for (int uid = 100; uid < 150; ++uid) reroute(uid);
    EXPECT_EQ(shown(), 50);
    EXPECT_FALSE(says("left out"));
    for (int uid = 150; uid < 160; ++uid) reroute(uid);
    EXPECT_EQ(shown(), 50);
    EXPECT_TRUE(says("(10 earlier ones left out)"));
    EXPECT_FALSE(says("uid 109"));
    EXPECT_TRUE(says("uid 110"));
}

TEST_F(Why, TellsWhatWasDoneByHand) {
    facts.history.push_back(
        {facts.now, 0, store::Act{store::ActKind::reroute, facts.message.id, facts.now, "uid 0"}});
    EXPECT_TRUE(says("rerouted by uid 0"));
    EXPECT_FALSE(says("told to try again"));
}

}  // namespace
}  // namespace sternpost::delivery
