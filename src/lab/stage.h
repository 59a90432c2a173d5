// Where one check is played: a lab, a sternpostd in it, and what is seen of both.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "lab/check.h"
#include "lab/lab.h"
#include "lab/program.h"

namespace sternpost::lab {

/// The programs under check, and where libfaketime is (empty: nowhere).
struct Programs {
    std::string daemon, command, sendmail, faketime;
};

/// One process's: play() from the thread that made it.
class Stage {
  public:
    /// `extra` is TOML that every daemon's configuration gets. `folder` is absolute and empty.
    Stage(const Check& check, const Programs& programs, std::string extra, std::filesystem::path folder);
    ~Stage();
    Stage(const Stage&) = delete;
    Stage& operator=(const Stage&) = delete;

    /// Starts lab and daemon. Empty, or a sentence that says what went wrong.
    std::string start(Ports ports);
    /// Plays one step. Empty, or a sentence: what was expected, what was seen.
    std::string play(const Step& step);
    /// The daemon's log so far.
    std::string log() const;

  private:
    using Look = std::function<std::string()>;  // empty when what is looked for is there
    /// Looks again and again until it is there, it is clear that it never will be, or time is up: then the
    /// last sentence.
    std::string until_there(const Look& look, std::chrono::milliseconds limit) const;

    std::string start_daemon();
    std::string restart(int signal);
    util::Result<Ended> run(const std::string& program, std::vector<std::string> words,
                            const std::string& input = "") const;
    json::array show(const char* what, const std::string& id = "") const;
    json::value ask(std::vector<std::string> words) const;

    std::string send(const Step& step) const;
    std::string set(const Step& step) const;
    std::string flush(const Step& step) const;
    std::string pass(const Step& step);
    std::string verb(const Step& step) const;
    std::string arrived(const Step& step, const std::string& recipient) const;
    std::string wrong_with_mail(const Step& step, const json::object& mail) const;
    std::string deferred(const Step& step, const std::string& recipient) const;
    std::string told_nothing(const std::string& host) const;
    std::string sessions(const Step& step, const std::string& host) const;
    std::string asked(const Step& step, const std::string& name) const;
    std::string requested(const Step& step, const std::string& host) const;
    std::string logged(const Step& step, const std::string& event) const;

    const Check& check_;
    Programs programs_;
    std::string extra_;
    std::filesystem::path folder_;
    std::vector<std::string> environment_;
    std::chrono::seconds passed_{0};
    Ports ports_;
    std::unique_ptr<Log> lab_log_;
    asio::io_context context_;
    std::unique_ptr<Lab> lab_;
    std::thread thread_;
    std::unique_ptr<Running> daemon_;
    std::size_t log_start_ = 0;      // of this run of the daemon
    mutable bool hopeless_ = false;  // what was looked for can come no more
};

/// The log's lines of an event, each as its tags; `line` is the whole of it.
std::vector<std::map<std::string, std::string>> events_of(std::string_view log, std::string_view event);

}  // namespace sternpost::lab
