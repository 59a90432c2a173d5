// Who may ask the daemon for what.
#include "control/daemon_verbs.h"

#include <gtest/gtest.h>

#include "delivery/attempt.h"
#include "fake/hand_task_queue.h"
#include "fake/log_lines.h"
#include "fake/nothing_live.h"
#include "fake/policy_world.h"
#include "fake/seeded_random.h"
#include "fake/step_world.h"
#include "store/alarms.h"

namespace sternpost::control {
namespace {

class NoConnections final : public delivery::Dialer {
    asio::awaitable<tl::expected<std::unique_ptr<delivery::Channel>, smtp::Failure>> open(
        delivery::DialRequest) override {
        co_return tl::unexpected<smtp::Failure>(smtp::Failure());
    }
};

// A daemon's parts, at rest.
class DaemonVerbs : public testing::Test {
  protected:
    DaemonVerbs() {
        add_queue(verbs_, store_, live_, actions_);
        add_policy(verbs_, store_, live_, policy_);
        add_sts(verbs_, sts_);
        add_reports(verbs_, store_, live_, reports_);
        add_dkim(verbs_, keys_);
    }
    ~DaemonVerbs() override { world_.finish(delivery_.stop()); }

    fake::StepWorld world_;
    const store::TrustedClock clock_{world_.clock()};
    fake::TableResolver resolver_;
    fake::PolicyHosts https_;
    fake::IntakeStore store_;
    fake::NothingLive live_;
    fake::LogLines log_;
    fake::SeededRandom random_;
    fake::HandTaskQueue pool_;
    NoConnections dialer_;
    const Runtime runtime_{world_.context(), clock_, world_, random_, log_};
    queue::Manager queue_{runtime_, {}, {}, store_, clock_};
    sts::Lookups lookups_{runtime_, {}, resolver_, https_, store_};
    delivery::Overrides overrides_;
    delivery::Delivery delivery_{runtime_, {}, {resolver_, lookups_, overrides_, dialer_}, {}};
    delivery::Signing signing_{{}, pool_, clock_, log_, {}};
    store::IdSource ids_{clock_, 1, {}};
    store::Alarms alarms_{store_, clock_, log_};
    tlsrpt::Sender sender_{runtime_, {}, resolver_, https_, store_, ids_};
    tlsrpt::Daily daily_{runtime_, sender_, store_, alarms_, {}};

    admin::QueueActions actions_{queue_, store_, clock_, nullptr};
    admin::PolicyVerbs policy_{{delivery_, overrides_, resolver_, lookups_, https_, store_, queue_, clock_,
                                log_, sts::FetchOptions(), nullptr}};
    admin::StsVerbs sts_{lookups_};
    admin::ReportVerbs reports_{{daily_, sender_, store_, clock_, live_, std::nullopt}};
    admin::DkimKeys keys_{dkim::KeyFolder("/nowhere"), signing_, resolver_, pool_, clock_, world_};
    Verbs verbs_{true, "postmasters"};
};

TEST_F(DaemonVerbs, ThatOnlyReadAreForAll) {
    for (const char* verb :
         {"queue.list", "queue.show", "queue.hops", "queue.suspended", "why", "policy.override.list",
          "sts.history", "sts.show", "sts.list", "tlsrpt.list", "tlsrpt.show", "tlsrpt.status"})
        EXPECT_EQ(verbs_.access_of(verb), admin::Access::read) << verb;
}

TEST_F(DaemonVerbs, ThatAskHostsOutsideOrReadMuchAreForAdministrators) {
    for (const char* verb : {"explain", "policy.whatif", "sts.diff", "sts.check", "tlsrpt.preview",
                             "tlsrpt.digest", "dkim.check"})
        EXPECT_EQ(verbs_.access_of(verb), admin::Access::look_up) << verb;
}

TEST_F(DaemonVerbs, ThatChangeSomethingAreForAdministrators) {
    for (const char* verb :
         {"queue.retry", "queue.hold", "queue.release", "queue.expire", "queue.delete", "queue.reroute",
          "queue.suspend", "queue.resume", "policy.override.set", "policy.override.remove", "sts.refresh",
          "tlsrpt.send", "tlsrpt.resend", "dkim.reload", "unknown"})
        EXPECT_EQ(verbs_.access_of(verb), admin::Access::act) << verb;
}

}  // namespace
}  // namespace sternpost::control
