// `sternpost dkim …`: keys made, listed, compared with the DNS and rotated. Works on the folder of keys
// itself, and asks the daemon only for the DNS.
#pragma once

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "config/file.h"
#include "control/client.h"
#include "dkim/keys.h"

namespace sternpost::cmd {

class DkimVerbs {
  public:
    /// The verbs' part of the command. `load` reads the configuration; `choose` is told what to run. Both are
    /// of the command, and outlive this.
    void add(CLI::App& app, std::function<config::Loaded()> load,
             std::function<void(std::function<int()>)> choose);

  private:
    int run(int (DkimVerbs::*verb)());
    int generate();
    int list();
    int dns();
    int check();
    int rotate();
    int wait_for_records(const std::vector<const dkim::StoredKey*>& next);
    dkim::Result<void> put_into_use(const dns::Domain& domain,
                                    const std::vector<const dkim::StoredKey*>& next, WallTime now,
                                    boost::json::array& names);

    int make(const dns::Domain& domain, const std::vector<dkim::Algorithm>& algorithms, dkim::State state,
             bool reports_only);
    int refusal(const std::string& text) const;
    int say(control::ExitCode code, const std::string& text) const;
    int failed(const Error<dkim::Errc>& error) const;
    std::vector<const dkim::StoredKey*> chosen() const;
    std::vector<const dkim::StoredKey*> of(const dns::Domain& domain, dkim::State state) const;
    void told();
    control::Answer asked();
    void print_records(const std::vector<const dkim::StoredKey*>& keys) const;

    std::function<config::Loaded()> load_;
    config::Settings settings_;
    dkim::KeyFolder folder_{std::filesystem::path()};
    dkim::KeySet keys_;

    std::string domain_;
    std::string selector_;
    std::string algorithm_ = "rsa";
    std::uint64_t bits_ = dkim::usual_bits;
    bool reports_only_ = false;
    bool active_ = false;
    bool force_ = false;
    bool json_ = false;
};

}  // namespace sternpost::cmd
