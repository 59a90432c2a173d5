#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "store/engine/damage.h"
#include "store/engine/layout.h"
#include "store/journal/body.h"
#include "store/journal/codec.h"
#include "store/journal/segment.h"
#include "store/open.h"
#include "store/sqlite/index_check.h"
#include "util/file.h"

namespace sternpost::store::engine {
namespace {

constexpr int looks_while_running = 3;       // ours: what stays wrong so often is wrong
constexpr std::size_t most_findings = 1000;  // ours: of one rule; the rest is counted
constexpr const char* index_repair =
    "queue.db is set aside as queue.db.damaged; the next start rebuilds it from the journal and holds all "
    "mail until it is released";

// One look at everything.
class Look {
  public:
    Look(Disk& disk, std::string state_dir) : disk_(disk), state_dir_(std::move(state_dir)) {}

    Result<SpoolReport> run(bool mend);

  private:
    void say(const std::string& rule, std::string text, std::string repair = "", bool repaired = false);
    Result<void> index(bool mend);
    Result<void> rows(sqlite::IndexCheck& check);
    Result<void> journal();
    void segment(std::uint64_t id, std::string_view octets, bool last);
    Result<void> files(bool mend);
    Result<void> history();

    Disk& disk_;
    std::string state_dir_;
    SpoolReport report_;
    sqlite::IndexContents wanted_;          // what was found of it is taken out
    std::set<std::string> bodies_to_come_;  // of records that the index has not read
    std::map<std::string, std::size_t> said_;
    std::map<std::string, SpoolFinding> more_;  // by rule, one for all beyond the limit
};

// Those beyond the limit are one finding, which is repaired when each of them is.
void Look::say(const std::string& rule, std::string text, std::string repair, bool repaired) {
    const std::size_t count = ++said_[rule];
    if (count <= most_findings) {
        report_.findings.push_back({rule, std::move(text), std::move(repair), repaired});
        return;
    }
    const auto [more, first] = more_.try_emplace(rule);
    const bool all = repaired && (first || more->second.repaired);
    more->second = {rule, fmt::format("and {} more", count - most_findings), std::move(repair), all};
}

Result<void> Look::rows(sqlite::IndexCheck& check) {
    const auto damage = check.damage();
    for (const auto& wrong : damage) say("index-damaged", "queue.db: " + wrong, index_repair);
    if (!damage.empty()) return {};
    report_.findings = check.wrong_rows();
    auto contents = check.contents();
    if (!contents) return fail(std::move(contents).error());
    wanted_ = std::move(*contents);
    report_.messages = wanted_.messages;
    return {};
}

Result<void> Look::index(bool mend) {
    const std::string path = state_dir_ + '/' + index_name;
    {
        auto check = sqlite::IndexCheck::open({path, ""}, mend);
        if (check) {
            if (auto done = rows(*check); !done) return done;
        } else if (check.error().code == Errc::not_found) {
            say("index-missing", path + " is not there",
                "nothing to do: the next start rebuilds it from the journal and holds all mail until it is "
                "released");
        } else if (check.error().code == Errc::damaged) {
            say("index-damaged", check.error().text, index_repair);
        } else {
            return fail(std::move(check).error());
        }
    }
    if (mend && !report_.findings.empty() && report_.findings.front().rule == "index-damaged")
        for (const bool done = set_index_aside(disk_).has_value(); auto& finding : report_.findings)
            finding.repaired = done;
    return {};
}

// Every record up to the end, and the messages that are to be there.
void Look::segment(std::uint64_t id, std::string_view octets, bool last) {
    const std::string name = segment_name(id);
    auto wanted = wanted_.in_journal.find(id);
    const auto header = decode_segment_header(octets, id);
    if (!header) {
        const bool needed = wanted != wanted_.in_journal.end();
        if (needed || (!last && id < wanted_.position.segment))
            say("journal-header", name + ": its header is damaged" + (needed ? "; messages are in it" : ""));
        return;
    }
    std::uint64_t offset = records_begin;
    while (const auto record = decode_record(octets, offset, *header)) {
        ++report_.records;
        // Mail that the index has not heard of yet has its body all the same.
        const bool beyond = id > wanted_.position.segment ||
                            (id == wanted_.position.segment && offset >= wanted_.position.offset);
        if (beyond && static_cast<RecordType>(record->type) == RecordType::accept)
            if (const auto read = decode_message(record->fields); read && has_file(read->body))
                bodies_to_come_.insert(file_of(read->body.ref));
        if (record->body_damaged)
            say("journal-body",
                fmt::format("{}: the text of the message at octet {} is damaged", name, offset));
        if (wanted != wanted_.in_journal.end()) {
            const auto message = wanted->second.find(offset);
            if (message != wanted->second.end() &&
                static_cast<RecordType>(record->type) == RecordType::accept) {
                const auto read = decode_message(record->fields);
                if (read && read->id == message->second.id && read->body.size == message->second.size)
                    wanted->second.erase(message);
            }
        }
        offset += record->size;
    }
    // Behind the last record nothing sound may follow: it was acknowledged, and something before it is lost.
    for (std::uint64_t at = offset + alignment; at < octets.size(); at += alignment) {
        const auto record = decode_record(octets, at, *header);
        if (!record) continue;
        say("journal-gap",
            fmt::format("{}: octets {} to {} cannot be read, and sound records follow", name, offset, at));
        break;
    }
    if (id == wanted_.position.segment && wanted_.position.offset > offset)
        say("journal-short",
            fmt::format("{}: its records end at octet {}, but the index has read it up to {}", name, offset,
                        wanted_.position.offset));
}

Result<void> Look::journal() {
    const auto ids = segments(disk_);
    if (!ids) return fail(ids.error());
    for (const auto id : *ids) {
        const auto octets = read_all(disk_, segment_name(id));
        if (!octets && octets.error().code == Errc::not_found) continue;  // gone meanwhile
        if (!octets) return fail(octets.error());
        ++report_.segments;
        segment(id, *octets, id == ids->back());
    }
    for (const auto& [id, messages] : wanted_.in_journal)
        for (const auto& [offset, message] : messages)
            say("message-place", fmt::format("message {} is to be at octet {} of {}, and is not there",
                                             message.id.text(), offset, segment_name(id)));
    return {};
}

// Bodies and done-files that no one has, bodies that are not there.
Result<void> Look::files(bool mend) {
    const auto bodies = disk_.list("bodies");
    if (!bodies) return fail(bodies.error());
    const auto drop = [&](const std::string& rule, const std::string& path, std::string text) {
        const bool removed = mend && disk_.unlink(path).has_value();
        say(rule, std::move(text), "it is removed", removed);
    };
    for (const auto& name : *bodies) {
        ++report_.bodies;
        const auto wanted = wanted_.body_sizes.find(name);
        if (wanted == wanted_.body_sizes.end() && bodies_to_come_.contains(name)) continue;
        if (wanted == wanted_.body_sizes.end()) {
            drop("body-without-message", body_path(name),
                 body_path(name) + ": no message in the index has it");
            continue;
        }
        auto file = disk_.open(body_path(name), OpenMode::read);
        const auto size = file ? (*file)->size() : Result<std::uint64_t>(fail(file.error()));
        if (!size || *size != wanted->second)
            say("body-size", fmt::format("{}: {} octets are to be there{}", body_path(name), wanted->second,
                                         size ? fmt::format(", {} are", *size) : ", it cannot be read"));
        wanted_.body_sizes.erase(wanted);
    }
    for (const auto& [name, size] : wanted_.body_sizes)
        say("body-missing",
            body_path(name) + ": a message has it, and it is not there; its sender will be told");
    const auto names = disk_.list("journal");
    if (!names) return fail(names.error());
    for (const std::string& name : *names) {
        if (!name.ends_with(".done")) continue;
        const std::string of = name.substr(0, name.size() - 5) + ".seg";
        if (std::find(names->begin(), names->end(), of) == names->end())
            drop("done-without-segment", "journal/" + name, "journal/" + name + ": its segment is gone");
    }
    return {};
}

Result<void> Look::history() {
    const auto there = disk_.exists("history");
    if (!there || !*there) return {};
    const auto names = disk_.list("history");
    if (!names) return fail(names.error());
    for (const std::string& name : *names) {
        if (!name.ends_with(".db")) continue;
        const std::string wrong = sqlite::damage_of({state_dir_ + "/history/" + name, ""});
        if (!wrong.empty())
            say("history-damaged",
                "history/" + name + ": " + wrong +
                    "; it is for people, no mail depends on it: move it away to be rid of it");
    }
    return {};
}

Result<SpoolReport> Look::run(bool mend) {
    if (auto done = index(mend); !done) return fail(std::move(done).error());
    if (auto done = journal(); !done) return fail(std::move(done).error());
    const bool knows_bodies =
        report_.findings.empty() || !report_.findings.front().rule.starts_with("index-");
    if (auto done = files(mend && knows_bodies); !done) return fail(std::move(done).error());
    if (auto done = history(); !done) return fail(std::move(done).error());
    for (auto& [rule, more] : more_) report_.findings.push_back(std::move(more));
    return std::move(report_);
}

}  // namespace

}  // namespace sternpost::store::engine

