#include "store/alarms.h"

#include <gtest/gtest.h>

#include "fake/intake_store.h"
#include "fake/log_lines.h"
#include "fake/step_world.h"

namespace sternpost::store {
namespace {

using namespace std::chrono_literals;

class AlarmsTest : public ::testing::Test {
  protected:
    void raise(const std::string& subject) {
        alarms_.raise(AlarmKind::tls_gone, subject, "it offers no TLS");
    }
    std::size_t logged() const { return log_.count("alarm "); }

    fake::IntakeStore store_;
    fake::StepClock clock_;
    fake::LogLines log_;
    Alarms alarms_{store_, clock_, log_};
};

TEST_F(AlarmsTest, AreLoggedOnceADayAndCountedAlways) {
    raise("mx.a.test");
    raise("mx.a.test");
    EXPECT_EQ(logged(), 1U);
    raise("mx.b.test");
    EXPECT_EQ(logged(), 2U) << "another one";
    clock_.pass(24h - 1us);
    raise("mx.a.test");
    EXPECT_EQ(logged(), 2U);
    clock_.pass(1us);
    raise("mx.a.test");
    EXPECT_EQ(logged(), 3U);
    EXPECT_EQ(alarms_.raised(), 5U);
}

TEST_F(AlarmsTest, AreRememberedUpToTenThousand) {
    const auto subject = [](int n) { return "mx" + std::to_string(n) + ".test"; };
    for (int n = 0; n < 9'999; ++n) raise(subject(n));
    raise(subject(0));
    EXPECT_EQ(logged(), 9'999U);
    raise(subject(9'999));
    raise(subject(0));
    EXPECT_EQ(logged(), 10'001U) << "they have been forgotten";
}

}  // namespace
}  // namespace sternpost::store
