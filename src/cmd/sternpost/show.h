// How values look for people, on standard output.
#pragma once

#include <boost/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "admin/alarms.h"
#include "admin/policies.h"
#include "admin/queue.h"
#include "admin/reports.h"
#include "cmd/tell.h"

namespace sternpost::cmd {

void show_json(const boost::json::value& value);
/// Lines that come with an answer.
void show_lines(const std::vector<std::string>& lines);
/// A policy's text: its line ends stay, nothing in it may steer the terminal.
std::string printable_text(const std::string& octets);
/// Such as `Mon Nov 23 12:00:00`, as ctime(3) has it without the year.
std::string local_time(WallTime time);
/// `<user@example.com>`
std::string shown_path(const std::string& path);

void show(const admin::AlarmRow& alarm);
void show(const admin::HopRow& hop);
void show(const admin::SuspensionRow& suspension);
void show(const admin::OverrideRow& o);
void show(const admin::ReportingRow& status);

}  // namespace sternpost::cmd
