#include "cmd/daemon.h"

#include <sys/stat.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <system_error>

#include "cmd/inherited.h"
#include "control/daemon_verbs.h"
#include "store/ask.h"
#include "util/call.h"
#include "util/memory.h"
#include "util/privileges.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

constexpr auto policy_patience = std::chrono::seconds(5);  // ours: of the start, for policies to be read
constexpr std::string_view version = STERNPOST_VERSION;

// A folder that is there, of this mode, and belongs to the account if we may give it away.
util::Result<void> make_folder(const std::string& path, unsigned mode,
                               const std::optional<util::Account>& owner,
                               std::optional<std::uint32_t> gid = std::nullopt) {
    std::error_code ec;
    const bool existed = std::filesystem::exists(path, ec);
    const mode_t strict = ::umask(0022);  // folders above it must let the account through
    std::filesystem::create_directories(path, ec);
    ::umask(strict);
    if (ec) return fail(util::Errc::io, "cannot make the folder " + path + ": " + ec.message());
    if (!existed && ::chmod(path.c_str(), mode) != 0)
        return fail(util::Errc::io, "cannot set the mode of " + path + ": " + util::errno_text(errno));
    if (owner && !existed && ::chown(path.c_str(), owner->uid, gid.value_or(owner->gid)) != 0)
        return fail(util::Errc::io, "cannot give " + path + " to its account: " + util::errno_text(errno));
    return {};
}

}  // namespace

Daemon::Daemon(std::filesystem::path config_path, config::Loaded loaded, FileLog& log)
    : config_path_(std::move(config_path)),
      settings_(std::move(loaded.settings)),
      hostname_(config::effective_hostname(settings_)),
      log_(log),
      started_(clock_.wall()),
      tasks_(control_, log),
      signals_(control_, SIGTERM, SIGINT, SIGHUP) {}

Daemon::Io::Io(store::IdSource source, asio::io_context* shared)
    : own(shared == nullptr ? std::make_unique<asio::io_context>(1) : nullptr),
      context(shared == nullptr ? *own : *shared),
      ids(source) {
    if (own) work.emplace(asio::make_work_guard(*own));
}

Daemon::~Daemon() {
    for (auto& io : io_) {
        if (!io->own) continue;
        io->work.reset();
        io->context.stop();
        if (io->thread.joinable()) io->thread.join();
    }
    log_.gather(nullptr);
}

int Daemon::prepare() {
    std::optional<util::Account> account;
    const bool root = ::geteuid() == 0;
    if (root && !settings_.user.empty()) {
        auto found = util::account(settings_.user);
        if (!found) {
            Event(log_, Level::error, "start")
                .reason(found.error().text + ", which the daemon is to run as: make it (useradd --system " +
                        settings_.user + ") or set user = \"\" to stay root");
            return EX_NOUSER;
        }
        account = *found;
    }
    std::optional<std::uint32_t> drop_group;
    if (const auto found = util::group("sternpost-drop"); found && account) drop_group = *found;
    const auto folder_of = [](const std::string& path) {
        return std::filesystem::path(path).parent_path().string();
    };
    for (const auto& made :
         {make_folder(settings_.state_dir, 0700, account),
          make_folder(config::dkim_folder(settings_), 0700, account),
          make_folder(folder_of(settings_.control_socket), 0755, account),
          make_folder(folder_of(settings_.submit_socket), 0755, account),
          make_folder(settings_.maildrop_dir, drop_group ? 01730U : 0700U, account, drop_group)}) {
        if (!made) {
            Event(log_, Level::error, "start").reason(made.error().text);
            return EX_CANTCREAT;
        }
    }
    auto inherited = inherited_sockets();
    for (const auto& text : settings_.listen) {
        const auto where = dns::Server::parse(text);
        if (auto socket = inherited.extract(where->text()))
            bound_.push_back({text, where->address.is_v6(), std::move(socket.mapped())});
        else
            bound_.push_back(
                {text, where->address.is_v6(), smtp::bind_listener(where->address, where->port)});
    }
    for (const auto& [text, socket] : inherited)
        Event(log_, Level::warning, "listen")
            .kv("address", text)
            .reason("the service manager holds a socket that listener.listen does not name: it is not used");
    if (account) {
        if (auto done = util::become(settings_.user, *account); !done) {
            Event(log_, Level::error, "start").reason("cannot give up root: " + done.error().text);
            return EX_OSERR;
        }
    }
    if (::geteuid() != 0) {
        if (auto done = util::drop_capabilities(); !done) {
            Event(log_, Level::error, "start").reason("cannot drop capabilities: " + done.error().text);
            return EX_OSERR;
        }
    }
    return EX_OK;
}

