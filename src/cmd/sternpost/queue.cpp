// `sternpost queue`, and mailq.
#include <fmt/format.h>
#include <sysexits.h>

#include <array>

#include "admin/mailq.h"
#include "admin/queue_summary.h"
#include "cmd/sternpost/command.h"
#include "cmd/sternpost/local_checks.h"
#include "cmd/sternpost/show.h"
#include "cmd/sternpost/table.h"
#include "store/sender_scope.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

using queue::Obstacle;

const std::string sender_help = "messages from: " + std::string(store::sender_forms);
constexpr const char* recipient_help = "messages with this text in the address of a waiting recipient";
constexpr const char* from_help = "messages with this text in the reverse-path";
constexpr const char* reason_help =
    "messages that wait for this: part of the reason, a reason code or a status";

// ---- what is shown

std::string when_of(const admin::RecipientRow& recipient) {
    const auto by = recipient.blocked_by.value_or(Obstacle::none);
    if (by == Obstacle::none) return "being delivered";
    if (by == Obstacle::due) return "due now";
    if (by == Obstacle::schedule || by == Obstacle::hop_fails)
        return "deferred until " + (recipient.next_at ? rfc3339(*recipient.next_at) : std::string());
    return "waits: " + recipient.blocks.value_or("");
}

void show_queued(const admin::MessageRow& message) {
    tell("{}  {}  {} octets  from {}{}{}\n", message.id, rfc3339(message.arrived), message.size,
         shown_path(message.reverse_path), message.class_ == "mail" ? "" : "  " + message.class_,
         message.held ? "  HELD" : "");
    for (const auto& recipient : message.recipients) {
        if (recipient.state != store::RecipientState::queued) continue;
        tell("    to {}  {}\n", shown_path(recipient.path), when_of(recipient));
        if (!recipient.reason.empty())
            tell("        {} {}\n", recipient.status, printable(recipient.reason, 1000));
    }
}

std::string text_of(const admin::Totals& totals) {
    return fmt::format("{} message(s), {} recipient(s), {} octets", totals.messages, totals.recipients,
                       totals.octets);
}

void show_queue(const admin::Listing& list) {
    for (const auto& message : list.messages) show_queued(message);
    if (list.totals.messages == 0)
        tell("The queue is empty.\n");
    else if (list.selected.messages == list.totals.messages)
        tell("{}\n", text_of(list.totals));
    else
        tell("{} shown{}; in the whole queue: {}\n", text_of(list.selected),
             list.more ? ", and more match (--limit)" : "", text_of(list.totals));
}

void show_message(const admin::MessageRow& message) {
    show_queued(message);
    const auto& origin = message.origin;
    tell("    accepted by {}{}{}\n", origin.with,
         origin.address.empty() ? "" : " from " + origin.address + " (" + printable(origin.helo) + ")",
         origin.uid ? fmt::format(" from uid {}", *origin.uid) : "");
    for (const auto& recipient : message.recipients) {
        if (recipient.state == store::RecipientState::queued) continue;
        tell("    to {}  {}  {} {}\n", shown_path(recipient.path), store::name_of(recipient.state),
             recipient.status, printable(recipient.reason, 1000));
    }
}

void show_hops(const std::vector<admin::HopRow>& hops) {
    for (const auto& hop : hops) cmd::show(hop);
    if (hops.empty()) tell("Nothing waits.\n");
}

void show_sums(const char* title, const std::vector<admin::SummaryRow>& rows, bool reasons) {
    const WallTime now = SystemClock().wall();
    using Kind = Table::Kind;
    Table table({{title},
                 {"messages", Kind::number},
                 {"recipients", Kind::number},
                 {"size", Kind::number},
                 {"oldest", Kind::number},
                 {reasons ? "last reason" : ""}});
    for (const auto& row : rows)
        if (row.messages > 0)
            table.add({row.key.empty() ? "(others)" : printable(row.key, 200),
                       fmt::format("{}", row.messages), fmt::format("{}", row.recipients),
                       size_of(row.octets), row.oldest ? human_span(now - *row.oldest) : "",
                       reasons ? printable(row.reason, 300) : ""});
    table.print();
}

