#include "maildrop.h"

#include "local/drop_folder.h"
#include "store/journal/journal.h"
#include "util/call.h"
#include "util/crc32c.h"

namespace sternpost::simulation {
namespace {

constexpr std::string_view folder = "maildrop";

std::string path_of(const std::string& name) {
    return std::string(folder) + '/' + name;
}

// The record that sendmail writes (doc/local-submission.md).
std::string record_of(const Letter& letter, const store::SubmissionId& id) {
    local::Submission submission;
    submission.id = id;
    submission.reverse_path = letter.reverse_path;
    submission.notify.never = letter.notify_never;
    submission.requiretls = letter.requiretls;
    submission.recipients = letter.recipients;
    submission.octets = letter.octets.size();
    std::string out = local::encode_head(submission) + letter.octets;
    return out + local::encode_end(crc32c(out));
}

}  // namespace

Maildrop::Maildrop(Oracle& oracle, Trace& trace, fake::SimDisk& disk)
    : oracle_(oracle), trace_(trace), disk_(disk) {
    options_.hostname = "relay.example";
    options_.resolve_recipient = [](std::string_view text, bool utf8) {
        return mail::ForwardPath::parse(text, utf8);
    };
    options_.user_name = [](std::uint32_t) { return std::string("user"); };
    (void)disk_.make_dir(folder);
}

bool Maildrop::leave(const Letter& letter, Random& random) {
    const auto id = store::SubmissionId::make(random);
    letters_.emplace(id.text(), letter.name);
    oracle_.submitted(letter);
    const std::string temporary = path_of("tmp-" + id.text());
    const auto file = disk_.open(temporary, store::OpenMode::create_new);
    const bool kept = file && (*file)->write(0, record_of(letter, id)) && (*file)->sync() &&
                      disk_.rename(temporary, path_of(id.text())) && disk_.sync_dir(folder);
    trace_.step("{} is {} in the maildrop as {}", letter.name, kept ? "left" : "not left", id.text());
    if (kept) oracle_.acknowledged(letter.name);
    return kept;
}

asio::awaitable<void> Maildrop::take_all(Process& process, const Clock& clock) {
    if (looking_) co_return;
    looking_ = true;
    struct Looking {
        bool& flag;
        ~Looking() { flag = false; }
    };
    const Looking looking{looking_};
    auto names = process.disk().list(folder);
    if (!names) co_return;
    for (const std::string& name : *names) {
        if (local::drop_name(name) != local::DropName::record) continue;
        const bool taken = co_await take(process, clock, name);
        if (taken) (void)process.disk().unlink(path_of(name));
    }
    // Should a crash undo an unlink, the store knows the submission's id and the file goes at the next look.
    (void)process.disk().sync_dir(folder);
}

asio::awaitable<bool> Maildrop::take(Process& process, const Clock& clock, std::string name) {
    const auto octets = store::read_all(process.disk(), path_of(name));
    if (!octets) co_return false;
    local::RecordIntake intake(options_, process.store(), 1000, process.ids().next(), clock.wall());
    for (std::size_t at = 0; at < octets->size(); at += 50'000)
        if (!intake.feed(std::string_view(*octets).substr(at, 50'000))) co_return false;
    if (!intake.complete()) co_return true;  // never acknowledged: its writer died
    auto message = intake.finish();
    if (!message) co_return false;
    oracle_.given(*message, letters_.at(name));
    auto accept = [&process,
                   given = std::move(*message)](Completion<store::Result<store::MessageId>> reply) mutable {
        process.store().accept(std::move(given), std::move(reply));
    };
    const auto done = co_await call<store::Result<store::MessageId>>(std::move(accept));
    const bool known = !done && done.error().code == store::Errc::duplicate;
    trace_.step("{} is taken from the maildrop: {}", name, done ? "accepted" : done.error().text);
    co_return done || known;
}

bool Maildrop::empty() {
    const auto names = disk_.list(folder);
    if (!names) return false;
    for (const std::string& name : *names)
        if (local::drop_name(name) == local::DropName::record) return false;
    return true;
}

}  // namespace sternpost::simulation
