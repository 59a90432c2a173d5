// Attempts among hosts that a fake dialer plays, with the queue's own lanes: what one attempt may cost.
#include "delivery/attempt.h"

#include <gtest/gtest.h>

#include "delivery/explain.h"
#include "fake/log_lines.h"
#include "fake/policy_world.h"
#include "fake/seeded_random.h"
#include "fake/step_world.h"

namespace sternpost::delivery {
namespace {

using namespace std::chrono_literals;

// Names have MX records too.
class MxResolver final : public fake::TableResolver {
  public:
    std::map<std::string, std::vector<std::string>> exchanges;

    asio::awaitable<dns::Result<dns::Answer<dns::Mx>>> mx(dns::Domain name) override {
        dns::Answer<dns::Mx> out;
        out.canonical = name.text();
        for (const auto& host : exchanges[name.text()]) out.records.push_back({10, host});
        out.existence = out.records.empty() ? dns::Existence::no_data : dns::Existence::found;
        co_return out;
    }
};

// Takes results, and remembers them.
class ResultStore final : public fake::IntakeStore {
  public:
    std::size_t sent = 0;
    std::vector<store::DeliveryResult> results;
    std::vector<store::HopState> hop_states;
    std::vector<store::TlsOutcome> outcomes;  // of results

    void record(std::vector<store::DeliveryResult> some, std::vector<store::NewMessage>,
                Completion<store::Result<void>> reply) override {
        for (auto& result : some) {
            sent += result.state == store::RecipientState::sent ? 1U : 0U;
            outcomes.insert(outcomes.end(), result.detail.outcomes.begin(), result.detail.outcomes.end());
            results.push_back(std::move(result));
        }
        reply(store::Result<void>());
    }
    void keep(store::Kept kept, Completion<store::Result<void>> reply) override {
        if (auto* state = std::get_if<store::HopState>(&kept)) hop_states.push_back(std::move(*state));
        if (reply) reply(store::Result<void>());
    }
};

// Hosts that take everything, or nothing, or do what they are told to.
class FakeDialer final : public Dialer {
  public:
    explicit FakeDialer(Timer& timer) : timer_(timer) {}

    std::optional<smtp::Failure> in_tls;           // what becomes of connections with TLS
    std::optional<smtp::Failure> in_required_tls;  // and of those that demand it
    std::optional<smtp::Failure> in_clear;         // and of those without
    tls::Evidence proof;                           // what sessions with TLS show
    smtp::RecipientOutcome outcome{smtp::Reply{250, {"ok"}}, std::nullopt};  // of each recipient
    bool hold = false;  // transactions last until abort()
    std::vector<DialRequest> requests;
    std::vector<unsigned> carried;  // transactions, by connection
    std::size_t ended = 0;          // connections

    asio::awaitable<tl::expected<std::unique_ptr<Channel>, smtp::Failure>> open(
        DialRequest request) override {
        const auto failure = request.tls == smtp::TlsUse::never                         ? in_clear
                             : request.tls == smtp::TlsUse::required && in_required_tls ? in_required_tls
                                                                                        : in_tls;
        smtp::Opened opened;
        if (request.tls != smtp::TlsUse::never) opened.evidence = proof;
        requests.push_back(std::move(request));
        if (failure) co_return tl::unexpected<smtp::Failure>(*failure);
        carried.push_back(0);
        co_return std::make_unique<Open>(*this, carried.size() - 1, std::move(opened));
    }
    /// Cuts off the transaction that is held.
    void abort() {
        if (held_) held_->wake();
    }

  private:
    class Open final : public Channel {
      public:
        Open(FakeDialer& dialer, std::size_t number, smtp::Opened opened)
            : dialer_(dialer), number_(number), opened_(std::move(opened)) {}
        const smtp::Opened& opened() const override { return opened_; }
        asio::awaitable<std::vector<smtp::RecipientOutcome>> transact(queue::Work work) override {
            ++dialer_.carried[number_];
            if (dialer_.hold) {
                reusable_ = false;
                dialer_.held_ = dialer_.timer_.wakeup();
                co_await dialer_.held_->wait(SteadyTime::max());
            }
            co_return std::vector<smtp::RecipientOutcome>(work.recipients.size(), dialer_.outcome);
        }
        bool reusable() const override { return reusable_; }
        const std::string& dialogue() const override { return dialogue_; }
        asio::awaitable<void> quit() override {
            ++dialer_.ended;
            co_return;
        }

