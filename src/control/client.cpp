#include "control/client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "util/file.h"

namespace sternpost::control {

std::optional<Answer> ask(const std::string& path, const json::object& request, std::chrono::seconds timeout,
                          const std::function<void(const json::object& so_far)>& progress,
                          const std::function<void(json::object part)>& part, std::size_t most) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return std::nullopt;
    std::memcpy(address.sun_path, path.data(), path.size());
    const util::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{timeout.count(), 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return std::nullopt;
    const std::string line = json::serialize(request) + "\n";
    for (std::size_t sent = 0; sent < line.size();) {
        const ssize_t put = ::send(fd.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
        if (put <= 0) return std::nullopt;
        sent += static_cast<std::size_t>(put);
    }
    std::string answer;
    json::object parts;
    char chunk[65536];
    std::size_t kept = 0;  // octets of the parts that are put together
    for (;;) {
        const ssize_t got = ::recv(fd.get(), chunk, sizeof chunk, 0);
        if (got <= 0) break;
        answer.append(chunk, static_cast<std::size_t>(got));
        // Lines that say how far it is or bring a part, and one that is the answer: nothing comes behind
        // that.
        while (answer.starts_with(progress_begin) || answer.starts_with(part_begin)) {
            const auto end = answer.find('\n');
            if (end == std::string::npos) break;
            const std::string_view one = std::string_view(answer).substr(0, end);
            if (const auto so_far = progress_of(one); so_far && progress) progress(*so_far);
            auto piece = part_of(one);
            if (piece && part)
                part(std::move(*piece));
            else if (piece) {
                kept += end + 1;
                for (auto& [key, value] : *piece) {
                    json::value& all = parts[key];
                    if (!all.is_array()) all = json::array();
                    if (value.is_array())
                        for (auto& item : value.as_array()) all.as_array().push_back(std::move(item));
                }
            }
            answer.erase(0, end + 1);
        }
        if (answer.size() + kept > most) break;
        if (!answer.empty() && answer.back() == '\n') {
            Answer out = answer_of(answer);
            join_parts(out.data, std::move(parts));
            return out;
        }
    }
    if (answer.size() + kept > most)
        return Answer{
            ExitCode::unavailable,
            fmt::format("the daemon's answer is longer than the {} octets that this command takes", most),
            {}};
    return Answer{ExitCode::unavailable, "the daemon did not answer in time", {}};
}

}  // namespace sternpost::control