int Daemon::cannot_start(const std::string& why, int code) const {
    Event(log_, Level::error, "start").reason(why);
    return code;
}

int Daemon::open() {
    using Step = int (Daemon::*)();
    for (const Step step :
         {&Daemon::open_store, &Daemon::open_policy, &Daemon::open_delivery, &Daemon::open_queue,
          &Daemon::open_reports, &Daemon::open_listener, &Daemon::open_local, &Daemon::open_control})
        if (const int code = (this->*step)(); code != EX_OK) return code;
    return EX_OK;
}

int Daemon::open_store() {
    store::Events events;
    events.accepted = [this](std::vector<store::StoredMessage> messages) {
        control_task_queue_.post(
            [this, arrived = std::move(messages)]() mutable { queue_->accepted(std::move(arrived)); });
    };
    events.lost = [this](const std::string& why) {
        control_task_queue_.post([this, why] { index_is_damaged(why); });
    };
    auto opened = store::open(store_of(settings_), std::move(events), log_, clock_, random_);
    if (!opened)
        return cannot_start(opened.error().text,
                            opened.error().code == store::Errc::busy ? EX_TEMPFAIL : EX_IOERR);
    store_ = std::move(*opened);
    for (const auto& warning : store_->opened().warnings)
        Event(log_, Level::warning, "store").reason(warning);
    alarms_ = std::make_unique<store::Alarms>(*store_, clock_, log_);
    // The control thread has the last slot of ids, the I/O threads have those before it.
    const auto identity = store_->identity();
    const auto newest = store_->opened().newest;
    const unsigned control_slot = identity.slots - 1;
    control_ids_ = std::make_unique<store::IdSource>(clock_, identity.first_slot + control_slot, newest);
    const unsigned threads = config::effective_io_threads(settings_, std::thread::hardware_concurrency());
    for (unsigned slot = 0; slot < std::min(threads, control_slot); ++slot)
        io_.push_back(std::make_unique<Io>(store::IdSource(clock_, identity.first_slot + slot, newest),
                                           threads == 1 ? &control_ : nullptr));
    return EX_OK;
}

int Daemon::open_policy() {
    auto may_connect = [gate = gate_of(settings_)](const std::string& text, std::uint16_t port,
                                                   bool allow_special) {
        const auto address = dns::Address::parse(text);
        return address && gate.allowing_special(allow_special).judge(*address, port) == dns::Passage::open;
    };
    https_ = util::curl_https(settings_.ca_file, "sternpost/" + std::string(version), std::move(may_connect));
    resolver_ =
        std::make_unique<dns::LdnsResolver>(control_.get_executor(), resolver_of(settings_), clock_, random_);
    lookups_ = std::make_unique<sts::Lookups>(runtime_, lookups_of(settings_), *resolver_, *https_, *store_);
    refresher_ = std::make_unique<sts::Refresher>(control_, *lookups_, clock_, control_timer_, log_);
    sts_verbs_ = std::make_unique<admin::StsVerbs>(*lookups_);
    overrides_.configure(settings_.overrides);
    return EX_OK;
}

