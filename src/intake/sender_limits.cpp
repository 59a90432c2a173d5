#include "intake/sender_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace sternpost::intake {
namespace {

constexpr std::size_t most_senders = 10'000;  // ours: beyond, those who have all they may are forgotten
constexpr auto told_again = std::chrono::minutes(10);  // ours

double parts(SteadyTime::duration time, std::chrono::seconds whole) {
    return std::chrono::duration<double>(time).count() / static_cast<double>(whole.count());
}

std::string in_words(double seconds) {
    const auto whole = static_cast<long>(std::ceil(std::max(seconds, 1.0)));
    return whole < 120 ? fmt::format("{} seconds", whole) : fmt::format("{} minutes", (whole + 59) / 60);
}

template <class Matches>
SenderLimit limit_of(const SenderLimit& usual, const std::vector<SenderRule>& rules, Matches matches) {
    std::optional<unsigned> messages;
    std::optional<unsigned> recipients;
    for (const auto& rule : rules) {
        if (!matches(rule)) continue;
        if (!messages) messages = rule.messages_per_minute;
        if (!recipients) recipients = rule.recipients_per_hour;
    }
    return {messages.value_or(usual.messages_per_minute), recipients.value_or(usual.recipients_per_hour)};
}

}  // namespace

std::optional<SenderRule> SenderRule::parse_match(std::string_view text) {
    constexpr std::string_view user_prefix = "user:";
    SenderRule out;
    if (text.starts_with(user_prefix)) {
        out.user = text.substr(user_prefix.size());
        if (out.user.empty()) return std::nullopt;
        return out;
    }
    auto network = dns::Network::parse(text);
    if (!network) return std::nullopt;
    out.network = *network;
    return out;
}

Sender SenderLimits::client(const dns::Address& address) const {
    const dns::Network client = dns::Network::of_client(address);
    return {address.is_v6() ? client.text() : address.text(),
            limit_of(usual_, rules_, [&](const SenderRule& rule) {
                return rule.network && rule.network->contains(address);
            })};
}

Sender SenderLimits::user(std::uint32_t uid, const std::string& login) const {
    const std::string digits = std::to_string(uid);
    return {login.empty() ? "uid " + digits : fmt::format("{} (uid {})", login, digits),
            limit_of(usual_, rules_, [&](const SenderRule& rule) {
                return !rule.user.empty() && (rule.user == login || rule.user == digits);
            })};
}

// Its buckets, filled up to now.
SenderLimits::State& SenderLimits::state(const Sender& sender, SteadyTime now) {
    if (states_.size() >= most_senders && !states_.contains(sender.name)) forget(now);
    const double messages = sender.limit.messages_per_minute;
    const double recipients = sender.limit.recipients_per_hour;
    const auto [at, fresh] = states_.try_emplace(sender.name, State{messages, recipients, now, {}});
    State& state = at->second;
    const auto passed = now - std::exchange(state.counted, now);
    state.messages = std::min(messages, state.messages + messages * parts(passed, std::chrono::minutes(1)));
    state.recipients =
        std::min(recipients, state.recipients + recipients * parts(passed, std::chrono::hours(1)));
    return state;
}

// Those who come as if for the first time; should there be none, all: memory has an end.
void SenderLimits::forget(SteadyTime now) {
    std::erase_if(states_,
                  [now](const auto& one) { return now - one.second.counted >= std::chrono::hours(1); });
    if (states_.size() >= most_senders) states_.clear();
}

std::optional<SenderLimits::Refusal> SenderLimits::message(const Sender& sender, SteadyTime now) {
    if (sender.limit.none()) return std::nullopt;
    State& state = this->state(sender, now);
    Refusal out;
    if (sender.limit.messages_per_minute > 0 && state.messages < 1) {
        out.why = fmt::format("{} has sent as many messages as it may in a minute, {}; try again in {}",
                              sender.name, sender.limit.messages_per_minute,
                              in_words((1 - state.messages) * 60 / sender.limit.messages_per_minute));
    } else if (sender.limit.recipients_per_hour > 0 && state.recipients < 1) {
        out.why = fmt::format("{} has sent to as many recipients as it may in an hour, {}; try again in {}",
                              sender.name, sender.limit.recipients_per_hour,
                              in_words((1 - state.recipients) * 3600 / sender.limit.recipients_per_hour));
    } else {
        state.messages -= 1;
        return std::nullopt;
    }
    out.first = !state.told || now - *state.told >= told_again;
    if (out.first) state.told = now;
    return out;
}

void SenderLimits::accepted(const Sender& sender, std::size_t recipients, SteadyTime now) {
    if (sender.limit.recipients_per_hour == 0) return;
    state(sender, now).recipients -= static_cast<double>(recipients);
}

}  // namespace sternpost::intake