void show_summary(const admin::SummaryAnswer& summary) {
    if (summary.total.messages == 0) {
        tell("The queue is empty.\n");
        return;
    }
    tell("{} message(s), {} recipient(s), {}, the oldest {} old\n\n", summary.total.messages,
         summary.total.recipients, size_of(summary.total.octets),
         human_span(SystemClock().wall() - summary.total.oldest.value_or(WallTime())));
    show_sums("destination", summary.destinations, true);
    tell("\n");
    show_sums("waits for", summary.errors, true);
    tell("\n");
    show_sums("age", summary.ages, false);
    tell("\n");
    show_sums("size", summary.sizes, false);
}

void show_suspensions(const std::vector<admin::SuspensionRow>& suspensions) {
    for (const auto& one : suspensions) cmd::show(one);
    if (suspensions.empty()) tell("Nothing is suspended.\n");
}

// `done`: what was done, in a word or two.
void show_action(const std::string& done, const admin::ActionRow& count) {
    const bool retry = done == "due now";
    const bool waits_on = retry && count.suspended > 0 && count.suspended == count.recipients;
    tell("{}{}: {} message(s), {} recipient(s)", count.dry_run ? "would be " : "",
         waits_on ? "looked at" : done, count.messages, count.recipients);
    if (count.active > 0)
        tell("; {} more {} in an attempt, which ends as it ends", count.active,
             count.active == 1 ? "is" : "are");
    tell("\n");
    if (count.sender_suspended > 0)
        tell(
            "left alone: {} message(s) of suspended senders (\"sternpost queue resume --sender\" ends "
            "that)\n",
            count.sender_suspended);
    if (count.results_wait && (retry || done == "released"))
        tell(
            "nothing is sent now: what became of earlier mail cannot be kept on the disk (\"sternpost "
            "status\")\n");
    if (count.held > 0)
        tell("left alone: {} message(s) on hold (\"sternpost queue release\" ends that)\n", count.held);
    if (retry && count.suspended > 0)
        tell("{} wait on: their next hop is suspended (\"sternpost queue resume\" ends that)\n",
             waits_on ? "all of the recipients" : fmt::format("{} of the recipients", count.suspended));
}

void show_suspension(bool on, const admin::SuspensionDone& done) {
    tell("{}: {} {}", on ? "suspended" : "resumed", done.kind, printable(done.scope));
    if (done.kind == "sender")
        tell(": {} message(s) {}{}\n", done.messages, on ? "put on hold" : "released",
             on ? ", and so is what comes from it later" : "");
    else
        tell(": {} recipient(s) {}\n", done.recipients.value_or(0),
             on ? "wait until it is resumed" : "may be tried again");
}

// ---- mailq

// Monitors take a list on standard output for the state of a system that works: what is wrong goes to
// standard error, and to the exit code.
int run_mailq(const Command& command, const config::Settings& settings, const admin::Selection& selection) {
    admin::MailqText mailq(local_time);
    const auto part = [&mailq](const control::json::object& piece) {
        const auto list = control::from_json<admin::Listing>(piece);
        tell("{}", mailq.messages(list.messages));
    };
    auto answer = ask_daemon(settings, admin::QueueList::name, selection, true, part);
    const bool down = !answer;
    if (down)
        answer = control::to_answer(
            answer_at_rest(settings, admin::QueueList(selection, whoever_runs_this(), admin::Paging::whole)));
    const int code = command.finish(
        *answer, [&] { tell("{}", mailq.end(control::from_json<admin::Listing>(answer->data))); });
    const auto waiting = in_maildrop(settings.maildrop_dir);
    if (waiting && *waiting > 0)
        std::cerr << "mailq: " << *waiting << " message(s) wait in the maildrop, " << settings.maildrop_dir
                  << ", for the daemon to take them\n";
    if (!down) return code;
    std::cerr << "mailq: the mail system is down: sternpostd does not answer at " << settings.control_socket
              << '\n';
    return code == static_cast<int>(ExitCode::done) ? EX_UNAVAILABLE : code;
}