int Daemon::open_delivery() {
    auto contexts = tls::client_contexts({settings_.ca_file});
    if (!contexts) return cannot_start(contexts.error().text + "; tls.ca_file names the file", EX_CONFIG);
    pool_ = std::make_unique<Pool>(2);
    auto on_key_trouble = [this](const std::string& domain, const std::string& text) {
        alarms_->raise(store::AlarmKind::dkim_key, domain, text);
    };
    signing_ = std::make_unique<delivery::Signing>(signing_of(settings_), *pool_, clock_, log_,
                                                   std::move(on_key_trouble));
    dkim_keys_ = std::make_unique<admin::DkimKeys>(dkim::KeyFolder(config::dkim_folder(settings_)), *signing_,
                                                   *resolver_, *pool_, clock_, control_timer_);
    dkim_keys_->load();
    std::vector<asio::io_context*> contexts_of_io;
    for (auto& io : io_) contexts_of_io.push_back(&io->context);
    dialer_ =
        std::make_unique<delivery::AsioDialer>(std::move(contexts_of_io), dialer_of(settings_, hostname_),
                                               std::move(*contexts), *store_, *signing_, clock_);
    delivery::Hooks hooks;
    hooks.on_session = [this](const store::TlsOutcome& outcome, bool without_dane) {
        if (const auto alarm = tls_loss_.observe(outcome, without_dane))
            alarms_->raise(alarm->kind, alarm->subject, alarm->text);
    };
    hooks.on_refusal = [this](const std::string& host, const std::string& reply) {
        if (const auto alarm = list_refusals_.observe(host, reply, clock_.steady()))
            alarms_->raise(alarm->kind, alarm->subject, alarm->text);
    };
    hooks.on_room = [this](const std::string& hop) { return queue_->resume(hop); };
    delivery_ = std::make_unique<delivery::Delivery>(
        runtime_, delivery_of(settings_, hostname_),
        delivery::Sources{*resolver_, *lookups_, overrides_, *dialer_}, std::move(hooks));
    bouncer_ = std::make_unique<delivery::Bouncer>(bounces_of(settings_, hostname_), *store_, clock_, random_,
                                                   log_, *control_ids_);
    return EX_OK;
}

int Daemon::open_queue() {
    queue::Hooks hooks;
    hooks.deliver = [this](queue::Lane& lane) { return delivery_->deliver(lane); };
    hooks.notices = [this](queue::MessagePtr message, std::vector<store::DeliveryResult> results) {
        return bouncer_->notices(std::move(message), std::move(results));
    };
    hooks.delay_warning = [this](queue::Delayed delayed) {
        return bouncer_->delay_warning(std::move(delayed));
    };
    hooks.abort_sessions = [this] { dialer_->abort(); };
    queue_ =
        std::make_unique<queue::Manager>(runtime_, queue_of(settings_), std::move(hooks), *store_, clock_);
    queue_actions_ = std::make_unique<admin::QueueActions>(*queue_, *store_, clock_, [this] {
        resolver_->forget_negative();
        delivery_->forget_dead_hosts();
    });
    const auto lookup_options = lookups_of(settings_);
    const auto names = std::make_shared<const mail::LocalNames>(local_names_of(settings_, hostname_));
    auto writes_as = [this, options = signing_of(settings_)](const store::StoredMessage& message) {
        const auto found = delivery::write_rule_of(options.domains, options.login_of, message);
        const bool matters = found.rule != nullptr || !signing_->keys()->keys.empty();
        return matters ? sentence_of(found, message) : std::string();
    };
    live_ = std::make_unique<admin::LiveDaemon>(
        admin::LiveDaemon::Sources{*queue_, overrides_, queue_of(settings_).schedule, std::move(writes_as),
                                   [this] { return report_sender_->options().reporter(); }});
    policy_verbs_ = std::make_unique<admin::PolicyVerbs>(admin::PolicySources{
        *delivery_, overrides_, *resolver_, *lookups_, *https_, *store_, *queue_, clock_, log_,
        lookup_options.fetch, [names](const std::string& name) { return names->resolve(name); },
        settings_.tlsrpt_other_ports});
    return EX_OK;
}