      private:
        FakeDialer& dialer_;
        std::size_t number_;
        smtp::Opened opened_;
        std::string dialogue_;
        bool reusable_ = true;
    };

    Timer& timer_;
    std::unique_ptr<Wakeup> held_;
};

smtp::Failure failure(smtp::Stage stage, smtp::Errc code) {
    smtp::Failure out;
    out.stage = stage;
    out.code = code;
    out.text = "as told";
    return out;
}

smtp::RecipientOutcome outcome(smtp::Failure failure) {
    smtp::RecipientOutcome out;
    out.failure = std::move(failure);
    return out;
}

// A session with TLS and a certificate that is good for the host.
tls::Evidence verified() {
    tls::Evidence out;
    out.encrypted = out.has_certificate = out.name_matches = true;
    out.version = "TLSv1.3";
    return out;
}

class AttemptTest : public testing::Test {
  protected:
    ~AttemptTest() override {
        if (queue_) stop();
    }
    // One connection to a next hop at a time, so that the order is the same each time.
    void start(Options options = {}) {
        lookups_ = std::make_unique<sts::Lookups>(runtime_, sts::LookupOptions(), resolver_, https_, store_);
        delivery_ = std::make_unique<Delivery>(
            runtime_, std::move(options), Sources{resolver_, *lookups_, overrides_, dialer_},
            Hooks{nullptr, [this](const std::string& hop) { return queue_->resume(hop); }});
        queue::Options queue;
        queue.connections_per_hop = queue.window_start = 1;
        queue::Hooks hooks;
        hooks.deliver = [this](queue::Lane& lane) { return delivery_->deliver(lane); };
        hooks.abort_sessions = [this] { dialer_.abort(); };
        hooks.notices = [](queue::MessagePtr, std::vector<store::DeliveryResult>)
            -> asio::awaitable<store::Result<std::vector<store::NewMessage>>> {
            co_return std::vector<store::NewMessage>();
        };
        queue_ = std::make_unique<queue::Manager>(runtime_, queue, std::move(hooks), store_, clock_);
        EXPECT_TRUE(world_.run(queue_->load()));
        queue_->start();
        world_.settle();
    }
    void stop() {
        world_.finish(queue_->stop(90s));
        world_.finish(delivery_->stop());
        queue_.reset();
    }
    void accept(std::vector<store::StoredMessage> messages, std::chrono::hours age = 0h) {
        for (auto& message : messages) {
            message.id = {++last_};
            message.arrived = world_.clock().wall() - age;
        }
        queue_->accepted(std::move(messages));
        world_.settle();
    }
    void accept(std::size_t messages, const std::string& hop = "d.test") {
        accept(std::vector<store::StoredMessage>(messages, queue::mail_for(hop)));
    }
    /// One host with one address for all these domains.
    void share_a_host(const std::vector<std::string>& domains) {
        for (const auto& domain : domains) resolver_.exchanges[domain] = {"mx.test"};
        resolver_.addresses["mx.test"] = {"12.0.1.1"};
    }
    /// An MTA-STS policy with that host in it.
    void publish(const std::string& domain, const std::string& mode) {
        resolver_.texts["_mta-sts." + domain] = {"v=STSv1; id=1"};
        resolver_.addresses["mta-sts." + domain] = {"8.8.4.4"};
        https_.serve("mta-sts." + domain,
                     "version: STSv1\r\nmode: " + mode + "\r\nmx: mx.test\r\nmax_age: 86400\r\n");
    }
    /// Mail to a.test over a connection with TLS, whatever its certificate is, then to b.test, which has an
    /// enforced policy.
    void send_to_two_domains_with_one_host() {
        share_a_host({"a.test", "b.test"});
        publish("b.test", "enforce");
        store::StoredOverride encrypt;
        encrypt.scope = "a.test";
        encrypt.level = "encrypt";
        overrides_.configure({encrypt});
        start();
        accept(1, "a.test");
        accept(1, "b.test");
    }
    /// So many addresses of each family.
    void has_addresses(const std::string& name, int count) {
        for (int n = 1; n <= count; ++n) {
            resolver_.addresses[name].push_back("12.0.1." + std::to_string(n));
            resolver_.addresses[name].push_back("2600::" + std::to_string(n));
        }
    }

