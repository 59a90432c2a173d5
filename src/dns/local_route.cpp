#include "dns/local_route.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "util/file.h"

namespace sternpost::dns {
namespace {

struct Question {
    nlmsghdr header;
    rtmsg route;
    rtattr attribute;
    std::array<std::uint8_t, 16> address;
};

}  // namespace

bool is_local_route(const Address& address) {
    const util::Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (socket.get() < 0) return false;
    const auto octets = address.octets();
    Question question{};
    const std::size_t length = offsetof(Question, address) + octets.size();
    question.header.nlmsg_len = static_cast<std::uint32_t>(length);
    question.header.nlmsg_type = RTM_GETROUTE;
    question.header.nlmsg_flags = NLM_F_REQUEST;
    question.header.nlmsg_seq = 1;
    question.route.rtm_family = address.is_v6() ? AF_INET6 : AF_INET;
    question.route.rtm_dst_len = static_cast<unsigned char>(octets.size() * 8);
    question.attribute.rta_type = RTA_DST;
    question.attribute.rta_len = static_cast<unsigned short>(RTA_LENGTH(octets.size()));
    std::memcpy(question.address.data(), octets.data(), octets.size());
    if (::send(socket.get(), &question, length, 0) < 0) return false;
    alignas(nlmsghdr) std::array<char, 8192> answer{};
    // The kernel answers before send() returns, so this never waits.
    const auto got = ::recv(socket.get(), answer.data(), answer.size(), MSG_DONTWAIT);
    if (got < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(rtmsg))) return false;
    nlmsghdr header{};
    std::memcpy(&header, answer.data(), sizeof header);
    if (header.nlmsg_type != RTM_NEWROUTE) return false;
    rtmsg route{};
    std::memcpy(&route, answer.data() + NLMSG_HDRLEN, sizeof route);
    return route.rtm_type == RTN_LOCAL || route.rtm_type == RTN_BROADCAST || route.rtm_type == RTN_ANYCAST;
}

}  // namespace sternpost::dns