// ---- the verbs

// The options by which messages are chosen, whatever is done with them.
std::vector<CLI::Option*> add_selection(CLI::App* app, const std::shared_ptr<admin::Selection>& meant) {
    const auto older = [meant](const std::string& text) { meant->arrived_before = ago("--older", text); };
    return {
        app->add_option("--domain", meant->domain, "messages that wait for this next hop"),
        app->add_option("--sender", meant->sender, sender_help),
        app->add_option("--reason", meant->reason, reason_help),
        app->add_option("--recipient", meant->recipient, recipient_help),
        app->add_option("--from", meant->from, from_help),
        app->add_option_function<std::string>("--older", older,
                                              "messages accepted longer ago, such as 90m, 12h or 3d")
            ->type_name("SPAN"),
        app->add_option("--larger", meant->larger, "messages larger than this, such as 500K or 10M")
            ->transform(CLI::AsSizeValue(false))
            ->type_name("SIZE"),
        app->add_flag("--held", meant->held, "messages on hold"),
    };
}

void add_list(Command& command, CLI::App* queue) {
    auto list = command.add_reading<admin::QueueList>(queue, "list",
                                                      "Lists queued messages, and why they wait", show_queue);
    auto& request = *list.request;
    add_selection(list.app, list.request);
    list.app->add_option("--limit", request.limit, "show at most this many messages")
        ->check(CLI::Range(1, 10000000))
        ->capture_default_str();
    auto* mailq =
        list.app->add_flag("--mailq")->description("use the layout of Postfix's postqueue -p, as mailq does");
    queue->final_callback([&command, mailq, selection = list.request] {
        if (mailq->count() == 0 || command.json()) return;
        command.choose([&command, selection] {
            return command.with_settings(
                [&](const config::Settings& settings) { return run_mailq(command, settings, *selection); });
        });
    });
}

// What cannot be undone: on a terminal the administrator sees how much it is, and says yes.
std::optional<ExitCode> confirm(const config::Settings& settings, const std::string& verb,
                                const std::string& done, const admin::ActionRequest& request) {
    if (request.dry_run || ::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0) return std::nullopt;
    admin::ActionRequest counting = request;
    counting.dry_run = true;
    const auto counted = ask_daemon(settings, verb, counting, false);
    if (!counted || counted->code != ExitCode::done) return std::nullopt;  // the verb itself says why
    const auto count = control::from_json<admin::ActionRow>(counted->data);
    tell("{} message(s), {} recipient(s) would be {}. Go on? [y/N] ", count.messages, count.recipients, done);
    std::fflush(stdout);
    std::string answer;
    std::getline(std::cin, answer);
    if (lowered(answer) == "y" || lowered(answer) == "yes") return std::nullopt;
    tell("Nothing was done.\n");
    return ExitCode::no;
}

