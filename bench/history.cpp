// Usage: bench-history FOLDER MESSAGES DAYS
// A history of MESSAGES over DAYS days: what writing it costs, what it takes on the disk, and how long it
// takes to find one recipient, one Message-ID and the latest mail of a sender in it.
#include "store/sqlite/history.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <vector>

#include "store/journal/disk.h"

namespace {

using namespace sternpost;
using namespace sternpost::store;

constexpr std::uint64_t senders = 1000;
constexpr std::uint64_t recipients = 1'000'000;

std::string recipient_of(std::uint64_t n) {
    return fmt::format("person{}@domain{}.example", n * 7919 % recipients, n % 5000);
}

JournalEntry accepted(std::uint64_t n, WallTime at) {
    NewMessage message;
    message.id = MessageId{MessageId::last_at(at).value};
    message.arrived = at;
    message.envelope.reverse_path =
        mail::ReversePath::parse(fmt::format("list{}@sender.example", n % senders)).value();
    message.envelope.message_id = fmt::format("<{:016x}.{}@sender.example>", n * 0x9e3779b97f4a7c15U, n);
    message.origin = {"192.0.2.1", "client.sender.example", "ESMTPS", std::nullopt};
    message.body.size = 4096;
    auto path = mail::ForwardPath::parse(recipient_of(n)).value();
    std::string hop = path.mailbox().host();
    message.recipients.emplace_back(mail::Recipient(std::move(path)), std::move(hop));
    return {2 * n + 1, {}, Accepted{std::move(message)}};
}

JournalEntry sent(std::uint64_t n, const JournalEntry& of, WallTime at) {
    DeliveryResult result;
    result.message = std::get<Accepted>(of.what).message.id;
    result.state = RecipientState::sent;
    result.at = at;
    result.status = "2.0.0";
    result.text = "250 2.0.0 Ok: queued as 4F3B21C0D5";
    result.mx_host = fmt::format("mx1.domain{}.example", n % 5000);
    result.mx_address = "198.51.100.7";
    result.tls = "TLSv1.3";
    result.policy = "sts/enforce";
    return {2 * n + 2, {}, std::move(result)};
}

double seconds_of(std::chrono::steady_clock::duration span) {
    return std::chrono::duration<double>(span).count();
}

void find(const sqlite::HistoryPlace& place, const char* what, std::string name) {
    HistoryFilter filter;
    filter.name = std::move(name);
    filter.limit = 101;
    filter.entry_limit = 100'000;
    const auto began = std::chrono::steady_clock::now();
    const auto history = sqlite::read_history(place, filter);
    const auto took = std::chrono::steady_clock::now() - began;
    fmt::print("{:<28} {:>7.1f} ms  {} message(s)\n", what, seconds_of(took) * 1000,
               history ? history->messages.size() : 0);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::cerr << "usage: bench-history FOLDER MESSAGES DAYS\n";
        return 64;
    }
    const std::string folder = argv[1];
    const std::uint64_t messages = std::strtoull(argv[2], nullptr, 10);
    const auto days = static_cast<std::int64_t>(std::strtoull(argv[3], nullptr, 10));
    std::filesystem::create_directories(folder);
    RealDisk disk(folder);
    const sqlite::HistoryPlace place = sqlite::HistoryPlace::beside(disk, {folder + "/queue.db", ""});
    const WallTime end(std::chrono::days(20'600));
    const WallTime begin = end - std::chrono::days(days);
    const auto step = (end - begin) / static_cast<std::int64_t>(messages);
    sqlite::HistoryFiles files(place, std::chrono::days(days + 2));
    constexpr std::uint64_t at_once = 1000;
    const auto began = std::chrono::steady_clock::now();
    const std::clock_t cpu = std::clock();
    for (std::uint64_t n = 0; n < messages; n += at_once) {
        std::vector<JournalEntry> entries;
        WallTime at{};
        for (std::uint64_t i = n; i < std::min(n + at_once, messages); ++i) {
            at = begin + step * static_cast<std::int64_t>(i);
            entries.push_back(accepted(i, at));
            entries.push_back(sent(i, entries.back(), at));
        }
        if (const auto done = files.apply(entries, at); !done) {
            std::cerr << done.error().text << '\n';
            return 1;
        }
        if (n / at_once % 100 == 0)
            if (const auto done = files.checkpoint(at); !done) {
                std::cerr << done.error().text << '\n';
                return 1;
            }
    }
    if (const auto done = files.checkpoint(end + std::chrono::days(2)); !done) return 1;
    const double spent = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
    std::uint64_t octets = 0;
    for (const auto& file : std::filesystem::directory_iterator(folder + "/history"))
        octets += std::filesystem::file_size(file);
    const auto count = static_cast<double>(messages);
    fmt::print("{} messages in {} days: {:.1f} s, {:.1f} us of CPU and {:.0f} octets a message\n", messages,
               days, seconds_of(std::chrono::steady_clock::now() - began), spent / count * 1e6,
               static_cast<double>(octets) / count);
    for (int again = 0; again < 2; ++again) {
        find(place, "a recipient", recipient_of(messages / 2));
        find(place, "no such recipient", "nobody@domain1.example");
        find(place, "a Message-ID",
             fmt::format("{:016x}.{}@sender.example", (messages / 3) * 0x9e3779b97f4a7c15U, messages / 3));
        find(place, "a sender's latest hundred", "list7@sender.example");
    }
    return 0;
}