int Daemon::open_reports() {
    report_sender_ = std::make_unique<tlsrpt::Sender>(runtime_, reports_of(settings_, hostname_), *resolver_,
                                                      *https_, *store_, *control_ids_);
    tlsrpt::Surroundings around;
    around.clock_trusted = [this] { return queue_->clock_trusted(); };
    around.missing = [this] {
        std::vector<std::string> out;
        const std::string& trouble = dkim_keys_->report_trouble();
        if (!trouble.empty()) out.push_back(trouble);
        return out;
    };
    reports_ =
        std::make_unique<tlsrpt::Daily>(runtime_, *report_sender_, *store_, *alarms_, std::move(around));
    if (const auto& contact = report_sender_->options().contact)
        dkim_keys_->report_for(contact->domain(), settings_.dkim_sign != "off",
                               [this] { reports_->look_again_now(); });
    report_verbs_ = std::make_unique<admin::ReportVerbs>(
        admin::ReportSources{*reports_, *report_sender_, *store_, clock_, *live_, admin_of(settings_)});
    alarm_verbs_ = std::make_unique<admin::AlarmVerbs>(*store_, clock_);
    watch_ = std::make_unique<admin::Watch>(watch_of(settings_));
    if (const auto to = admin_of(settings_); to && settings_.alarms_mail) {
        auto submit = [this, to](admin::AlarmText text) {
            mail::ForwardPath path(*to);
            return report_sender_->submit_text(std::move(text.subject), std::move(text.text),
                                               std::move(path));
        };
        alarm_mail_ = std::make_unique<admin::AlarmMail>(*store_, clock_, hostname_, std::move(submit));
    }
    return EX_OK;
}

int Daemon::open_listener() {
    const bool here = !io_.front()->own;  // sessions run on this thread: no need to send them an answer
    auto ask_next_hop = [this, here](dns::Domain domain, Completion<smtp::NextHopKnowledge> reply) {
        if (here) return reply(known_of(domain));
        control_task_queue_.post([this, asked = std::move(domain), answer = std::move(reply)]() mutable {
            answer(known_of(asked));
        });
    };
    std::vector<smtp::IoThread> threads;
    for (auto& io : io_) threads.push_back({io->context, io->ids});
    listener_ = std::make_unique<smtp::Listener>(std::move(threads), server_of(settings_, hostname_),
                                                 std::move(ask_next_hop), *store_, clock_, log_);
    auto certificate = listener_context();
    if (!certificate) return cannot_start("no TLS for the listener: " + certificate.error().text, EX_CONFIG);
    listener_->use_tls(std::move(*certificate));
    listener_->on_limit([this](const std::string& sender, const std::string& why) {
        asio::post(control_,
                   [this, sender, why] { alarms_->raise(store::AlarmKind::sender_limit, sender, why); });
    });
    listener_->use_room(
        [this](std::uint64_t octets) { return !memory_is_short_ && store_->has_room(octets); });
    for (auto& bound : bound_) {
        const auto adopted = bound.socket ? listener_->adopt(std::move(*bound.socket), bound.v6)
                                          : Expected<void, smtp::ListenErrc>(fail(bound.socket.error()));
        if (adopted) continue;
        // A machine without IPv6 is no reason not to serve the other addresses.
        const bool fatal = !bound.v6 || bound_.size() == 1;
        Event(log_, fatal ? Level::error : Level::warning, "listen")
            .kv("address", bound.text)
            .reason(adopted.error().text);
        if (fatal) return EX_OSERR;
    }
    return EX_OK;
}

int Daemon::open_local() {
    local_limits_ = std::make_unique<intake::SenderLimits>(local_limits_of(settings_));
    const auto on_limit = [this](const std::string& sender, const std::string& why) {
        alarms_->raise(store::AlarmKind::sender_limit, sender, why);
    };
    const local::Surroundings around{*store_, *control_ids_, clock_, log_, *local_limits_, on_limit};
    submissions_ =
        std::make_unique<local::SubmissionSocket>(control_, local_of(settings_, hostname_), around);
    maildrop_ = std::make_unique<local::Maildrop>(control_, local_of(settings_, hostname_), around, *pool_);
    if (auto done = submissions_->open(); !done) return cannot_start(done.error().text, EX_OSERR);
    return EX_OK;
}

int Daemon::open_control() {
    start_is_over_ = control_timer_.wakeup();
    next_look_ = control_timer_.wakeup();
    next_memory_look_ = control_timer_.wakeup();
    verbs_ =
        std::make_unique<control::Verbs>(settings_.control_readers == "everybody", settings_.admin_group);
    verbs_->add<admin::NoRequest>("status", admin::Access::read,
                                  [this](admin::NoRequest, const control::Caller&) { return status(); });
    control::add_queue(*verbs_, *store_, *live_, *queue_actions_);
    control::add_alarms(*verbs_, *store_, *live_, *alarm_verbs_);
    control::add_policy(*verbs_, *store_, *live_, *policy_verbs_);
    control::add_sts(*verbs_, *sts_verbs_);
    control::add_reports(*verbs_, *store_, *live_, *report_verbs_);
    control::add_dkim(*verbs_, *dkim_keys_);
    auto handler = [this](control::json::object request, control::Caller caller) {
        return verbs_->answer(std::move(request), std::move(caller));
    };
    control::Server::Options access;
    if (const auto group = util::group(settings_.admin_group)) access.admin_group = *group;
    control_server_ = std::make_unique<control::Server>(control_, access, std::move(handler), log_);
    if (auto done = control_server_->listen(settings_.control_socket); !done)
        return cannot_start(done.error().text, EX_OSERR);
    return EX_OK;
}

