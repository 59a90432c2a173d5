// Local submission whole: sendmail's client code, the program itself, and the daemon's socket and maildrop,
// over real files and sockets.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "fake/hand_task_queue.h"
#include "fake/intake_store.h"
#include "fake/io_loop.h"
#include "fake/log_lines.h"
#include "fake/temporary_folder.h"
#include "fake/unix_socket.h"
#include "local/client.h"
#include "local/maildrop.h"
#include "local/socket.h"
#include "mail/local_names.h"
#include "util/pool.h"
#include "util/text.h"

namespace sternpost::local {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class LocalSubmission : public testing::Test {
  protected:
    LocalSubmission() {
        options_.hostname = "relay.example";
        options_.max_message_size = 4'000'000;
        options_.socket_path = folder_ / "submit.sock";
        options_.maildrop_path = folder_ / "maildrop";
        const mail::LocalNames names({dns::Domain::parse("relay.example").value()},
                                     mail::ForwardPath::parse("admin@corp.example").value());
        options_.resolve_recipient = [names](std::string_view text, bool utf8) {
            return names.resolve(text, utf8);
        };
        options_.user_name = [](std::uint32_t) { return std::string("bob"); };
        fs::create_directory(options_.maildrop_path);
    }
    void TearDown() override {
        close_socket();
        EXPECT_EQ(store_.open_sinks(), 0U);
    }
    intake::SenderLimits limits_{{}, {}};
    Surroundings around() { return {store_, ids_, clock_, log_, limits_, nullptr}; }
    void open_socket() {
        socket_ = std::make_unique<SubmissionSocket>(loop_.context(), options_, around());
        loop_.call([this] { ASSERT_TRUE(socket_->open().has_value()); });
    }
    void close_socket() {
        if (socket_) loop_.run(socket_->drain(clock_.steady() + 10s));
        socket_.reset();
    }
    void scan() {
        Maildrop maildrop(loop_.context(), options_, around(), pool_);
        loop_.run(maildrop.scan());
        loop_.run(maildrop.drain(clock_.steady() + 10s));
    }

    Submission submission(const MessageBuffer& spool) {
        Submission s;
        s.id = store::SubmissionId::make(random_);
        s.recipients = {"carol@dest.example"};
        s.octets = spool.size();
        return s;
    }
    static MessageBuffer spool_of(std::string_view text) {
        MessageBuffer spool("/tmp");
        EXPECT_TRUE(spool.append(text).has_value());
        return spool;
    }
    std::string drop_path(const Submission& s) { return options_.maildrop_path + "/" + s.id.text(); }
    std::size_t files_in_drop() {
        std::size_t n = 0;
        for (const auto& entry : fs::directory_iterator(options_.maildrop_path))
            n += entry.path().filename() == "refused" ? 0U : 1U;
        return n;
    }