// What an administrator does to chosen messages.
Verb<admin::ActionRequest> add_action(Command& command, CLI::App* queue, const std::string& name,
                                      const std::string& done, const std::string& help) {
    const std::string verb = "queue." + name;
    Asking<admin::ActionRequest, admin::ActionRow> asking{
        verb, [done](const admin::ActionRow& count) { show_action(done, count); }};
    const auto yes = std::make_shared<bool>(false);
    const bool for_good = name == "delete" || name == "expire";
    if (for_good)
        asking.before = [yes, verb, done, &command](const config::Settings& settings,
                                                    const admin::ActionRequest& request) {
            return *yes || command.json() ? std::nullopt : confirm(settings, verb, done, request);
        };
    auto action = command.add(queue, name, help, std::move(asking));
    if (for_good) action.app->add_flag("--yes", *yes, "do not ask for confirmation");
    action.app->add_flag("--dry-run", action.request->dry_run,
                         "change nothing, and show how many messages match");
    auto options = add_selection(action.app, action.request);
    auto* ids = action.app->add_option("ID", action.request->ids, "queue ids");
    auto* all = action.app->add_flag("--all")->description("all messages");
    for (auto* one : options) {
        ids->excludes(one);
        all->excludes(one);
    }
    ids->excludes(all);
    options.insert(options.end(), {ids, all});
    action.app->parse_complete_callback([options, name] {
        for (const auto* one : options)
            if (one->count() > 0) return;
        throw CLI::ValidationError("queue " + name,
                                   "says what is meant: queue ids, --domain, --sender, --reason, "
                                   "--recipient, --from, --older, --larger, --held or --all");
    });
    return action;
}

void add_suspension(Command& command, CLI::App* queue, const std::string& name, const std::string& help) {
    const bool on = name == "suspend";
    auto sub = command.add(
        queue, name, help,
        Asking<admin::SuspendRequest, admin::SuspensionDone>{
            "queue." + name, [on](const admin::SuspensionDone& done) { show_suspension(on, done); }});
    auto* domain =
        sub.app->add_option("--domain", sub.request->domain, "next hop; .example.com means all below it");
    auto* sender = sub.app->add_option("--sender", sub.request->sender, sender_help);
    domain->excludes(sender);
    if (on)
        sub.app->add_option("--reason", sub.request->reason, "why, for those who come after you")->required();
    sub.app->parse_complete_callback([request = sub.request, name] {
        if (request->domain.empty() && request->sender.empty())
            throw CLI::ValidationError("queue " + name, "says what is meant: --domain or --sender");
    });
}

}  // namespace

void add_queue(Command& command) {
    auto* queue =
        command.app().add_subcommand("queue", "Lists and changes queued messages")->require_subcommand(1);
    add_list(command, queue);
    auto message = command.add_reading<admin::QueueShow>(queue, "show", "Shows one message", show_message);
    message.app->add_option("ID", message.request->id, "queue id")->required();
    auto retry = add_action(command, queue, "retry", "due now",
                            "Tries messages again now; forgets dead hosts and negative DNS answers");
    retry.app->add_flag("--quiet", retry.request->quiet,
                        "print nothing, and succeed even if nothing matches");
    add_action(command, queue, "hold", "on hold", "Puts messages on hold until they are released");
    add_action(command, queue, "release", "released", "Releases messages on hold");
    add_action(command, queue, "expire", "given up", "Returns messages to their senders now");
    add_action(command, queue, "delete", "deleted", "Deletes messages, without a notice to the sender");
    auto reroute = add_action(command, queue, "reroute", "rerouted", "Sends messages to another next hop");
    reroute.app
        ->add_option("--to", reroute.request->to,
                     "domain whose MX hosts get the messages, or an address, [192.0.2.1]")
        ->required();
    auto hops = command.add_reading<admin::QueueHops>(
        queue, "hops", "Lists the next hops that mail waits for, largest first", show_hops);
    hops.app->add_option("--limit", hops.request->limit, "show at most this many")
        ->check(CLI::Range(1, 10000000))
        ->capture_default_str();
    auto summary = command.add_reading<admin::QueueSummary>(
        queue, "summary", "Sums up the queue by destination, reason, age and size", show_summary);
    summary.app
        ->add_option("--limit", summary.request->limit, "show at most this many destinations and reasons")
        ->check(CLI::Range(1, 10000))
        ->capture_default_str();
    command.add_reading<admin::QueueSuspended>(queue, "suspended", "Lists suspended next hops and senders",
                                               show_suspensions);
    add_suspension(command, queue, "suspend", "Suspends a next hop, or a sender");
    add_suspension(command, queue, "resume", "Ends a suspension, and releases the sender's mail");
}

}  // namespace sternpost::cmd