    fake::StepWorld world_;
    const store::TrustedClock clock_{world_.clock()};
    MxResolver resolver_;
    fake::PolicyHosts https_;
    ResultStore store_;
    fake::LogLines log_;
    fake::SeededRandom random_;
    const Runtime runtime_{world_.context(), clock_, world_, random_, log_};
    Overrides overrides_;
    FakeDialer dialer_{world_};
    std::unique_ptr<sts::Lookups> lookups_;
    std::unique_ptr<Delivery> delivery_;
    std::unique_ptr<queue::Manager> queue_;
    std::uint64_t last_ = 0;
};

TEST_F(AttemptTest, DialsFiveAddresses) {
    has_addresses("d.test", 5);
    dialer_.in_tls = dialer_.in_clear = failure(smtp::Stage::connect, smtp::Errc::connect_refused);
    start();
    accept(1);
    EXPECT_EQ(dialer_.requests.size(), 5U);
}

TEST_F(AttemptTest, DialsAsManyAddressesAsItIsTold) {
    has_addresses("d.test", 5);
    dialer_.in_tls = dialer_.in_clear = failure(smtp::Stage::connect, smtp::Errc::connect_refused);
    Options options;
    options.addresses_per_attempt = 7;
    start(options);
    accept(1);
    EXPECT_EQ(dialer_.requests.size(), 7U);
}

TEST_F(AttemptTest, CarriesAHundredMessagesOverOneConnection) {
    has_addresses("d.test", 1);
    start();
    accept(250);
    EXPECT_EQ(store_.sent, 250U);
    EXPECT_EQ(dialer_.carried, (std::vector<unsigned>{100, 100, 50}));
}

TEST_F(AttemptTest, CarriesAsManyMessagesAsADestinationTakes) {
    has_addresses("d.test", 1);
    Options options;
    options.messages_per_connection = 4;
    options.destinations.push_back({"e.test", {}, 2, {}});
    has_addresses("e.test", 1);
    start(options);
    accept(6);
    EXPECT_EQ(dialer_.carried, (std::vector<unsigned>{4, 2}));
    world_.pass(1min);
    dialer_.carried.clear();
    accept(5, "e.test");
    EXPECT_EQ(dialer_.carried, (std::vector<unsigned>{2, 2, 1}));
}

TEST_F(AttemptTest, LeavesAConnectionOpenForFiveSeconds) {
    has_addresses("d.test", 1);
    start();
    accept(1);
    world_.pass(4999ms);
    EXPECT_EQ(dialer_.ended, 0U);
    accept(1);
    EXPECT_EQ(dialer_.carried, std::vector<unsigned>{2}) << "the next message goes over it";
    world_.pass(4999ms);
    EXPECT_EQ(dialer_.ended, 0U);
    world_.pass(1ms);
    EXPECT_EQ(dialer_.ended, 1U);
}

TEST_F(AttemptTest, EndsAConnectionAtOnceWhereNoneIsToStayOpen) {
    has_addresses("d.test", 1);
    Options options;
    options.idle_time = 0ms;
    start(options);
    accept(1);
    EXPECT_EQ(dialer_.ended, 1U);
}

TEST_F(AttemptTest, GivesThePlaceOfAConnectionBackThatNoMessageCameFor) {
    has_addresses("d.test", 1);
    Options options;
    options.connections_per_site = 1;
    start(options);
    accept(1);
    world_.pass(5s);
    ASSERT_EQ(dialer_.ended, 1U);
    accept(1);
    EXPECT_EQ(store_.sent, 2U);
}

TEST_F(AttemptTest, EndsAConnectionWhoseHostAsksUsToWait) {
    has_addresses("d.test", 1);
    auto told = failure(smtp::Stage::rcpt, smtp::Errc::reply_negative);
    told.reply = smtp::Reply{421, {"4.3.2 too busy"}};
    dialer_.outcome = outcome(told);
    start();
    accept(1);
    EXPECT_EQ(dialer_.ended, 1U);
    ASSERT_FALSE(store_.hop_states.empty());
    EXPECT_EQ(store_.hop_states.back().reason_code, store::ReasonCode::host_asks_to_wait);
}

TEST_F(AttemptTest, SendsOverAnOpenConnectionThatProvesWhatTheDomainDemands) {  // STS-74
    dialer_.proof = verified();
    send_to_two_domains_with_one_host();
    EXPECT_EQ(store_.sent, 2U);
    EXPECT_EQ(dialer_.carried, std::vector<unsigned>{2});
}

TEST_F(AttemptTest, SendsNothingOverAnOpenConnectionThatDoesNotProveWhatTheDomainDemands) {  // STS-74
    dialer_.proof = verified();
    dialer_.proof.name_matches = false;
    send_to_two_domains_with_one_host();
    EXPECT_EQ(store_.sent, 1U);
    EXPECT_EQ(dialer_.carried, (std::vector<unsigned>{1, 0})) << "a fresh connection is no better";
}

TEST_F(AttemptTest, LeavesADeadAddressAloneButInTheLastAttemptOfAMessage) {
    share_a_host({"a.test", "b.test", "c.test"});
    dialer_.in_tls = failure(smtp::Stage::connect, smtp::Errc::connect_refused);
    start();
    accept(1, "a.test");
    EXPECT_EQ(dialer_.requests.size(), 1U);
    accept(1, "b.test");
    EXPECT_EQ(dialer_.requests.size(), 1U) << "it took no connection a moment ago";
    accept({queue::mail_for("c.test")}, 120h);
    EXPECT_EQ(dialer_.requests.size(), 2U) << "it gets no other chance";
}

TEST_F(AttemptTest, CallsAnAddressThatTookAConnectionAMomentAgo) {
    share_a_host({"a.test", "b.test", "c.test"});
    Options options;
    options.idle_time = 0ms;
    start(options);
    accept(1, "a.test");
    ASSERT_EQ(store_.sent, 1U);
    dialer_.in_tls = failure(smtp::Stage::connect, smtp::Errc::connect_refused);
    accept(1, "b.test");
    accept(1, "c.test");
    EXPECT_EQ(dialer_.requests.size(), 3U) << "one refusal does not make it a dead one";
}

TEST_F(AttemptTest, CallsNoHostWhileItIsUnknownWhetherItsDomainDemandsTls) {  // D-02
    has_addresses("d.test", 1);
    resolver_.broken.insert("_mta-sts.d.test");
    start();
    accept(1);
    EXPECT_TRUE(dialer_.requests.empty());
    ASSERT_FALSE(store_.hop_states.empty());
    EXPECT_EQ(store_.hop_states.back().reason_code, store::ReasonCode::sts_unknown);
    accept(1, "d.test tls-optional");
    EXPECT_EQ(store_.sent, 1U) << "its sender does not mind";
}

TEST_F(AttemptTest, JudgesAllHostsByAPolicyThatWasFetchedAgain) {  // STS-69
    share_a_host({"d.test"});
    publish("d.test", "enforce");
    start();
    world_.run(lookups_->find(dns::PolicyDomain(dns::Domain::parse("d.test").value())));
    publish("d.test", "testing");
    dialer_.in_required_tls = failure(smtp::Stage::starttls, smtp::Errc::starttls_not_offered);
    dialer_.in_tls = failure(smtp::Stage::connect, smtp::Errc::connect_refused);
    accept(1);
    EXPECT_EQ(dialer_.requests.size(), 2U);
    ASSERT_FALSE(store_.hop_states.empty());
    EXPECT_EQ(store_.hop_states.back().status, "4.4.1") << "the old policy is not what holds the mail";
    EXPECT_EQ(store_.hop_states.back().reason_code, store::ReasonCode::unreachable);
}

TEST_F(AttemptTest, CountsNoSessionOfATlsReport) {  // RPT-13
    has_addresses("d.test", 1);
    dialer_.proof = verified();
    start();
    accept(1);
    ASSERT_EQ(store_.results.size(), 1U);
    EXPECT_EQ(store_.results[0].detail.outcomes.size(), 1U);
    world_.pass(1min);
    auto report = queue::mail_for("d.test");
    report.message_class = store::MessageClass::report;
    accept({report});
    ASSERT_EQ(store_.results.size(), 2U);
    EXPECT_EQ(dialer_.requests.size(), 2U) << "over a session of its own";
    EXPECT_TRUE(store_.results[1].detail.outcomes.empty());
}

TEST_F(AttemptTest, RemembersThatTheReplyToTheDotWasLostWhenItIsStopped) {
    has_addresses("d.test", 1);
    dialer_.outcome = outcome(failure(smtp::Stage::dot, smtp::Errc::closed));
    dialer_.hold = true;
    start();
    accept(1);
    stop();
    ASSERT_EQ(store_.results.size(), 1U);
    EXPECT_EQ(store_.results[0].state, store::RecipientState::queued);
    EXPECT_EQ(store_.results[0].lost_replies, 1U) << "the host may have the message";
}

TEST_F(AttemptTest, LeavesNoTraceOfAMessageThatWasNotSentWhenItIsStopped) {
    has_addresses("d.test", 1);
    dialer_.outcome = outcome(failure(smtp::Stage::body, smtp::Errc::closed));
    dialer_.hold = true;
    start();
    accept(1);
    stop();
    EXPECT_TRUE(store_.results.empty());
}

TEST_F(AttemptTest, TellsOfTwentySessions) {
    has_addresses("d.test", 16);
    dialer_.in_tls = failure(smtp::Stage::handshake, smtp::Errc::handshake_failed);
    dialer_.in_clear = failure(smtp::Stage::connect, smtp::Errc::connect_refused);
    Options options;
    options.addresses_per_attempt = 100;
    start(options);
    accept(1);
    EXPECT_EQ(dialer_.requests.size(), 64U) << "each with TLS, and in clear";
    ASSERT_FALSE(store_.hop_states.empty());
    EXPECT_EQ(store_.hop_states.back().detail.outcomes.size(), 20U);
}

TEST_F(AttemptTest, TellsOnceHowAHandshakeFailedThoughTheMailGoesInClear) {
    has_addresses("d.test", 1);
    dialer_.in_tls = failure(smtp::Stage::handshake, smtp::Errc::handshake_failed);
    start();
    accept(1);
    EXPECT_EQ(store_.sent, 1U);
    ASSERT_EQ(store_.outcomes.size(), 1U);
    EXPECT_EQ(store_.outcomes[0].reason_code, "handshake-failed: as told");
}

TEST_F(AttemptTest, ProbesFiveHostsAndShowsTenRecords) {
    for (const char* name : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
        const std::string host = std::string(name) + ".d.test";
        resolver_.exchanges["d.test"].push_back(host);
        has_addresses(host, 1);
    }
    for (int n = 0; n < 15; ++n) resolver_.texts["_mta-sts.d.test"].push_back("text " + std::to_string(n));
    start();
    const auto explanation =
        world_.run(explain(*delivery_, resolver_, world_.clock(), "d.test", true, QueueSays()));
    EXPECT_EQ(explanation.hosts.size(), 8U);
    EXPECT_EQ(dialer_.requests.size(), 5U);
    ASSERT_TRUE(explanation.published);
    EXPECT_EQ(explanation.published->records.size(), 10U);
}

}  // namespace
}  // namespace sternpost::delivery
