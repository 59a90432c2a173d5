#include "dns/resolv_conf.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

namespace sternpost::dns {
namespace {

using namespace std::chrono_literals;

TEST(ResolvConf, NamesTheServersOfItsLines) {
    const auto servers = parse_resolv_conf(
        "# nameserver 192.0.2.9\nnameserver 192.0.2.1\noptions edns0\n"
        "nameserver 2001:db8::1\nnameserver not-an-address\nnameserver\n");
    ASSERT_EQ(servers.size(), 2U);
    EXPECT_EQ(servers[0].text(), "192.0.2.1:53");
    EXPECT_EQ(servers[1].text(), "[2001:db8::1]:53");
}

TEST(Server, IsAnAddressWithAPortOrWithout) {
    EXPECT_EQ(Server::parse("127.0.0.1").value().text(), "127.0.0.1:53");
    EXPECT_EQ(Server::parse("127.0.0.1:5353").value().text(), "127.0.0.1:5353");
    EXPECT_EQ(Server::parse("::1").value().text(), "[::1]:53");
    EXPECT_EQ(Server::parse("[::1]:5353").value().text(), "[::1]:5353");
    for (const char* bad :
         {"", "localhost", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "[::1", "[::1]5353"})
        EXPECT_FALSE(Server::parse(bad)) << bad;
}

TEST(TrustedPath, IsLoopbackWithoutForwarders) {  // DANE-01
    const auto trusted = [](std::vector<const char*> texts) {
        std::vector<Server> servers;
        for (const char* text : texts) servers.push_back(Server::parse(text).value());
        return on_trusted_path(servers);
    };
    EXPECT_TRUE(trusted({"127.0.0.1"}));
    EXPECT_TRUE(trusted({"127.0.0.1", "::1"}));
    EXPECT_FALSE(trusted({"127.0.0.53"}));
    EXPECT_FALSE(trusted({"127.0.0.11"}));
    EXPECT_FALSE(trusted({"127.0.0.1", "192.0.2.1"})) << "falling over to another must not strip DANE";
    EXPECT_FALSE(trusted({}));
}

TEST(Servers, AreReadAgainWhenTheFileChanges) {
    std::string folder = testing::TempDir() + "resolv_conf_XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    const std::filesystem::path path = folder + "/resolv.conf";
    const auto write = [&](const char* text, std::chrono::seconds age) {
        std::ofstream(path) << text;
        std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() - age);
    };
    write("nameserver 192.0.2.1\n", 60s);
    Servers servers({}, path);
    EXPECT_EQ(servers.current(SteadyTime(100s)).at(0).text(), "192.0.2.1:53");
    write("nameserver 192.0.2.2\n", 30s);
    EXPECT_EQ(servers.current(SteadyTime(100s) + 500ms).at(0).text(), "192.0.2.1:53")
        << "at most once a second";
    EXPECT_EQ(servers.current(SteadyTime(102s)).at(0).text(), "192.0.2.2:53");
    std::filesystem::remove_all(folder);
    EXPECT_EQ(Servers({}, path).current(SteadyTime(1s)).at(0).text(), "127.0.0.1:53");
    EXPECT_EQ(Servers({Server::parse("192.0.2.7").value()}, path).current(SteadyTime(1s)).at(0).text(),
              "192.0.2.7:53");
}

}  // namespace
}  // namespace sternpost::dns
