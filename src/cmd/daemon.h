// The daemon: builds every object, owns the threads, starts and stops in order.
#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "admin/alarm_mail.h"
#include "admin/alarm_verbs.h"
#include "admin/dkim_keys.h"
#include "admin/live_daemon.h"
#include "admin/policy_verbs.h"
#include "admin/queue_actions.h"
#include "admin/report_verbs.h"
#include "admin/status.h"
#include "admin/sts_verbs.h"
#include "admin/watch.h"
#include "cmd/wiring.h"
#include "control/server.h"
#include "control/verbs.h"
#include "delivery/list_refusal.h"
#include "delivery/tls_loss_detector.h"
#include "delivery/write_rule.h"
#include "dns/probe.h"
#include "local/maildrop.h"
#include "local/socket.h"
#include "queue/manager.h"
#include "smtp/listener.h"
#include "sts/refresher.h"
#include "tlsrpt/daily.h"
#include "util/pool.h"

namespace sternpost::cmd {

class Daemon {
  public:
    Daemon(std::filesystem::path config_path, config::Loaded loaded, FileLog& log);
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;
    ~Daemon();

    /// Runs until SIGTERM or SIGINT. The process's exit code: 0, or one of sysexits.h.
    int run();

  private:
    struct Io {  // a thread that runs SMTP sessions: one of its own, or the control thread
        Io(store::IdSource source, asio::io_context* shared);
        std::unique_ptr<asio::io_context> own;  // null: the control thread
        asio::io_context& context;
        store::IdSource ids;
        std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work;  // of its own context
        std::thread thread;
    };

    // These return 0 or an exit code.
    int prepare();  // directories, ports, privileges
    int open();     // the steps that follow, in this order
    int open_store();
    int open_policy();
    int open_delivery();
    int open_queue();
    int open_reports();
    int open_listener();
    int open_local();
    int open_control();
    int cannot_start(const std::string& why, int code) const;  // logs it; the code
    asio::awaitable<void> serve();                             // start_up(), and stop() hears when it is over
    asio::awaitable<void> start_up();                          // ends early once stopping_ is set
    void index_is_damaged(const std::string& why);
    asio::awaitable<void> stop();
    smtp::NextHopKnowledge known_of(const dns::Domain& domain) const;
    void watch_signals();
    void reload();
    tls::Result<std::shared_ptr<asio::ssl::context>> listener_context() const;
    asio::awaitable<admin::Answer<admin::Status>> status();
    asio::awaitable<void> periodic_checks();
    asio::awaitable<bool> watch();  // whether it raised an alarm
    admin::WatchedFacts watched_facts() const;
    asio::awaitable<void> check_memory();
    asio::awaitable<void> recall_policies();

    std::filesystem::path config_path_;
    config::Settings settings_;
    std::string hostname_;
    FileLog& log_;
    SystemClock machine_clock_;
    store::TrustedClock clock_{machine_clock_};
    SystemRandom random_;
    WallTime started_;
    asio::io_context control_{1};
    AsioTaskQueue control_task_queue_{control_};
    AsioTimer control_timer_{control_};
    const Runtime runtime_{control_, clock_, control_timer_, random_, log_};
    TaskGroup tasks_;
    asio::signal_set signals_;
    bool stopping_ = false;
    bool starting_ = true;                   // serve() is not over
    std::unique_ptr<Wakeup> start_is_over_;  // of stop(), which waits for that
    int exit_code_ = 0;

    struct Bound {  // a listening address, bound while we could
        std::string text;
        bool v6 = false;
        Expected<util::Fd, smtp::ListenErrc> socket;
    };
    std::vector<Bound> bound_;
    std::unique_ptr<store::Store> store_;
    std::vector<std::unique_ptr<Io>> io_;
    std::unique_ptr<store::IdSource> control_ids_;
    std::unique_ptr<Pool> pool_;
    std::unique_ptr<util::Https> https_;
    std::unique_ptr<dns::LdnsResolver> resolver_;
    std::unique_ptr<sts::Lookups> lookups_;
    std::unique_ptr<sts::Refresher> refresher_;
    std::unique_ptr<admin::StsVerbs> sts_verbs_;
    delivery::Overrides overrides_;
    delivery::TlsLossDetector tls_loss_;
    delivery::ListRefusals list_refusals_;
    dns::ProbeResult validation_;
    std::unique_ptr<store::Alarms> alarms_;
    std::unique_ptr<admin::AlarmVerbs> alarm_verbs_;
    std::unique_ptr<admin::AlarmMail> alarm_mail_;  // null: alarms are not mailed
    std::unique_ptr<admin::Watch> watch_;
    std::unique_ptr<delivery::Signing> signing_;
    std::unique_ptr<delivery::AsioDialer> dialer_;
    std::unique_ptr<delivery::Delivery> delivery_;
    std::unique_ptr<delivery::Bouncer> bouncer_;
    std::unique_ptr<queue::Manager> queue_;
    std::unique_ptr<admin::LiveDaemon> live_;
    std::unique_ptr<admin::PolicyVerbs> policy_verbs_;
    std::unique_ptr<admin::QueueActions> queue_actions_;
    std::unique_ptr<tlsrpt::Sender> report_sender_;
    std::unique_ptr<tlsrpt::Daily> reports_;
    std::unique_ptr<admin::ReportVerbs> report_verbs_;
    std::unique_ptr<admin::DkimKeys> dkim_keys_;
    std::unique_ptr<Wakeup> next_look_;         // of periodic_checks()
    std::unique_ptr<Wakeup> next_memory_look_;  // of check_memory()
    std::atomic<bool> memory_is_short_ = false;
    std::unique_ptr<smtp::Listener> listener_;
    std::unique_ptr<intake::SenderLimits> local_limits_;  // of the two that follow
    std::unique_ptr<local::SubmissionSocket> submissions_;
    std::unique_ptr<local::Maildrop> maildrop_;
    std::unique_ptr<control::Verbs> verbs_;
    std::unique_ptr<control::Server> control_server_;
};

}  // namespace sternpost::cmd
