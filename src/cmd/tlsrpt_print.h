// The command's answers about TLS reports, for people.
#pragma once

#include <boost/json.hpp>

#include "control/protocol.h"

namespace sternpost::cmd {

void print_preview(const control::Answer& answer);
void print_reports(const control::Answer& answer);
void print_report(const control::Answer& answer);
void print_sent(const control::Answer& answer);
void print_digest(const control::Answer& answer);
/// Whether reports are sent, and what is missing.
void print_reporting(const boost::json::object& status);

}  // namespace sternpost::cmd