// What the resolver's cache already knows of a recipient's domain, for RCPT.
smtp::NextHopKnowledge Daemon::known_of(const dns::Domain& domain) const {
    const auto mx = resolver_->cached_mx(domain);
    if (!mx) return smtp::NextHopKnowledge::usable_or_unknown;
    if (mx->existence == dns::Existence::no_name) return smtp::NextHopKnowledge::no_such_domain;
    if (mx->records.size() == 1 && mx->records.front().exchange.empty())
        return smtp::NextHopKnowledge::null_mx;
    return smtp::NextHopKnowledge::usable_or_unknown;
}

int Daemon::run() {
    Event(log_, Level::info, "start")
        .kv("version", version)
        .kv("hostname", hostname_.empty() ? "(none)" : hostname_);
    if (hostname_.empty())
        Event(log_, Level::warning, "start")
            .reason("no fully qualified hostname: only clients on loopback are served until hostname is set");
    if (const int code = prepare(); code != EX_OK) return code;
    watch_signals();
    if (const int code = open(); code != EX_OK) {
        if (store_) store_->stop();
        // Members go in their order; nothing has been started on the I/O threads yet.
        _exit(code);
    }
    for (auto& io : io_)
        if (io->own) io->thread = std::thread([context = &io->context] { context->run(); });
    tasks_.spawn("serve", serve());
    log_.gather(&control_task_queue_);
    control_.run();
    log_.gather(nullptr);
    return exit_code_;
}

// The daemon ends, puts the index aside, and is started again: the journal is the truth.
void Daemon::index_is_damaged(const std::string& why) {
    if (exit_code_ == EX_TEMPFAIL || stopping_) return;
    Event(log_, Level::error, "index-damaged")
        .reason(
            why +
            "; the daemon ends and puts the index aside, and its next start makes it again from the journal");
    exit_code_ = EX_TEMPFAIL;
    asio::post(control_, [this] { tasks_.spawn("stop", stop()); });
}

asio::awaitable<void> Daemon::serve() {
    struct Over {
        Daemon& daemon;
        ~Over() {
            daemon.starting_ = false;
            daemon.start_is_over_->wake();
        }
    };
    const Over over{*this};
    co_await start_up();
}

// What is begun here is ended by stop(), which must not run at the same time: each wait is followed by a look
// at stopping_.
asio::awaitable<void> Daemon::start_up() {
    auto discoveries_question = [](store::Questions& questions) {
        return questions.all<store::StoredDiscovery>();
    };
    auto discoveries = co_await store::ask(*store_, std::move(discoveries_question));
    if (stopping_) co_return;
    store::Result<bool> policies = true;
    if (discoveries) {
        lookups_->restore(std::move(*discoveries));
        policies = co_await lookups_->recall_all(clock_.steady() + policy_patience);
        if (stopping_) co_return;
    }
    auto loaded = co_await queue_->load();
    if (stopping_) co_return;
    if (!policies || !discoveries || !loaded) {
        const auto& error = !policies      ? policies.error()
                            : !discoveries ? discoveries.error()
                                           : loaded.error();
        if (error.code == store::Errc::damaged) {
            index_is_damaged(error.text);
            co_return;
        }
        Event(log_, Level::error, "start").reason(error.text);
        exit_code_ = EX_IOERR;
        asio::post(control_, [this] { tasks_.spawn("stop", stop()); });
        co_return;
    }
    queue_->start();
    if (auto kept = co_await policy_verbs_->load(); !kept)
        Event(log_, Level::error, "override")
            .reason("those set by command cannot be read: " + kept.error().text);
    auto hosts_question = [](store::Questions& questions) { return questions.hosts_seen(); };
    const auto hosts = co_await store::ask(*store_, std::move(hosts_question));
    if (stopping_) co_return;
    if (hosts) tls_loss_.restore(*hosts);
    tasks_.spawn("periodic checks", periodic_checks());
    tasks_.spawn("memory check", check_memory());
    tasks_.spawn("key check", dkim_keys_->watch());
    if (!*policies) tasks_.spawn("policy reading", recall_policies());
    refresher_->start();
    reports_->start();
    // The listener lives on the first I/O thread.
    auto start_listener = [this](Completion<bool> reply) {
        asio::post(io_.front()->context, [this, done = std::move(reply)]() mutable {
            listener_->start();
            done(true);
        });
    };
    co_await call<bool>(std::move(start_listener));
    if (stopping_) co_return;
    maildrop_->start();
    Event(log_, Level::info, "ready").kv("messages", *loaded).kv("policies", lookups_->size());
    sd_notify(0, "READY=1");
}

