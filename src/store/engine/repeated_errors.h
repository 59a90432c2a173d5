// An error that repeats is logged once, and its end is logged once.
#pragma once

#include <map>
#include <string>

#include "store/store.h"
#include "util/log.h"

namespace sternpost::store::engine {

/// One thread.
class RepeatedErrors {
  public:
    explicit RepeatedErrors(Log& log) : log_(log) {}

    /// How the work called `what` went this time.
    void note(const char* what, const Result<void>& result) {
        std::string& trouble = troubles_[what];
        if (result) {
            if (!trouble.empty()) Event(log_, Level::info, "store-recovered").kv("what", what);
            trouble.clear();
        } else if (trouble != result.error().text) {
            trouble = result.error().text;
            Event(log_, Level::error, "store-trouble").kv("what", what).reason(trouble);
        }
    }

  private:
    Log& log_;
    std::map<std::string, std::string> troubles_;
};

}  // namespace sternpost::store::engine