namespace sternpost::store {

Result<SpoolReport> check_spool(const std::string& state_dir, bool repair,
                                const std::function<void()>& between_looks) {
    using namespace engine;
    RealDisk disk(state_dir);
    const auto there = disk.exists("journal");
    if (!there) return fail(there.error());
    if (!*there) return fail(Errc::not_found, state_dir + " holds no queue");
    auto lock = util::lock_file(state_dir + '/' + lock_name);
    const bool runs = !lock && lock.error().code == util::Errc::busy;
    if (!lock && !runs) return fail(Errc::io, lock.error().text);
    if (repair && runs)
        return fail(Errc::busy, "a daemon has " + state_dir + ": stop it before its spool is repaired");
    Result<SpoolReport> out;
    std::set<std::string> before;
    for (int look = 0; look < (runs ? looks_while_running : 1); ++look) {
        if (look > 0) between_looks();
        out = Look(disk, state_dir).run(repair);
        if (!out) return out;
        out->daemon_runs = runs;
        // What was not said in the look before is what the daemon was about.
        if (look > 0)
            std::erase_if(out->findings,
                          [&](const SpoolFinding& finding) { return !before.contains(finding.text); });
        before.clear();
        for (const auto& finding : out->findings) before.insert(finding.text);
        if (before.empty()) break;
    }
    return out;
}

}  // namespace sternpost::store