void Daemon::watch_signals() {
    signals_.async_wait([this](boost::system::error_code ec, int signal) {
        if (ec) return;
        if (signal == SIGHUP) {
            reload();
        } else if (!stopping_) {
            tasks_.spawn("stop", stop());
        } else {
            log_.flush();
            _exit(EX_TEMPFAIL);  // asked twice: what is not on stable storage was never promised
        }
        watch_signals();
    });
}

// Null: STARTTLS is not offered.
tls::Result<std::shared_ptr<asio::ssl::context>> Daemon::listener_context() const {
    if (!settings_.starttls) return std::shared_ptr<asio::ssl::context>();
    auto identity = identity_of(settings_, hostname_, clock_.wall());
    if (!identity) return fail(std::move(identity).error());
    return tls::server_context(*identity);
}

void Daemon::reload() {
    const auto contexts = tls::client_contexts({settings_.ca_file});
    if (contexts) {
        dialer_->use(*contexts);
        https_->reload();
        Event(log_, Level::info, "reload").kv("ca_file", settings_.ca_file);
    } else {
        Event(log_, Level::error, "reload")
            .reason(contexts.error().text + "; the certificates read before stay in use");
    }
    auto certificate = listener_context();
    if (certificate) {
        auto use = [l = listener_.get(), context = std::move(*certificate)]() mutable {
            l->use_tls(std::move(context));
        };
        asio::post(io_.front()->context, std::move(use));
        Event(log_, Level::info, "reload")
            .kv("tls_certificate", !settings_.starttls                 ? "(STARTTLS is off)"
                                   : settings_.tls_certificate.empty() ? "(our own)"
                                                                       : settings_.tls_certificate);
    } else {
        Event(log_, Level::error, "reload")
            .reason("listener: " + certificate.error().text + "; the certificate read before stays in use");
    }
}

asio::awaitable<void> Daemon::stop() {
    if (std::exchange(stopping_, true)) co_return;
    Event(log_, Level::info, "stop");
    sd_notify(0, "STOPPING=1");
    while (starting_) co_await start_is_over_->wait(SteadyTime::max());
    const Deadline deadline = clock_.steady() + queue::stop_patience;
    const Deadline soon = clock_.steady() + std::chrono::seconds(30);
    co_await asio::co_spawn(io_.front()->context, listener_->drain(soon), asio::use_awaitable);
    co_await maildrop_->drain(soon);
    co_await submissions_->drain(soon);
    co_await queue_->stop(std::chrono::duration_cast<std::chrono::seconds>(deadline - clock_.steady()));
    co_await delivery_->stop();
    co_await control_server_->stop();
    https_->stop();
    next_look_->wake();
    next_memory_look_->wake();
    dkim_keys_->stop();
    co_await refresher_->stop();
    co_await reports_->stop();
    https_.reset();
    for (auto& io : io_) io->work.reset();
    if (const std::string said = store_->stop(); !said.empty())
        Event(log_, Level::error, "store").reason(said);
    Event(log_, Level::info, "stopped");
    signals_.cancel();
    asio::post(control_, [this] { control_.stop(); });
}

}  // namespace sternpost::cmd
