// The resolver among name servers on loopback that follow no CNAME themselves: each answer is one part of
// the whole.
#include "dns/ldns_resolver.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <map>
#include <thread>

#include "fake/io_loop.h"
#include "fake/seeded_random.h"

namespace sternpost::dns {
namespace {

using namespace std::string_literals;
using asio::ip::tcp;
using asio::ip::udp;

// `www.example` as it stands in a message.
std::string wire_name(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const auto label = text.substr(0, text.find('.'));
        out += static_cast<char>(label.size());
        out += label;
        text.remove_prefix(std::min(text.size(), label.size() + 1));
    }
    return out + '\0';
}

constexpr auto type_soa = static_cast<Type>(6);

// What the server says of one name: one record, with AD or without. Of type SOA: that there is nothing.
struct Part {
    bool authentic = false;
    Type type = type_cname;
    std::string data;
    unsigned char times = 1;
    std::uint32_t ttl = 300;
    char rcode = 0;
    bool truncated = false;  // by UDP; TCP has all of it
};

// Answers questions by UDP and by TCP, each on a thread of its own; NOERROR without records to all that it
// does not know.
class OneRecordServer {
  public:
    explicit OneRecordServer(std::map<std::string, Part> parts) : parts_(std::move(parts)) {
        for (boost::system::error_code taken = asio::error::address_in_use; taken;) {  // the port, by TCP
            socket_ = udp::socket(context_, udp::endpoint(asio::ip::address_v4::loopback(), 0));
            acceptor_ = tcp::acceptor(context_, tcp::v4());
            acceptor_.bind(tcp::endpoint(asio::ip::address_v4::loopback(), port()), taken);
            if (!taken) acceptor_.listen(tcp::acceptor::max_listen_connections, taken);
        }
        by_udp_ = std::thread([this] { serve_udp(); });
        by_tcp_ = std::thread([this] { serve_tcp(); });
    }
    OneRecordServer(const OneRecordServer&) = delete;
    OneRecordServer& operator=(const OneRecordServer&) = delete;
    ~OneRecordServer() {
        udp::socket(context_, udp::v4()).send_to(asio::buffer("", 1), socket_.local_endpoint());
        tcp::socket(context_).connect(acceptor_.local_endpoint());
        by_udp_.join();
        by_tcp_.join();
    }
    Server address() const { return {Address::v4({127, 0, 0, 1}), port()}; }
    int asked() const { return asked_; }

  private:
    std::uint16_t port() const { return socket_.local_endpoint().port(); }
    void serve_udp() {
        std::string query(512, '\0');
        for (;;) {
            udp::endpoint client;
            const std::size_t size = socket_.receive_from(asio::buffer(query), client);
            if (size < 12) return;
            ++asked_;
            const std::string answer = answer_to(query.substr(0, size), true);
            socket_.send_to(asio::buffer(answer), client);
        }
    }
    // A question a connection; one that brings none is the last.
    void serve_tcp() {
        for (;;) {
            tcp::socket client = acceptor_.accept();
            std::array<unsigned char, 2> size{};
            boost::system::error_code none;
            asio::read(client, asio::buffer(size), none);
            if (none) return;
            std::string query(static_cast<std::size_t>(size[0]) << 8U | size[1], '\0');
            asio::read(client, asio::buffer(query));
            const std::string answer = answer_to(query, false);
            size = {static_cast<unsigned char>(answer.size() >> 8U),
                    static_cast<unsigned char>(answer.size() & 255U)};
            asio::write(client, std::array<asio::const_buffer, 2>{asio::buffer(size), asio::buffer(answer)});
        }
    }
    std::string answer_to(const std::string& query, bool udp) const {
        const std::size_t end = query.find('\0', 12) + 5;  // of the question: name, type, class
        std::string out = query.substr(0, end);
        out[2] = static_cast<char>(0x81);  // a response, RD
        out[3] = static_cast<char>(0x80);  // RA
        out[11] = 0;                       // no EDNS0
        for (const auto& [name, part] : parts_) {
            if (query.substr(12, end - 16) != wire_name(name)) continue;
            if (part.authentic) out[3] = static_cast<char>(0xA0);
            out[3] = static_cast<char>(out[3] | part.rcode);
            if (part.rcode != 0) return out;
            if (udp && part.truncated) {
                out[2] = static_cast<char>(0x83);  // TC
                out[7] = 1;
                add(out, part);
                return out;
            }
            out[part.type == type_soa ? 9 : 7] = static_cast<char>(part.times);
            for (int i = 0; i < part.times; ++i) add(out, part);
        }
        return out;
    }
    static void add(std::string& out, const Part& part) {
        out += "\xC0\x0C\0"s + static_cast<char>(part.type) + "\0\1"s;
        for (const int shift : {24, 16, 8, 0})
            out += static_cast<char>(part.ttl >> static_cast<unsigned>(shift));
        out += '\0';
        out += static_cast<char>(part.data.size());
        out += part.data;
    }

