// sternpost tlsrpt read: what others report about domains of ours.
#pragma once

#include <string>
#include <vector>

#include "control/protocol.h"

namespace sternpost::cmd {

/// Reads the files (`-`: standard input) one after the other and sums what they say. Not done: no_input where
/// one cannot be read, bad_data where one holds no report, no where there is no room to sum one.
control::Answer read_reports(const std::vector<std::string>& files);
void print_read(const control::Answer& answer);

}  // namespace sternpost::cmd
