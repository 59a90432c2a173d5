#include "dns/message.h"

#include <gtest/gtest.h>

namespace sternpost::dns {
namespace {

using namespace std::string_literals;

const std::string own = "\xC0\x0C"s;  // a pointer to the question's name

Octets question(Type type) {
    return make_query(Domain::parse("mail.example.com").value(), type, 0x1267, false).value();
}

// The response to question(type) with `answers` records in `octets`.
Octets response(Type type, std::uint8_t answers, const std::string& octets) {
    Octets out = question(type);
    out[2] |= 0x80U;
    out[7] = answers;
    out.insert(out.end(), octets.begin(), octets.end());
    return out;
}

// Behind its owner a record has type, class IN, TTL and data.
std::string record(const std::string& owner, Type type, std::uint32_t ttl, const std::string& data) {
    std::string out = owner;
    for (const unsigned n : {0U, static_cast<unsigned>(type), 0U, 1U, ttl >> 24U, ttl >> 16U, ttl >> 8U, ttl})
        out += static_cast<char>(n & 0xFFU);
    out += static_cast<char>(data.size() >> 8U);
    out += static_cast<char>(data.size() & 0xFFU);
    return out + data;
}

template <class Record>
Reading<Record> read(Type type, std::uint8_t answers, const std::string& octets) {
    return read_response<Record>(response(type, answers, octets), "mail.example.com", type).value();
}

TEST(DnsResponse, BelongsToItsQuestionAlone) {
    const Octets query = question(type_tlsa);
    const Octets right = response(type_tlsa, 0, "");
    EXPECT_TRUE(read_header(right, query));
    Octets other_id = right;
    other_id[1] ^= 1U;
    EXPECT_FALSE(read_header(other_id, query));
    EXPECT_FALSE(read_header(query, query)) << "a question is no answer";
    EXPECT_FALSE(read_header(response(type_txt, 0, ""), query));
    Octets other_name = right;
    other_name[13] = 'n';
    EXPECT_FALSE(read_header(other_name, query));
    Octets capitals = right;  // some servers change the case of letters
    capitals[13] = 'M';
    EXPECT_TRUE(read_header(capitals, query));
    EXPECT_FALSE(read_header(Octets(right.begin(), right.end() - 1), query));
}

TEST(DnsResponse, SaysWhetherItFailedOrWasCut) {
    const Octets query = question(type_a);
    Octets wire = response(type_a, 0, "");
    const auto say = [&](unsigned rcode) { wire[3] = static_cast<std::uint8_t>((wire[3] & 0xF0U) | rcode); };
    EXPECT_TRUE(read_header(wire, query)->settles);
    EXPECT_FALSE(read_header(wire, query)->truncated);
    wire[2] |= 0x02U;
    say(2);
    EXPECT_TRUE(read_header(wire, query)->truncated);
    EXPECT_FALSE(read_header(wire, query)->settles);
    EXPECT_EQ(read_header(wire, query)->rcode, "SERVFAIL");
    say(3);
    EXPECT_TRUE(read_header(wire, query)->settles) << "NXDOMAIN";
    say(4);
    EXPECT_TRUE(read_header(wire, query)->no_edns) << "NOTIMP";
    EXPECT_FALSE(read_header(wire, query)->settles);
    say(5);
    EXPECT_EQ(read_header(wire, query)->rcode, "REFUSED");
    EXPECT_FALSE(read_header(wire, query)->settles);
}

TEST(DnsResponse, JoinsTheStringsOfATextAsTheyAre) {  // STS-06
    EXPECT_EQ(read<std::string>(type_txt, 1, record(own, type_txt, 300, "\4v=ST\6Sv1;\"\xFF"s)).records,
              std::vector<std::string>{"v=STSv1;\"\xFF"});
}

TEST(DnsResponse, FollowsAliasesInAnyOrder) {
    const std::string alias = record(own, type_cname, 60, "\1B\7example\0"s);
    const std::string there = record("\1b\7example\0"s, type_mx, 300, "\0\x0A\2MX\1b\7example\0"s);
    for (const auto& octets : {alias + there, there + alias}) {
        const auto reading = read<Mx>(type_mx, 2, octets);
        EXPECT_EQ(reading.records, (std::vector<Mx>{{10, "mx.b.example"}}));
        EXPECT_EQ(reading.end, "b.example");
        EXPECT_EQ(reading.ttl, 60U) << "the least counts";
        EXPECT_FALSE(reading.loop);
    }
    const auto endless = read<Mx>(type_mx, 1, record(own, type_cname, 60, own));
    EXPECT_TRUE(endless.loop);
    EXPECT_TRUE(endless.records.empty());
}

TEST(DnsChain, IsFollowedForTenLinksAlone) {  // D-46
    const auto chain = [](char links) {
        const auto name = [](char n) { return "\1"s + static_cast<char>('a' + n) + "\7example\0"s; };
        std::string out;
        for (char i = 0; i < links; ++i)
            out += record(i == 0 ? own : name(i), type_cname, 60, name(static_cast<char>(i + 1)));
        out += record(name(links), type_a, 60, "\xC0\0\2\1"s);
        return read<Address>(type_a, static_cast<std::uint8_t>(links + 1), out);
    };
    EXPECT_EQ(chain(10).links, 10);
    EXPECT_EQ(chain(10).records.size(), 1U);
    EXPECT_FALSE(chain(10).loop);
    EXPECT_TRUE(chain(11).loop);
    EXPECT_TRUE(chain(11).records.empty());
}

// A name of one label below the name that was asked for.
std::string below(const std::string& label) {
    return static_cast<char>(label.size()) + label + own;
}

TEST(DnsAnswer, HasTheBestOfManyMxRecordsAndSaysHowManyItLacks) {  // D-46
    std::string octets;
    for (int i = 0; i < 50; ++i)  // no host, though the best
        octets += record(own, type_mx, 300, "\0\0"s + below("192.0.2." + std::to_string(i)));
    for (int i = 0; i < 200; ++i)
        octets +=
            record(own, type_mx, 300, "\0"s + static_cast<char>(250 - i) + below("h" + std::to_string(i)));
    const auto many = read<Mx>(type_mx, 250, octets);
    ASSERT_EQ(many.records.size(), max_records);
    EXPECT_EQ(many.records.front(), (Mx{51, "h199.mail.example.com"}));
    EXPECT_EQ(many.records.back(), (Mx{114, "h136.mail.example.com"}));
    EXPECT_EQ(many.left_out, 136U);
}

TEST(DnsAnswer, LacksNothingWhereOnlyUnusableMxRecordsAreLeftOut) {  // D-46
    std::string octets;
    for (int i = 0; i < 99; ++i) octets += record(own, type_mx, 300, "\0\0"s + below("a b"));
    octets += record(own, type_mx, 300, "\0\x0A"s + below("mx"));
    const auto reading = read<Mx>(type_mx, 100, octets);
    EXPECT_EQ(reading.records.size(), max_records);
    EXPECT_EQ(reading.records.front().exchange, "mx.mail.example.com");
    EXPECT_EQ(reading.left_out, 0U);
}

TEST(DnsAnswer, HasTheTextsWithAVersionAmongMany) {  // D-46: a wildcard gives all that its owner publishes
    std::string octets;
    for (int i = 0; i < 100; ++i)
        octets += record(own, type_txt, 300, "\7token="s + static_cast<char>('0' + i % 10));
    octets += record(own, type_txt, 300, "\x0Ev=STSv1; id=1;"s);
    octets += record(own, type_txt, 300, "\x0Ev=STSv1; id=2;"s);
    const auto reading = read<std::string>(type_txt, 102, octets);
    ASSERT_EQ(reading.records.size(), max_records);
    EXPECT_EQ(reading.records[0], "v=STSv1; id=1;");
    EXPECT_EQ(reading.records[1], "v=STSv1; id=2;");
    EXPECT_EQ(reading.records[2], "token=0");
    EXPECT_EQ(reading.left_out, 0U);
}

TEST(DnsAnswer, SaysHowManyAddressesAndTlsaRecordsItLacks) {  // D-46
    std::string addresses;
    std::string certificates;
    for (int i = 0; i < 65; ++i) {
        addresses += record(own, type_a, 300, "\xC0\0\2"s + static_cast<char>(i));
        certificates += record(own, type_tlsa, 300, "\3\1\1"s + static_cast<char>(i));
    }
    const auto of_host = read<Address>(type_a, 65, addresses);
    EXPECT_EQ(of_host.records.size(), max_records);
    EXPECT_EQ(of_host.records.front(), Address::v4({192, 0, 2, 0}));
    EXPECT_EQ(of_host.left_out, 1U);
    const auto of_service = read<Tlsa>(type_tlsa, 65, certificates);
    EXPECT_EQ(of_service.records.size(), max_records);
    EXPECT_EQ(of_service.left_out, 1U);
    EXPECT_EQ(read<Tlsa>(type_tlsa, 64, certificates.substr(0, certificates.size() / 65 * 64)).left_out, 0U);
}

TEST(DnsResponse, OnlyRecordsOfTheNameCount) {
    EXPECT_TRUE(read<Address>(type_a, 1, record("\3www\7example\3com\0"s, type_a, 300, "\xC0\0\2\1"s))
                    .records.empty());
    EXPECT_EQ(read<Address>(type_a, 1, record(own, type_a, 300, "\xC0\0\2\1"s)).records,
              std::vector{Address::v4({192, 0, 2, 1})});
}

TEST(DnsTtl, OfWhatIsNotThereIsTheLesserOfTwo) {  // RFC 2308 §5
    const auto ttl = [](std::uint32_t of_record, std::uint32_t minimum) {
        std::string data = "\0\0"s + std::string(16, '\0');
        for (const unsigned shift : {24U, 16U, 8U, 0U}) data += static_cast<char>((minimum >> shift) & 0xFFU);
        Octets wire =
            response(type_mx, 0, record("\7example\3com\0"s, static_cast<Type>(6), of_record, data));
        wire[9] = 1;  // it stands in the authority section
        return read_response<Mx>(wire, "mail.example.com", type_mx)->negative_ttl;
    };
    EXPECT_EQ(ttl(60, 3600), 60U);
    EXPECT_EQ(ttl(3600, 60), 60U);
    EXPECT_EQ(read<Mx>(type_mx, 0, "").negative_ttl, 0U);
}

TEST(DnsTtl, OfThirtyTwoBitsIsNone) {
    const auto ttl = [](std::uint32_t seconds) {
        return read<Address>(type_a, 1, record(own, type_a, seconds, "\xC0\0\2\1"s)).ttl;
    };
    EXPECT_EQ(ttl(0x7FFFFFFF), 0x7FFFFFFFU);
    EXPECT_EQ(ttl(0x80000000), 0U);
    EXPECT_EQ(ttl(0xFFFFFFFF), 0U);
}

TEST(DnsResponse, ThatIsNoMessageIsNotRead) {
    EXPECT_FALSE(read_response<Tlsa>({0x12, 0x67, 0x81}, "mail.example.com", type_tlsa));
}

}  // namespace
}  // namespace sternpost::dns