    std::map<std::string, Part> parts_;
    std::atomic<int> asked_ = 0;
    asio::io_context context_;
    udp::socket socket_{context_};
    tcp::acceptor acceptor_{context_};
    std::thread by_udp_;
    std::thread by_tcp_;
};

struct ChainRow {
    const char* name;
    std::vector<bool> authentic;  // each of the parts, the last one with the records
    bool whole;
};

class AnswerInParts : public ::testing::TestWithParam<ChainRow> {};

// RFC 7672 §2.1.1: DNSSEC vouches for an answer only where it vouches for each link that leads to it.
TEST_P(AnswerInParts, IsAuthenticOnlyIfEachPartIs) {
    const std::vector<bool>& authentic = GetParam().authentic;
    std::map<std::string, Part> parts;
    const auto name = [](std::size_t n) { return "n" + std::to_string(n) + ".example"; };
    for (std::size_t n = 0; n + 1 < authentic.size(); ++n)
        parts[name(n)] = {authentic[n], type_cname, wire_name(name(n + 1))};
    parts[name(authentic.size() - 1)] = {authentic.back(), type_a, "\xC0\0\2\1"s};
    const OneRecordServer server(std::move(parts));

    fake::IoLoop loop;
    const SystemClock clock;
    fake::SeededRandom random(1);
    ResolverOptions options;
    options.servers = {server.address()};
    options.trusted = true;
    LdnsResolver resolver(loop.context().get_executor(), options, clock, random);
    const auto answer = loop.run(resolver.a(Domain::parse(name(0)).value()));
    ASSERT_TRUE(answer) << answer.error().text;
    EXPECT_EQ(answer->existence, Existence::found);
    EXPECT_EQ(answer->canonical, name(authentic.size() - 1));
    EXPECT_EQ(answer->records, std::vector{Address::v4({192, 0, 2, 1})});
    EXPECT_EQ(answer->authentic, GetParam().whole);
}

INSTANTIATE_TEST_SUITE_P(Chains, AnswerInParts,
                         ::testing::Values(ChainRow{"OneSigned", {true}, true},
                                           ChainRow{"OneUnsigned", {false}, false},
                                           ChainRow{"BothSigned", {true, true}, true},
                                           ChainRow{"OnlyTheLastSigned", {false, true}, false},
                                           ChainRow{"OnlyTheFirstSigned", {true, false}, false},
                                           ChainRow{"ThreeSigned", {true, true, true}, true},
                                           ChainRow{"TheFirstOfThreeUnsigned", {false, true, true}, false},
                                           ChainRow{"TheMiddleOneUnsigned", {true, false, true}, false},
                                           ChainRow{"TheLastOfThreeUnsigned", {true, true, false}, false}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Resolver, BelievesNoDnssecOfServersThatAreNotTrusted) {
    const OneRecordServer server({{"n0.example", {true, type_a, "\xC0\0\2\1"s}}});
    fake::IoLoop loop;
    const SystemClock clock;
    fake::SeededRandom random(1);
    ResolverOptions options;
    options.servers = {server.address()};
    options.trusted = false;
    LdnsResolver resolver(loop.context().get_executor(), options, clock, random);
    const auto answer = loop.run(resolver.a(Domain::parse("n0.example").value()));
    ASSERT_TRUE(answer) << answer.error().text;
    EXPECT_EQ(answer->records.size(), 1U);
    EXPECT_FALSE(answer->authentic);
}

TEST(Resolver, SaysHowManyRecordsItLeftOutAndCutsNoTextsOfProtocols) {  // D-46
    const OneRecordServer server({{"n0.example", {false, type_tlsa, "\3\1\1\7"s, 100}},
                                  {"n1.example", {false, type_txt, "\7v=STSv1"s, 64}},
                                  {"n2.example", {false, type_txt, "\7v=STSv1"s, 65}}});
    fake::IoLoop loop;
    const SystemClock clock;
    fake::SeededRandom random(1);
    ResolverOptions options;
    options.servers = {server.address()};
    LdnsResolver resolver(loop.context().get_executor(), options, clock, random);
    const auto certificates = loop.run(resolver.tlsa(Domain::parse("n0.example").value()));
    ASSERT_TRUE(certificates) << certificates.error().text;
    EXPECT_EQ(certificates->records.size(), max_records);
    EXPECT_EQ(certificates->left_out, 36U);
    const auto texts = loop.run(resolver.txt(Domain::parse("n1.example").value()));
    ASSERT_TRUE(texts) << texts.error().text;
    EXPECT_EQ(texts->records.size(), 64U);
    const auto too_many = loop.run(resolver.txt(Domain::parse("n2.example").value()));
    ASSERT_FALSE(too_many);
    EXPECT_EQ(too_many.error().code, Errc::temporary);
    EXPECT_NE(too_many.error().text.find("n2.example has 65 TXT records"), std::string::npos)
        << too_many.error().text;
}

TEST(Resolver, AsksByTcpForWhatUdpDoesNotHold) {  // RFC 7766 §5
    const OneRecordServer server({{"n0.example", {false, type_tlsa, "\3\1\1\7"s, 3, 300, 0, true}}});
    fake::IoLoop loop;
    const SystemClock clock;
    fake::SeededRandom random(1);
    ResolverOptions options;
    options.servers = {server.address()};
    LdnsResolver resolver(loop.context().get_executor(), options, clock, random);
    const auto answer = loop.run(resolver.tlsa(Domain::parse("n0.example").value()));
    ASSERT_TRUE(answer) << answer.error().text;
    EXPECT_EQ(answer->records.size(), 3U) << "the truncated one has 1";
}

TEST(Resolver, AsksAllServersTwice) {
    const OneRecordServer one({{"n0.example", {false, type_a, "", 1, 300, 2}}});  // SERVFAIL
    const OneRecordServer two({{"n0.example", {false, type_a, "", 1, 300, 2}}});
    fake::IoLoop loop;
    const SystemClock clock;
    fake::SeededRandom random(1);
    int asked = 0;
    for (const unsigned rounds : {ResolverOptions().attempts, 1U}) {
        ResolverOptions options;
        options.servers = {one.address(), two.address()};
        options.attempts = rounds;
        LdnsResolver resolver(loop.context().get_executor(), options, clock, random);
        EXPECT_FALSE(loop.run(resolver.a(Domain::parse("n0.example").value())));
        EXPECT_EQ(one.asked() - asked, rounds == 1 ? 1 : 2);
        EXPECT_EQ(two.asked(), one.asked());
        asked = one.asked();
    }
}

TEST(Resolver, AsksForThePtrOfAnAddress) {
    const std::string six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    const OneRecordServer server({{"3.2.0.192.in-addr.arpa", {false, type_ptr, wire_name("relay.example")}},
                                  {six, {false, type_ptr, wire_name("six.example")}}});
    fake::IoLoop loop;
    const SystemClock clock;
    fake::SeededRandom random(1);
    ResolverOptions options;
    options.servers = {server.address()};
    LdnsResolver resolver(loop.context().get_executor(), options, clock, random);
    const auto name_of = [&](const char* address) {
        const auto answer = loop.run(resolver.ptr(Address::parse(address).value()));
        EXPECT_TRUE(answer);
        return answer && !answer->records.empty() ? answer->records.front().target : "none";
    };
    EXPECT_EQ(name_of("192.0.2.3"), "relay.example");
    EXPECT_EQ(name_of("2001:db8::1"), "six.example");
    EXPECT_EQ(name_of("192.0.2.4"), "none");
}

// A clock that runs ahead as it is told.
struct AheadClock final : Clock {
    WallTime wall() const override { return SystemClock().wall(); }
    SteadyTime steady() const override { return SystemClock().steady() + std::chrono::seconds(ahead.load()); }
    std::atomic<int> ahead = 0;
};

struct BelievedRow {
    const char* name;
    const char* asked;
    std::uint32_t ttl;
    int seconds;
};
class BelievedAnswer : public ::testing::TestWithParam<BelievedRow> {};

TEST_P(BelievedAnswer, IsAskedForAgainAfterItsTime) {
    const std::string soa =
        wire_name("ns.example") + wire_name("h.example") + std::string(16, '\0') + "\0\1\0\0"s;
    const OneRecordServer server({{"there.example", {false, type_a, "\xC0\0\2\1"s, 1, GetParam().ttl}},
                                  {"gone.example", {false, type_soa, soa, 1, GetParam().ttl}}});
    fake::IoLoop loop;
    AheadClock clock;
    fake::SeededRandom random(1);
    ResolverOptions options;
    options.servers = {server.address()};
    LdnsResolver resolver(loop.context().get_executor(), options, clock, random);
    const auto ask = [&] { return loop.run(resolver.a(Domain::parse(GetParam().asked).value())); };
    EXPECT_EQ(ask().value().ttl, std::chrono::seconds(GetParam().seconds));
    clock.ahead = GetParam().seconds - 30;
    ask();
    EXPECT_EQ(server.asked(), 1);
    clock.ahead = GetParam().seconds;
    ask();
    EXPECT_EQ(server.asked(), 2);
}

INSTANTIATE_TEST_SUITE_P(Of, BelievedAnswer,
                         ::testing::Values(BelievedRow{"AnHour", "there.example", 3600, 3600},
                                           BelievedRow{"AWeekIsADay", "there.example", 604'800, 86'400},
                                           BelievedRow{"NothingForAMinute", "gone.example", 60, 60},
                                           BelievedRow{"NothingForAnHourIsFiveMinutes", "gone.example", 3600,
                                                       300}),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace sternpost::dns
