// Micro-benchmarks of what every message or every reply goes through. Names say what one turn of the loop is.
#include <benchmark/benchmark.h>

#include "delivery/requirement.h"
#include "mail/header_filter.h"
#include "queue/core.h"
#include "smtp/data_reader.h"
#include "smtp/dotstuff.h"
#include "smtp/reply.h"
#include "smtp/server.h"
#include "store/journal/codec.h"
#include "util/crc32c.h"

namespace sternpost {
namespace {

using namespace std::chrono_literals;

/// The same octets in each run.
class FixedRandom : public Random {
  public:
    void fill(std::span<std::byte> octets) override {
        for (std::byte& octet : octets) {
            state_ = state_ * 6364136223846793005U + 1442695040888963407U;
            octet = static_cast<std::byte>(state_ >> 56U);
        }
    }

  private:
    std::uint64_t state_ = 1;
};

/// `size` octets of a message with an ordinary header.
std::string letter(std::size_t size) {
    std::string text =
        "Received: from client.example (client.example [192.0.2.7])\r\n\tby relay.example with ESMTPS id "
        "4Xk2;\r\n"
        "\tTue, 01 Sep 2026 12:00:00 +0000\r\n"
        "From: Alice <alice@example.com>\r\nTo: Bob <bob@example.net>\r\nSubject: minutes of the meeting\r\n"
        "Date: Tue, 01 Sep 2026 12:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\n";
    while (text.size() < size) text += "The quick brown fox jumps over the lazy dog, and then once more.\r\n";
    text.resize(size - 2);
    return text + "\r\n";
}

mail::ForwardPath path(std::string_view text) {
    return mail::ForwardPath::parse(text).value();
}

void one_reply(benchmark::State& state) {
    smtp::ReplyParser parser;
    for (auto _ : state) {
        parser.feed("250 2.1.5 recipient is fine\r\n");
        benchmark::DoNotOptimize(parser.next());
    }
}
BENCHMARK(one_reply);

void ehlo_reply(benchmark::State& state) {
    smtp::ReplyParser parser;
    for (auto _ : state) {
        parser.feed(
            "250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-STARTTLS\r\n"
            "250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8\r\n");
        benchmark::DoNotOptimize(parser.next());
    }
}
BENCHMARK(ehlo_reply);

/// The listener's core: MAIL, RCPT and RSET as they are pipelined, their checks, their replies.
void server_envelope(benchmark::State& state) {
    smtp::ServerOptions options;
    options.hostname = "relay.example";
    options.resolve_recipient = [](std::string_view text, bool utf8) {
        return mail::ForwardPath::parse(text, utf8);
    };
    smtp::Client client;
    client.address = dns::Address::parse("127.0.0.1").value();
    client.role = smtp::ClientRole::relay;
    smtp::Server server(options, client);
    // until it wants input again; nothing is to be waited for
    const auto drive = [&server] {
        for (;;) {
            const smtp::Action action = server.next();
            if (std::holds_alternative<smtp::action::NeedInput>(action)) break;
            if (std::holds_alternative<smtp::action::AskTransaction>(action)) {
                server.transaction(smtp::TransactionVerdict::go);
            } else if (std::holds_alternative<smtp::action::AskNextHop>(action)) {
                server.next_hop(smtp::NextHopKnowledge::usable_or_unknown);
            } else if (std::holds_alternative<smtp::action::Close>(action)) {
                std::fprintf(stderr, "the server closed: %s\n", server.output().c_str());
                std::abort();
            }
        }
        return server.output();
    };
    drive();
    server.feed("EHLO client.example\r\n");
    drive();
    for (auto _ : state) {
        server.feed("MAIL FROM:<alice@example.com> SIZE=4096\r\nRCPT TO:<bob@example.net>\r\nRSET\r\n");
        benchmark::DoNotOptimize(drive());
    }
}
BENCHMARK(server_envelope);

void data_reader(benchmark::State& state) {
    const std::string stream = letter(static_cast<std::size_t>(state.range(0))) + ".\r\n";
    std::string out;
    for (auto _ : state) {
        smtp::DataReader reader;
        out.clear();
        benchmark::DoNotOptimize(reader.feed(stream, out));
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(stream.size()));
}
BENCHMARK(data_reader)->Arg(4096)->Arg(65536);

void dot_stuffing(benchmark::State& state) {
    const std::string text = letter(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) {
        smtp::DotStuffer stuffer;
        benchmark::DoNotOptimize(stuffer.stuff(text));
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(dot_stuffing)->Arg(4096)->Arg(65536);

void header_filter(benchmark::State& state) {
    const std::string text = letter(static_cast<std::size_t>(state.range(0)));
    std::string out;
    for (auto _ : state) {
        mail::HeaderFilter filter;
        out.clear();
        filter.feed(text, out);
        filter.finish(out);
        benchmark::DoNotOptimize(out);
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(header_filter)->Arg(4096)->Arg(65536);

void body_checksum(benchmark::State& state) {
    const std::string text = letter(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) benchmark::DoNotOptimize(store::Body::of(text).crc);
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(body_checksum)->Arg(4096)->Arg(65536);

store::NewMessage new_message() {
    store::NewMessage message;
    message.id = {4711};
    message.arrived = WallTime(1'800'000'000s);
    message.envelope.reverse_path = mail::ReversePath::parse("alice@example.com").value();
    message.recipients.emplace_back(mail::Recipient(path("bob@example.net")), "example.net");
    message.origin.address = "192.0.2.7";
    message.origin.helo = "client.example";
    message.origin.with = "ESMTPS";
    message.body.size = 4096;
    return message;
}

void accept_record_encode(benchmark::State& state) {
    const store::NewMessage message = new_message();
    for (auto _ : state) benchmark::DoNotOptimize(store::encode(message));
}
BENCHMARK(accept_record_encode);

void accept_record_decode(benchmark::State& state) {
    const std::string fields = store::encode(new_message());
    if (!store::decode_message(fields)) state.SkipWithError("does not decode");
    for (auto _ : state) benchmark::DoNotOptimize(store::decode_message(fields));
}
BENCHMARK(accept_record_decode);

void result_record_encode(benchmark::State& state) {
    store::DeliveryResult result;
    result.message = {4711};
    result.state = store::RecipientState::sent;
    result.at = WallTime(1'800'000'000s);
    result.status = "2.0.0";
    result.text = "sent";
    result.diagnostic = "250 2.0.0 taken";
    result.mx_host = "mx.example.net[192.0.2.25]";
    result.mx_address = "192.0.2.25";
    result.tls = "TLSv1.3";
    result.policy = "sts/enforce";
    for (auto _ : state) benchmark::DoNotOptimize(store::encode(result));
}
BENCHMARK(result_record_encode);

/// A message's whole way through the queue's core, with range(0) others asleep in it.
void queue_add_take_finish(benchmark::State& state) {
    FixedRandom random;
    const queue::Now now{WallTime(1'800'000'000s), SteadyTime(1000s)};
    queue::Core core({}, random);
    store::StoredMessage message = store::StoredMessage::of(new_message());
    std::uint64_t id = 0;
    const auto add = [&](WallTime due, const std::string& hop) {
        message.id = {++id};
        message.arrived = now.wall;
        message.recipients.front().next_at = due;
        message.recipients.front().address.next_hop = hop;
        core.window().add(message, now);
    };
    for (std::int64_t i = 0; i < state.range(0); ++i) add(now.wall + 1h, "asleep.example");
    for (auto _ : state) {
        add(now.wall, "example.net");
        const auto work = core.take("example.net", now);
        if (!work) {
            state.SkipWithError("nothing was due");
            break;
        }
        queue::RecipientResult fate;
        fate.result.state = store::RecipientState::sent;
        fate.result.status = "2.0.0";
        std::vector<queue::RecipientResult> fates;
        fates.push_back(std::move(fate));
        core.window().recorded(core.finished(*work, std::move(fates), now), now);
    }
}
BENCHMARK(queue_add_take_finish)->Arg(0)->Arg(100000);

/// May this session, under an enforced policy, carry the message?
void decide_sts(benchmark::State& state) {
    const auto domain = [](std::string_view text) { return dns::Domain::parse(text).value(); };
    delivery::StsDemand sts{
        dns::PolicyDomain(domain("example.net")),
        sts::Policy::parse("version: STSv1\nmode: enforce\nmx: *.mail.example.net\nmax_age: 86400\n").value(),
        "20260901", "as served"};
    delivery::Requirement requirement;
    requirement.domain = "example.net";
    requirement.host = dns::MxHost(domain("mx1.mail.example.net"));
    requirement.sts = std::move(sts);
    tls::Evidence evidence;
    evidence.encrypted = true;
    evidence.version = "TLSv1.3";
    evidence.has_certificate = true;
    evidence.name_matches = true;
    const auto observation = delivery::Observation::of_session(evidence);
    if (!delivery::decide(requirement, observation).go) state.SkipWithError("the session ought to do");
    for (auto _ : state) benchmark::DoNotOptimize(delivery::decide(requirement, observation));
}
BENCHMARK(decide_sts);

}  // namespace
}  // namespace sternpost

BENCHMARK_MAIN();
