#include "cmd/sternpost/local_checks.h"

#include <dirent.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "config/file.h"
#include "tls/certificate_file.h"
#include "tls/context.h"
#include "util/clock.h"

namespace sternpost::cmd {
namespace {

using admin::HostFinding;
using admin::Verdict;
using Findings = std::vector<HostFinding>;

constexpr double least_free = 0.05;  // of octets, and of inodes

void check_clock(Findings& out) {
    timex time{};
    const int state = ::adjtimex(&time);
    if (state == -1)
        out.push_back({"clock", Verdict::warning, "the kernel does not say how good the clock is",
                       "make sure that NTP keeps the clock"});
    else if (state == TIME_ERROR || (time.status & STA_UNSYNC) != 0)
        out.push_back({"clock", Verdict::warning,
                       "nothing keeps the clock: the kernel has not been told the time",
                       "install chrony or systemd-timesyncd"});
    else
        out.push_back({"clock", Verdict::ok, "the clock is kept by NTP", ""});
}

void check_roots(const config::Settings& settings, Findings& out) {
    const auto contexts = tls::client_contexts({settings.ca_file});
    if (contexts)
        out.push_back({"ca", Verdict::ok, settings.ca_file + " can be used", ""});
    else
        out.push_back(
            {"ca", Verdict::error, contexts.error().text, "install ca-certificates, or correct tls.ca_file"});
}

void check_certificate(const config::Settings& settings, Findings& out) {
    if (!settings.starttls) return;
    if (settings.tls_certificate.empty()) {
        out.push_back({"certificate", Verdict::ok, "the listener signs its own certificate", ""});
        return;
    }
    const std::string hostname = config::effective_hostname(settings);
    using State = tls::CertificateState;
    const auto verdict = tls::judge_certificate(settings.tls_certificate,
                                                tls::read_certificate(settings.tls_certificate, hostname),
                                                hostname, SystemClock().wall());
    const bool bad = verdict.state == State::unreadable || verdict.state == State::expired;
    const char* advice = verdict.state == State::good         ? ""
                         : verdict.state == State::unreadable ? "correct listener.tls_certificate"
                         : verdict.state == State::other_host
                             ? "get one that names this host"
                             : "renew it, then \"systemctl reload sternpost\"";
    out.push_back({"certificate",
                   bad                            ? Verdict::error
                   : verdict.state == State::good ? Verdict::ok
                                                  : Verdict::warning,
                   verdict.text, advice});
}

void check_disk(const config::Settings& settings, Findings& out) {
    struct statvfs disk {};
    if (::statvfs(settings.state_dir.c_str(), &disk) != 0) {
        out.push_back({"disk", Verdict::error, settings.state_dir + ": " + std::strerror(errno),
                       "create it, or correct state_dir"});
        return;
    }
    const auto part = [](auto free, auto all) {
        return all == 0 ? 1.0 : static_cast<double>(free) / static_cast<double>(all);
    };
    const double octets = part(disk.f_bavail, disk.f_blocks);
    const double inodes = part(disk.f_favail, disk.f_files);
    const std::string text = fmt::format("{}: {:.0f} % of the octets and {:.0f} % of the inodes are free",
                                         settings.state_dir, octets * 100, inodes * 100);
    if (octets < least_free || inodes < least_free)
        out.push_back({"disk", Verdict::error, text, "free space, or give the file system more"});
    else
        out.push_back({"disk", Verdict::ok, text, ""});
}

// No one but the daemon's account reads or writes there.
void check_state_dir(const config::Settings& settings, Findings& out) {
    struct stat is {};
    if (::stat(settings.state_dir.c_str(), &is) != 0) return;  // the disk's check has said it
    if (const passwd* user = settings.user.empty() ? nullptr : ::getpwnam(settings.user.c_str());
        user != nullptr && is.st_uid != user->pw_uid) {
        out.push_back({"permissions", Verdict::error,
                       settings.state_dir + " does not belong to " + settings.user,
                       "chown -R " + settings.user + " " + settings.state_dir});
        return;
    }
    if ((is.st_mode & 0077U) != 0)
        out.push_back({"permissions", Verdict::warning,
                       fmt::format("{} has mode {:04o}: others than its owner may look into it",
                                   settings.state_dir, is.st_mode & 07777U),
                       "chmod 0700 " + settings.state_dir});
    else
        out.push_back({"permissions", Verdict::ok, settings.state_dir + " is the daemon's alone", ""});
}

// Everybody may leave mail there through sendmail, and no one may read it.
void check_maildrop(const config::Settings& settings, Findings& out) {
    struct stat is {};
    if (::stat(settings.maildrop_dir.c_str(), &is) != 0) {
        out.push_back({"maildrop", Verdict::error, settings.maildrop_dir + ": " + std::strerror(errno),
                       "\"systemd-tmpfiles --create\" makes it"});
        return;
    }
    if ((is.st_mode & 0006U) != 0) {
        out.push_back({"maildrop", Verdict::error,
                       fmt::format("{} has mode {:04o}: everybody may read or write there",
                                   settings.maildrop_dir, is.st_mode & 07777U),
                       "chmod 1730 " + settings.maildrop_dir});
        return;
    }
    const std::size_t waiting = in_maildrop(settings.maildrop_dir).value_or(0);
    if (waiting > 0)
        out.push_back({"maildrop", Verdict::warning,
                       fmt::format("{} messages wait in {}", waiting, settings.maildrop_dir),
                       "start the daemon: it takes them"});
    else
        out.push_back({"maildrop", Verdict::ok, settings.maildrop_dir + " is empty", ""});
}

}  // namespace

std::optional<std::size_t> in_maildrop(const std::string& folder) {
    const std::unique_ptr<DIR, int (*)(DIR*)> list(::opendir(folder.c_str()), ::closedir);
    if (!list) return std::nullopt;
    std::size_t count = 0;
    while (const dirent* entry = ::readdir(list.get())) {
        const std::string_view name = entry->d_name;
        if (!name.starts_with('.') && !name.starts_with("tmp-") && name != "refused") ++count;
    }
    return count;
}

std::vector<HostFinding> local_checks(const config::Settings& settings) {
    Findings out;
    check_clock(out);
    check_roots(settings, out);
    check_certificate(settings, out);
    check_disk(settings, out);
    check_state_dir(settings, out);
    check_maildrop(settings, out);
    return out;
}

}  // namespace sternpost::cmd
