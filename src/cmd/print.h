// What the administrator's command prints for people, from the daemon's answers or those from disk.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "control/protocol.h"

namespace sternpost::cmd {

namespace json = boost::json;
using control::Answer;

/// A member as text: a string as it is, other values as JSON; empty where there is none.
std::string text(const json::object& object, std::string_view key);
bool flag(const json::object& object, std::string_view key);
/// A policy's text: its line ends stay, nothing in it may steer the terminal.
std::string printable_text(const std::string& octets);
void print_list(const Answer& answer);
/// As ctime(3) has it, without the year.
std::string local_time(const std::string& rfc3339);
/// How many records wait in the maildrop; nullopt: this user may not look.
std::optional<std::size_t> in_maildrop(const std::string& folder);
void print_show(const Answer& answer);
/// The daemon sends long lists in parts, as arrays of an object; what is shown is the list.
void unwrap_list(Answer& answer);
void print_policies(const Answer& answer);
/// Answers that bring their sentences along.
void print_lines(const Answer& answer);
void print_override(const json::object& o);
void print_overrides(const Answer& answer);
void print_hops(const Answer& answer);
void print_doctor(const Answer& answer);
/// Overwrites itself on a terminal.
void print_progress(const json::object& so_far);
void print_suspensions(const Answer& answer);
void print_status(const Answer& answer);

}  // namespace sternpost::cmd