    fake::TemporaryFolder folder_;
    SystemClock clock_;
    SystemRandom random_;
    fake::LogLines log_;
    fake::IntakeStore store_;
    store::IdSource ids_{clock_, 5, {}};
    Options options_;
    Pool pool_{2};
    fake::IoLoop loop_;
    std::unique_ptr<SubmissionSocket> socket_;
};

// ---- the socket

TEST_F(LocalSubmission, GoesOverTheSocket) {  // CLI-10: the uid is the kernel's word; CLI-12
    open_socket();
    const MessageBuffer spool = spool_of("Subject: x\r\n\r\nhi\r\n");
    Submission s = submission(spool);
    s.full_name = "Bob, Esq.";
    const auto answer = submit(options_.socket_path, s, spool);
    ASSERT_TRUE(answer.has_value()) << answer.error().text;
    ASSERT_EQ(store_.accepted().size(), 1U);
    const auto message = store_.accepted()[0];
    EXPECT_EQ(*answer, (Answer{Answer::Kind::ok, message.id.text()}));
    EXPECT_EQ(message.envelope.reverse_path.text(), "bob@relay.example");
    EXPECT_EQ(message.recipients.at(0).next_hop, "dest.example");
    EXPECT_EQ(message.origin.uid, ::getuid());
    EXPECT_EQ(message.origin.with, "local");
    EXPECT_EQ(message.submission, s.id);
    const std::string uid = std::to_string(::getuid());
    EXPECT_EQ(*message.body.octets,
              "Received: from bob (uid " + uid + ")\r\n by relay.example (Sternpost) with local id " +
                  message.id.text() + "\r\n for <carol@dest.example>;\r\n " + rfc5322_date(message.arrived) +
                  "\r\nSubject: x\r\nFrom: \"Bob, Esq.\" <bob@relay.example>\r\nDate: " +
                  rfc5322_date(message.arrived) + "\r\nMessage-ID: <" + message.id.text() +
                  "@relay.example>\r\n\r\nhi\r\n");
    const std::string line = log_.find("accept qid=" + message.id.text());
    EXPECT_NE(line.find(" from=<bob@relay.example> size="), std::string::npos) << line;
    EXPECT_NE(line.find(" nrcpt=1 uid=" + uid + " via=socket"), std::string::npos) << line;
    struct stat file {};
    ASSERT_EQ(::stat(options_.socket_path.c_str(), &file), 0);
    EXPECT_EQ(file.st_mode & 0777U, 0666U);
}

TEST_F(LocalSubmission, KeepsRequiretlsAndSmtputf8) {  // RTLS-02, RTLS-11, RTLS-15, CLI-22
    open_socket();
    const MessageBuffer spool = spool_of("From: a\r\nTLS-Required: No\r\nSubject: \xc3\xb6\r\n\r\nhi\r\n");
    Submission s = submission(spool);
    s.recipients = {
        "j\xc3\xb6rg@b\xc3\xbc"
        "cher.example"};
    s.reverse_path = "\xc3\xa9@corp.example";
    EXPECT_EQ(submit(options_.socket_path, s, spool)->text.substr(0, 6), "5.6.7 ");
    s.reverse_path = "a@corp.example";
    EXPECT_EQ(submit(options_.socket_path, s, spool)->text.substr(0, 6), "5.6.7 ");
    s.smtputf8 = true;
    s.requiretls = true;
    ASSERT_EQ(submit(options_.socket_path, s, spool)->kind, Answer::Kind::ok);
    s.id = store::SubmissionId::make(random_);
    s.requiretls = false;
    ASSERT_TRUE(leave(options_.maildrop_path, s, spool).has_value());
    scan();
    ASSERT_EQ(store_.accepted().size(), 2U);
    const auto by_socket = store_.accepted()[0];
    EXPECT_TRUE(by_socket.envelope.smtputf8);
    EXPECT_TRUE(by_socket.envelope.requiretls);
    EXPECT_FALSE(by_socket.envelope.tls_required_no);
    EXPECT_FALSE(by_socket.envelope.eight_bit_header);  // D-42
    EXPECT_EQ(by_socket.recipients.at(0).next_hop, "xn--bcher-kva.example");
    EXPECT_EQ(by_socket.recipients[0].recipient.path.text(),
              "j\xc3\xb6rg@b\xc3\xbc"
              "cher.example");
    EXPECT_TRUE(is_ascii(by_socket.body.octets->substr(0, by_socket.body.octets->find("From:"))));
    const auto by_maildrop = store_.accepted()[1];
    EXPECT_TRUE(by_maildrop.envelope.smtputf8);
    EXPECT_FALSE(by_maildrop.envelope.requiretls);
    EXPECT_TRUE(by_maildrop.envelope.tls_required_no);
}

TEST_F(LocalSubmission, IsTakenOnceUnderOneId) {
    open_socket();
    const MessageBuffer spool = spool_of("\r\nhi\r\n");
    const Submission s = submission(spool);
    EXPECT_EQ(submit(options_.socket_path, s, spool)->kind, Answer::Kind::ok);
    EXPECT_EQ(submit(options_.socket_path, s, spool)->kind, Answer::Kind::ok);
    ASSERT_TRUE(leave(options_.maildrop_path, s, spool).has_value());
    scan();  // a crash before the unlink looks like this
    EXPECT_EQ(files_in_drop(), 0U);
    EXPECT_EQ(store_.accepted().size(), 1U);
}

struct Refusal {
    const char* name;
    std::function<void(Submission&)> change;
    std::string_view message;
    const char* answer;  // its beginning, with the kind
};
class RefusedSubmission : public LocalSubmission, public testing::WithParamInterface<Refusal> {};
TEST_P(RefusedSubmission, IsToldWhy) {
    open_socket();
    const MessageBuffer spool = spool_of(GetParam().message);
    Submission s = submission(spool);
    GetParam().change(s);
    const auto answer = submit(options_.socket_path, s, spool);
    ASSERT_TRUE(answer.has_value()) << answer.error().text;
    EXPECT_TRUE(answer->line().starts_with(GetParam().answer)) << answer->line();
    EXPECT_TRUE(store_.accepted().empty());
    EXPECT_NE(log_.find("reject uid="), "");
}
std::string received(int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += "Received: x\r\n";
    return out + "\r\n";
}
const std::string loop = received(101);
const std::string big(5'000'000, 'x');
using namespace std::string_view_literals;
const Refusal refusals[] = {
    {"BadRecipient", [](Submission& s) { s.recipients.emplace_back("a b"); }, "\r\n", "perm 5.1.3 "},
    {"UnqualifiedRecipient", [](Submission& s) { s.recipients = {"a@host"}; }, "\r\n", "perm 5.1.2 "},
    {"BadReversePath", [](Submission& s) { s.reverse_path = "a@b@c"; }, "\r\n", "perm 5.1.8 "},
    {"UnqualifiedReversePath", [](Submission& s) { s.reverse_path = "a@host"; }, "\r\n",
     "perm 5.1.8 "},                                    // SMTP-119
    {"Loop", [](Submission&) {}, loop, "perm 5.4.6 "},  // SMTP-52
    {"Nul", [](Submission&) {}, "\r\na\0b\r\n"sv, "perm 5.6.0 "},
    {"TooBig", [](Submission&) {}, big, "perm 5.3.4 "},  // CLI-26: refused before it was read
    {"NoId", [](Submission& s) { s.id = {}; }, "\r\n", "perm 5.5.2 "},
};
INSTANTIATE_TEST_SUITE_P(Cli, RefusedSubmission, testing::ValuesIn(refusals),
                         [](const auto& row) { return row.param.name; });

TEST_F(LocalSubmission, IsOursToSignUnlessItIsPassedOn) {  // DKIM-14, DKIM-16
    open_socket();
    for (const bool passed_on : {false, true}) {
        const MessageBuffer spool = spool_of("From: a@corp.example\r\n\r\nhi\r\n");
        Submission s = submission(spool);
        s.gateway = passed_on;
        ASSERT_EQ(submit(options_.socket_path, s, spool)->kind, Answer::Kind::ok);
        EXPECT_EQ(store_.accepted().back().envelope.originated, !passed_on);
        const MessageBuffer twice = spool_of("From: a@corp.example\r\nFrom: b@corp.example\r\n\r\nhi\r\n");
        Submission t = submission(twice);
        t.gateway = passed_on;
        const auto answer = submit(options_.socket_path, t, twice);
        EXPECT_EQ(answer->kind, passed_on ? Answer::Kind::ok : Answer::Kind::permanent) << answer->text;
    }
}

TEST_F(LocalSubmission, QualifiesItsReversePath) {
    open_socket();
    const std::pair<std::optional<std::string>, const char*> rows[] = {
        {"", ""},
        {"eve", "eve@relay.example"},
        {"eve@localhost", "eve@relay.example"},
        {"Eve@Corp.Example", "Eve@Corp.Example"},
        {std::nullopt, "bob@relay.example"}};
    for (const auto& [given, kept] : rows) {
        const MessageBuffer spool = spool_of("\r\n");
        Submission s = submission(spool);
        s.reverse_path = given;
        EXPECT_EQ(submit(options_.socket_path, s, spool)->kind, Answer::Kind::ok);
        EXPECT_EQ(store_.accepted().back().envelope.reverse_path.text(), kept);
        EXPECT_EQ(store_.accepted().back().envelope.reverse_path.is_null(), given == "");
    }
}

TEST_F(LocalSubmission,
       MakesStrayLineEndsCrlf) {  // SMTP-10: whoever speaks to the socket need not be our sendmail
    open_socket();
    const MessageBuffer spool = spool_of("Subject: x\n\na\rb\n.\nc");
    EXPECT_EQ(submit(options_.socket_path, submission(spool), spool)->kind, Answer::Kind::ok);
    EXPECT_TRUE(store_.accepted().at(0).body.octets->ends_with("\r\n\r\na\r\nb\r\n.\r\nc\r\n"));
}

TEST_F(LocalSubmission, IsOfADomainThatItsUserMayWriteAs) {  // D-47
    mail::SenderDomains::Rule rule;
    rule.name = "[[sender]] user:bob";
    rule.user = "bob";
    rule.domains = {"corp.example"};
    options_.sender_domains = mail::SenderDomains({rule});
    open_socket();
    const std::pair<const char*, bool> rows[] = {{"a@corp.example", true}, {"a@other.example", false}};
    for (const auto& [given, allowed] : rows) {
        const MessageBuffer spool = spool_of("From: a@corp.example\r\n\r\nhi\r\n");
        Submission s = submission(spool);
        s.reverse_path = given;
        const auto answer = submit(options_.socket_path, s, spool);
        ASSERT_TRUE(answer) << answer.error().text;
        EXPECT_EQ(answer->kind, allowed ? Answer::Kind::ok : Answer::Kind::permanent) << answer->text;
    }
    ASSERT_EQ(store_.accepted().size(), 1U);
    EXPECT_EQ(store_.accepted()[0].envelope.reverse_path.text(), "a@corp.example");
}

TEST_F(LocalSubmission, IsNotTakenWhenItIsCutOff) {
    open_socket();
    MessageBuffer spool = spool_of("\r\nhi\r\n");
    Submission s = submission(spool);
    s.octets += 10;  // the client finds its spool too short and hangs up
    EXPECT_FALSE(submit(options_.socket_path, s, spool, {2s, 1s, 1s}).has_value());
    close_socket();
    EXPECT_TRUE(store_.accepted().empty());
}

TEST_F(LocalSubmission, WaitsForTheStoreBeforeItSaysOk) {  // SMTP-40, and what a stop does meanwhile
    open_socket();
    store_.hold_replies = true;
    std::thread stopping([this] {
        while (store_.held() == 0) std::this_thread::yield();
        loop_.run(socket_->drain(clock_.steady() + 20s));
    });
    std::thread releasing([this] {
        while (fs::exists(options_.socket_path)) std::this_thread::yield();  // the drain has begun
        store_.release();
    });
    const MessageBuffer spool = spool_of("\r\nhi\r\n");
    EXPECT_EQ(submit(options_.socket_path, submission(spool), spool)->kind, Answer::Kind::ok);
    stopping.join();
    releasing.join();
    socket_.reset();
}

TEST_F(LocalSubmission, MapsTheStoresTrouble) {
    store_.refuse_accept = store::Errc::full;
    open_socket();
    const MessageBuffer spool = spool_of("\r\nhi\r\n");
    EXPECT_TRUE(submit(options_.socket_path, submission(spool), spool)->line().starts_with("temp 4.3.1 "));
}

TEST_F(LocalSubmission, ReplacesOnlySockets) {
    std::ofstream(options_.socket_path) << "precious";
    SubmissionSocket socket(loop_.context(), options_, around());
    loop_.call([&] { EXPECT_FALSE(socket.open().has_value()); });
    EXPECT_EQ(fs::file_size(options_.socket_path), 8U);
}

TEST(SubmissionPlaces, AreHalfOfOneUserAtMostAndTheLastTenthIsRoots) {
    const std::size_t all = Options().max_connections;
    EXPECT_TRUE(finds_place(1000, 99, 150, all));
    EXPECT_FALSE(finds_place(1000, 100, 150, all)) << "another user is to find one";
    EXPECT_TRUE(finds_place(1000, 0, 180, all));
    EXPECT_FALSE(finds_place(1000, 0, 181, all)) << "root is to find one";
    EXPECT_TRUE(finds_place(0, 150, 200, all));
    EXPECT_FALSE(finds_place(0, 150, 201, all));
}

// Shows the time of a while ago: what began then is as old as that at once.
struct LateClock final : Clock {
    explicit LateClock(SteadyTime::duration l) : late(l) {}
    WallTime wall() const override { return SystemClock().wall(); }
    SteadyTime steady() const override { return SystemClock().steady() - late; }
    SteadyTime::duration late;
};

// A connection to a UNIX socket, and what comes over it within five seconds.
class Caller {
  public:
    explicit Caller(const std::string& path) : fd_(fake::connected_to(path)) {}
    std::string all() const {
        std::string out(1000, '\0');
        std::size_t size = 0;
        for (ssize_t got = 1; got > 0 && size < out.size(); size += static_cast<std::size_t>(got))
            got = std::max<ssize_t>(::recv(fd_.get(), out.data() + size, out.size() - size, 0), 0);
        out.resize(size);
        return out;
    }

