// The maildrop on the simulated disk: sendmail's end, which leaves files there whether the daemon runs or
// not, and the daemon's, which takes them in by the real cores of local/. Only the calls to the operating
// system are another's.
#pragma once

#include <map>
#include <string>

#include "local/intake.h"
#include "machine.h"

namespace sternpost::simulation {

class Maildrop {
  public:
    Maildrop(Oracle& oracle, Trace& trace, fake::SimDisk& disk);

    /// As sendmail does when no daemon answers. True: it may exit with 0.
    bool leave(const Letter& letter, Random& random);
    /// A look into the folder, as the daemon takes it now and then.
    asio::awaitable<void> take_all(Process& process, const Clock& clock);
    /// Nothing is left in it.
    bool empty();

  private:
    asio::awaitable<bool> take(Process& process, const Clock& clock, std::string name);

    Oracle& oracle_;
    Trace& trace_;
    fake::SimDisk& disk_;
    local::Options options_;
    std::map<std::string, std::string> letters_;  // by submission id
    bool looking_ = false;
};

}  // namespace sternpost::simulation
