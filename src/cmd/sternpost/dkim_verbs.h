// `sternpost dkim …`: keys made, listed, compared with the DNS and rotated. Works on the folder of keys
// itself, and asks the daemon only for the DNS.
#pragma once

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "admin/dkim.h"
#include "config/file.h"
#include "control/protocol.h"
#include "dkim/keys.h"

namespace sternpost::cmd {

class Command;

class DkimVerbs {
  public:
    /// The verbs' part of the command, which outlives this.
    void add(Command& command);

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
    bool json() const;
    void print_records(const std::vector<const dkim::StoredKey*>& keys) const;

    const Command* command_ = nullptr;
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
};

}  // namespace sternpost::cmd