  private:
    util::Fd fd_;
};

TEST_F(LocalSubmission, TakesFiveMinutesAtMost) {
    for (const auto late : {4min, 5min}) {
        const LateClock clock(late);
        const Surroundings around{store_, ids_, clock, log_, limits_, nullptr};
        socket_ = std::make_unique<SubmissionSocket>(loop_.context(), options_, around);
        loop_.call([this] { ASSERT_TRUE(socket_->open().has_value()); });
        if (late == 5min) {
            EXPECT_TRUE(Caller(options_.socket_path).all().ends_with("the submission took too long\n"));
        } else {
            const MessageBuffer spool = spool_of("\r\nhi\r\n");
            EXPECT_EQ(submit(options_.socket_path, submission(spool), spool)->kind, Answer::Kind::ok);
        }
        close_socket();
    }
}

TEST_F(LocalSubmission, HearsOneLineAndNoMoreOfIt) {
    for (const std::size_t size : {999UL, 100'000UL}) {
        const util::Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        const std::string path = folder_ / ("daemon" + std::to_string(size));
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        ASSERT_EQ(::listen(listener.get(), 1), 0);
        std::thread daemon([&] {
            const util::Fd one(::accept(listener.get(), nullptr, nullptr));
            std::string read(4096, '\0');
            for (std::size_t at = 0; read.find("\nend\n") == std::string::npos && at < read.size();)
                at += static_cast<std::size_t>(::recv(one.get(), read.data() + at, read.size() - at, 0));
            std::string line = "perm ";
            line.append(size - line.size(), 'x');
            line += '\n';
            ::send(one.get(), line.data(), line.size(), MSG_NOSIGNAL);
        });
        const MessageBuffer spool = spool_of("\r\nhi\r\n");
        const auto answer = submit(path, submission(spool), spool);
        daemon.join();
        ASSERT_TRUE(answer) << answer.error().text;
        EXPECT_EQ(answer->text.size(), std::min<std::size_t>(size, 1000) - 5);
    }
}

// ---- the maildrop

TEST_F(LocalSubmission, WaitsInTheMaildropForTheDaemon) {  // CLI-25
    const MessageBuffer spool = spool_of("Subject: x\r\n\r\nhi\r\n");
    const Submission s = submission(spool);
    EXPECT_FALSE(submit(options_.socket_path, s, spool).has_value());
    ASSERT_TRUE(leave(options_.maildrop_path, s, spool).has_value());
    EXPECT_EQ(files_in_drop(), 1U);
    struct stat file {};
    ASSERT_EQ(::stat(drop_path(s).c_str(), &file), 0);
    EXPECT_EQ(file.st_mode & 0777U, 0640U);
    scan();
    ASSERT_EQ(store_.accepted().size(), 1U);
    EXPECT_EQ(store_.accepted()[0].origin.uid, ::getuid());
    EXPECT_EQ(store_.accepted()[0].submission, s.id);
    EXPECT_EQ(files_in_drop(), 0U);
    EXPECT_NE(log_.find("accept ").find("via=maildrop"), std::string::npos);
}

TEST_F(LocalSubmission, ManyWaitInTheMaildropLargeOnesToo) {
    const std::string large = "\r\n" + std::string(3'000'000, 'x') + "\r\n";
    for (int i = 0; i < 40; ++i) {
        const MessageBuffer spool = spool_of(i % 20 == 0 ? large : "\r\nhi\r\n");
        ASSERT_TRUE(leave(options_.maildrop_path, submission(spool), spool).has_value());
    }
    scan();
    EXPECT_EQ(store_.accepted().size(), 40U);
    EXPECT_EQ(files_in_drop(), 0U);
}

TEST_F(LocalSubmission, IsNoticedInTheMaildrop) {
    options_.maildrop_interval = 3600s;
    Maildrop maildrop(loop_.context(), options_, around(), pool_);
    loop_.call([&] { maildrop.start(); });
    for (std::size_t i = 1; i <= 3; ++i) {
        const MessageBuffer spool = spool_of("\r\nhi\r\n");
        ASSERT_TRUE(leave(options_.maildrop_path, submission(spool), spool).has_value());
        while (store_.accepted().size() < i) std::this_thread::yield();
    }
    loop_.run(maildrop.drain(clock_.steady() + 10s));
}

// No file is announced after the first look.
TEST_F(LocalSubmission, IsLookedForInTheMaildropEveryMinute) {
    const LateClock clock(60s);
    store_.refuse_accept = store::Errc::full;
    const MessageBuffer spool = spool_of("\r\nhi\r\n");
    ASSERT_TRUE(leave(options_.maildrop_path, submission(spool), spool).has_value());
    Maildrop maildrop(loop_.context(), options_, {store_, ids_, clock, log_, limits_, nullptr}, pool_);
    loop_.call([&] { maildrop.start(); });
    const auto end = clock_.steady() + 5s;
    while (log_.find("maildrop file=").empty() && clock_.steady() < end) std::this_thread::yield();
    EXPECT_TRUE(store_.accepted().empty());
    loop_.call([this] { store_.refuse_accept.reset(); });
    while (store_.accepted().empty() && clock_.steady() < end) std::this_thread::yield();
    EXPECT_EQ(store_.accepted().size(), 1U);
    loop_.run(maildrop.drain(clock_.steady() + 10s));
}

TEST_F(LocalSubmission, SixteenFilesOfTheMaildropAreReadAtATime) {
    const MessageBuffer spool = spool_of("\r\nhi\r\n");
    for (int i = 0; i < 18; ++i)
        ASSERT_TRUE(leave(options_.maildrop_path, submission(spool), spool).has_value());
    boost::asio::io_context context;
    fake::HandTaskQueue pool;
    Maildrop maildrop(context, options_, around(), pool);
    const auto settle = [&] {
        std::size_t ran = 1;
        for (; ran > 0 || !pool.empty(); pool.run_all()) {
            context.restart();
            ran = context.poll();
        }
    };
    bool over = false;
    store_.hold_replies = true;
    boost::asio::co_spawn(context, maildrop.scan(), [&](const std::exception_ptr&, bool) { over = true; });
    settle();
    EXPECT_EQ(store_.held(), 16U);
    EXPECT_FALSE(over);
    store_.release();
    settle();
    EXPECT_TRUE(over);
    EXPECT_EQ(store_.accepted().size(), 18U);
    over = false;
    boost::asio::co_spawn(context, maildrop.drain(clock_.steady()),
                          [&](const std::exception_ptr&) { over = true; });
    settle();
    EXPECT_TRUE(over);
}

TEST_F(LocalSubmission, SoManyFilesThatCannotBeSetAsideArePassedOver) {
    std::ofstream(options_.maildrop_path + "/refused") << "where the folder should be";
    for (const char* name : {"/one", "/two", "/three"}) std::ofstream(options_.maildrop_path + name) << "bad";
    EXPECT_EQ(options_.max_passed_over, 10'000U);
    options_.max_passed_over = 2;
    Maildrop maildrop(loop_.context(), options_, around(), pool_);
    loop_.run(maildrop.scan());
    EXPECT_EQ(log_.count("reject via=maildrop"), 3U);
    loop_.run(maildrop.scan());
    EXPECT_EQ(log_.count("reject via=maildrop"), 4U) << "two are known, the third is tried again";
    loop_.run(maildrop.drain(clock_.steady() + 10s));
    EXPECT_EQ(files_in_drop(), 3U);
}

TEST_F(LocalSubmission, StaysInTheMaildropWhileTheStoreIsFull) {
    store_.refuse_accept = store::Errc::full;
    const MessageBuffer spool = spool_of("\r\nhi\r\n");
    const Submission s = submission(spool);
    ASSERT_TRUE(leave(options_.maildrop_path, s, spool).has_value());
    scan();
    EXPECT_TRUE(fs::exists(drop_path(s)));
    store_.refuse_accept.reset();
    scan();
    EXPECT_EQ(store_.accepted().size(), 1U);
    EXPECT_EQ(files_in_drop(), 0U);
}

// What must not be touched is set aside and reported, and the rest is taken all the same.
TEST_F(LocalSubmission, SetsAsideWhatIsNoSubmission) {
    const std::string drop = options_.maildrop_path + "/";
    const MessageBuffer spool = spool_of("\r\nhi\r\n");
    const auto left = [&](const char* digits) {
        Submission s = submission(spool);
        s.id = store::SubmissionId::parse(std::string(30, '0') + digits).value();
        EXPECT_TRUE(leave(options_.maildrop_path, s, spool).has_value());
        return drop + s.id.text();
    };
    const auto name = [&](const char* digits) { return drop + std::string(30, '0') + digits; };
    left("01");                                                                   // a good one
    fs::create_symlink("/etc/passwd", name("02"));                                // a symbolic link
    fs::create_symlink(left("03"), name("04"));                                   // and one to a good file
    ASSERT_EQ(::mkfifo(name("05").c_str(), 0600), 0);                             // would block who opens it
    fs::create_directory(name("06"));                                             // a folder
    fs::create_hard_link(left("07"), folder_ / "elsewhere");                      // a file with a second name
    fs::resize_file(left("08"), 100);                                             // cut off
    std::ofstream(left("09"), std::ios::app) << "more";                           // more after the end
    fs::permissions(left("0a"), fs::perms::others_write, fs::perm_options::add);  // others can write to it
    fs::rename(left("0b"), name("0c"));                                           // another's id
    std::ofstream(drop + "README") << "hello";                                    // not a submission's name
    std::ofstream(name("0d")) << "sternpost-submission 1\n";                      // nothing but a beginning
    std::ofstream(name("0e"));                                                    // empty
    const util::Fd huge_guard(::open(name("0f").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    ASSERT_EQ(::ftruncate(huge_guard.get(), 1'000'000'000'000), 0);  // huge
    scan();
    EXPECT_EQ(store_.accepted().size(), 2U);  // 01 and 03
    EXPECT_EQ(files_in_drop(), 0U);
    for (const char* refused : {"02", "04", "05", "06", "07", "08", "09", "0a", "0c", "0d", "0e", "0f"})
        EXPECT_TRUE(fs::exists(fs::symlink_status(drop + "refused/" + std::string(30, '0') + refused)))
            << refused;
    EXPECT_TRUE(fs::exists(drop + "refused/README"));
    EXPECT_TRUE(fs::is_symlink(drop + "refused/" + std::string(30, '0') + "02"));
    EXPECT_EQ(log_.count("reject via=maildrop file="), 13U);
    EXPECT_NE(log_.find("reject via=maildrop file=" + std::string(30, '0') + "02")
                  .find("a symbolic link; moved to refused/"),
              std::string::npos);
    EXPECT_EQ(fs::status(drop + "refused").permissions(), fs::perms::owner_all);
    scan();
    EXPECT_EQ(log_.count("reject"), 13U);  // reported once
}

TEST_F(LocalSubmission, LeavesWhatIsBeingWrittenForADay) {
    const std::string fresh = options_.maildrop_path + "/tmp-fresh";
    std::ofstream(fresh) << "x";
    std::ofstream(options_.maildrop_path + "/.hidden") << "x";
    scan();
    EXPECT_TRUE(fs::exists(fresh));
    EXPECT_EQ(files_in_drop(), 2U);
    const auto folder = DropFolder::open(options_.maildrop_path);
    auto walk = folder->walk().value();
    EXPECT_TRUE(walk.next(100, clock_.wall() - 24h).value().empty());
    EXPECT_TRUE(walk.over());
    EXPECT_TRUE(fs::exists(fresh));
    walk = folder->walk().value();
    EXPECT_TRUE(walk.next(100, clock_.wall() + 24h).value().empty());
    EXPECT_EQ(files_in_drop(), 0U);
}

// However many names are in its way, a record is found, and memory holds a part of them at a time.
TEST_F(LocalSubmission, FindsARecordBehindAnyNumberOfDeadFiles) {
    for (int i = 0; i < 3000; ++i) std::ofstream(options_.maildrop_path + "/tmp-" + std::to_string(i));
    const MessageBuffer spool = spool_of("\r\nhi\r\n");
    for (int i = 0; i < 3; ++i)
        ASSERT_TRUE(leave(options_.maildrop_path, submission(spool), spool).has_value());
    const auto folder = DropFolder::open(options_.maildrop_path);
    auto walk = folder->walk().value();
    std::size_t records = 0;
    std::size_t parts = 0;
    for (; !walk.over(); ++parts) records += walk.next(500, clock_.wall() - 24h).value().size();
    EXPECT_EQ(records, 3U);
    EXPECT_GT(parts, 6U);
    scan();
    EXPECT_EQ(store_.accepted().size(), 3U);
}

TEST_F(LocalSubmission, SaysOnceThatTheMaildropIsMissing) {
    fs::remove(options_.maildrop_path);
    Maildrop maildrop(loop_.context(), options_, around(), pool_);
    loop_.run(maildrop.scan());
    loop_.run(maildrop.scan());
    EXPECT_EQ(log_.count("maildrop "), 1U);
    const MessageBuffer spool = spool_of("\r\n");
    EXPECT_FALSE(leave(options_.maildrop_path, submission(spool), spool).has_value());
}

// ---- the program

struct Ran {
    int exit_code = -1;
    std::string errors;
    std::string output;
};

class SendmailProgram : public LocalSubmission {
  protected:
    // Runs the program that was built next to this one.
    Ran run(const std::vector<std::string>& words, std::string_view input,
            const std::string& name = "Bob Builder") {
        const std::string program =
            (fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "sendmail").string();
        const std::string errors = folder_ / "errors";
        const std::string output = folder_ / "output";
        const std::string in = folder_ / "input";
        std::ofstream(in, std::ios::binary) << input;
        const pid_t child = ::fork();
        if (child == 0) {
            ::setenv("STERNPOST_SOCKET", options_.socket_path.c_str(), 1);
            ::setenv("STERNPOST_MAILDROP", options_.maildrop_path.c_str(), 1);
            ::setenv("NAME", name.c_str(), 1);
            ::dup2(::open(in.c_str(), O_RDONLY), 0);
            ::dup2(::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 1);
            ::dup2(::open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 2);
            std::vector<char*> argv{const_cast<char*>("sendmail")};
            for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
            argv.push_back(nullptr);
            ::execv(program.c_str(), argv.data());
            ::_exit(127);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        const auto text = [](const std::string& path) {
            std::ifstream file(path);
            return std::string(std::istreambuf_iterator<char>(file), {});
        };
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text(errors), text(output)};
    }
};

TEST_F(SendmailProgram, SendsByTheSocket) {
    open_socket();
    const Ran ran = run({"-t", "-i", "-f", "eve@corp.example"},
                        "To: carol@dest.example\nBcc: dave@dest.example, root\n\nhi\n.\n");
    EXPECT_EQ(ran.exit_code, 0) << ran.errors;
    ASSERT_EQ(store_.accepted().size(), 1U);
    const auto message = store_.accepted()[0];
    ASSERT_EQ(message.recipients.size(), 3U);
    EXPECT_EQ(message.recipients[2].recipient.path.text(), "admin@corp.example");
    EXPECT_EQ(message.body.octets->find("dave"), std::string::npos);
    EXPECT_NE(message.body.octets->find("\r\nFrom: Bob Builder <eve@corp.example>\r\n"), std::string::npos);
    EXPECT_TRUE(message.body.octets->ends_with("\r\n\r\nhi\r\n.\r\n"));
    EXPECT_EQ(files_in_drop(), 0U);
}

TEST_F(SendmailProgram, LeavesTheMessageWhileTheDaemonIsDown) {  // CLI-25
    EXPECT_EQ(run({"carol@dest.example"}, "hi\n").exit_code, 0);
    EXPECT_EQ(files_in_drop(), 1U);
    scan();
    EXPECT_EQ(store_.accepted().size(), 1U);
    fs::remove_all(options_.maildrop_path);
    const Ran nowhere = run({"carol@dest.example"}, "hi\n");
    EXPECT_EQ(nowhere.exit_code, 75);  // never 0 with a loss
    EXPECT_NE(nowhere.errors.find("the message was not taken"), std::string::npos);
}

TEST_F(SendmailProgram, LeavesTheMessageWhenTheDaemonIsBusy) {
    options_.max_connections = 0;
    open_socket();
    EXPECT_EQ(run({"carol@dest.example"}, "hi\n").exit_code, 0);
    EXPECT_EQ(files_in_drop(), 1U);
}

TEST_F(SendmailProgram, SaysWhatIsWrongByItsExitCode) {  // CLI-24, CLI-27
    open_socket();
    EXPECT_EQ(run({}, "hi\n").exit_code, 64);
    EXPECT_EQ(run({"-t"}, "Subject: x\n\n").exit_code, 64);
    EXPECT_EQ(run({"-oem", "a b c"}, "hi\n").exit_code, 65);
    EXPECT_EQ(run({"a@unqualified"}, "hi\n").exit_code, 68);
    EXPECT_EQ(run({"carol@dest.example"}, std::string(5'000'000, 'x')).exit_code, 65);
    EXPECT_EQ(run({"-bt"}, "").exit_code, 64);
    EXPECT_EQ(run({"-bi"}, "").exit_code, 0);
    EXPECT_EQ(run({"--help"}, "").exit_code, 0);
    store_.refuse_accept = store::Errc::full;
    EXPECT_EQ(run({"carol@dest.example"}, "hi\n").exit_code, 75);
    EXPECT_EQ(files_in_drop(), 0U);  // the daemon said no: the caller keeps the message
    EXPECT_TRUE(store_.accepted().empty());
}

TEST(SendmailSpool, HoldsAHundredMiB) {
    MessageBuffer spool("/tmp", SIZE_MAX);
    const std::string piece(1'048'576, 'x');
    for (int n = 0; n < 100; ++n) ASSERT_TRUE(spool.append(piece)) << n;
    const auto more = spool.append("x");
    ASSERT_FALSE(more);
    EXPECT_EQ(more.error().code, Errc::too_big);
    EXPECT_EQ(spool.size(), 104'857'600U);
}

TEST_F(SendmailProgram, TakesAHundredMiBInASession) {
    const Ran ran = run({"-bs"},
                        "EHLO client.example\r\nMAIL FROM:<a@corp.example> SIZE=104857601\r\n"
                        "MAIL FROM:<a@corp.example> SIZE=104857600\r\nQUIT\r\n");
    EXPECT_NE(ran.output.find("\r\n250-SIZE 104857600\r\n"), std::string::npos) << ran.output;
    EXPECT_NE(ran.output.find("\r\n552 5.3.4 "), std::string::npos) << ran.output;
    EXPECT_NE(ran.output.find("\r\n250 2.1.0 ok\r\n"), std::string::npos) << ran.output;
}

TEST_F(SendmailProgram, KnowsNoNameLongerThan200Octets) {
    open_socket();
    for (const std::size_t size : {200U, 201U}) {
        const std::string name(size, 'x');
        EXPECT_EQ(run({"carol@dest.example"}, "hi\n", name).exit_code, 0);
        ASSERT_FALSE(store_.accepted().empty());
        const bool named = store_.accepted().back().body.octets->find(name) != std::string::npos;
        EXPECT_EQ(named, size == 200);
    }
}

TEST_F(SendmailProgram, SendsLargeMessages) {
    open_socket();
    EXPECT_EQ(run({"carol@dest.example"}, "Subject: x\n\n" + std::string(3'000'000, 'x') + "\n").exit_code,
              0);
    ASSERT_EQ(store_.accepted().size(), 1U);
    EXPECT_GT(store_.accepted()[0].body.size, 3'000'000U);
}

}  // namespace
}  // namespace sternpost::local
