#include "dkim/keys.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <tuple>

#include "util/file.h"
#include "util/text.h"

namespace sternpost::dkim {
namespace {

constexpr std::string_view suffix = ".pem";
constexpr std::string_view between = "._domainkey.";
constexpr std::size_t max_file = 65536;  // ours

// From `selector._domainkey.domain.pem`; a name that cannot be taken apart says of no domain.
std::optional<std::pair<std::string, dns::Domain>> parts_of(std::string_view file) {
    if (!file.ends_with(suffix)) return std::nullopt;
    file.remove_suffix(suffix.size());
    const auto at = file.find(between);
    if (at == std::string_view::npos) return std::nullopt;
    auto selector = parse_selector(file.substr(0, at));
    auto domain = dns::Domain::parse(file.substr(at + between.size()));
    if (!selector || !domain) return std::nullopt;
    return std::pair(std::move(*selector), std::move(*domain));
}

// The domain above; none above one of two labels.
std::optional<dns::Domain> parent_of(const dns::Domain& domain) {
    const auto dot = domain.text().find('.');
    const std::string above = dot == std::string::npos ? "" : domain.text().substr(dot + 1);
    if (above.find('.') == std::string::npos) return std::nullopt;
    auto parsed = dns::Domain::parse(above);
    return parsed ? std::optional(std::move(*parsed)) : std::nullopt;
}

BadKey whole_folder(Errc code, std::string text) {
    return {"", std::nullopt, "", {code, std::move(text)}};
}

}  // namespace

std::string_view name_of(State state) {
    switch (state) {
        case State::next:
            return "next";
        case State::active:
            return "active";
        case State::retired:
            return "retired";
    }
    return "";
}

std::optional<State> state_of(std::string_view name) {
    for (const auto one : {State::next, State::active, State::retired})
        if (name == name_of(one)) return one;
    return std::nullopt;
}

Choice KeySet::choose(const dns::Domain& author, bool report) const {
    Choice out;
    for (std::optional<dns::Domain> domain = author; domain; domain = parent_of(*domain)) {
        for (const bool special : {true, false}) {
            for (const auto& key : keys)
                if (key.signer.domain == *domain && key.state == State::active && key.reports_only == special)
                    out.keys.push_back(&key);
            if (!report) std::erase_if(out.keys, [](const StoredKey* key) { return key->reports_only; });
            if (!out.keys.empty()) return out;
        }
        for (const auto& one : bad) {
            if (!one.file.empty() && one.domain != *domain) continue;
            out.trouble = &one;
            return out;
        }
        if (report) break;
    }
    return out;
}

const StoredKey* KeySet::find(const dns::Domain& domain, std::string_view selector) const {
    const auto found = std::find_if(keys.begin(), keys.end(), [&](const StoredKey& key) {
        return key.signer.domain == domain && key.signer.selector == selector;
    });
    return found == keys.end() ? nullptr : &*found;
}

std::string key_file(const StoredKey& key) {
    std::string out = fmt::format("State: {}\n", name_of(key.state));
    if (key.since != WallTime{}) out += "Since: " + rfc3339(key.since) + "\n";
    if (key.reports_only) out += "Service: tlsrpt\n";
    return out + key.signer.key.pem();
}

Result<StoredKey> parse_key_file(const std::string& file, std::string_view text) {
    auto parts = parts_of(file);
    if (!parts) return fail(Errc::malformed, "the name of a key's file is SELECTOR._domainkey.DOMAIN.pem");
    State state = State::active;
    WallTime since{};
    bool reports_only = false;
    std::string_view rest = text;
    while (!rest.empty() && !rest.starts_with("-----BEGIN")) {
        const auto eol = std::min(rest.find('\n'), rest.size());
        const std::string_view line = trimmed(rest.substr(0, eol));
        rest.remove_prefix(std::min(eol + 1, rest.size()));
        const auto colon = line.find(':');
        if (colon == std::string_view::npos) continue;
        const std::string_view name = line.substr(0, colon);
        const std::string_view value = trimmed(line.substr(colon + 1));
        if (name == "State") {
            const auto known = state_of(value);
            if (!known)
                return fail(Errc::malformed,
                            "State is next, active or retired, not \"" + printable(value, 40) + "\"");
            state = *known;
        } else if (name == "Since") {
            const auto time = parse_rfc3339(value);
            if (!time) return fail(Errc::malformed, "Since is no time: \"" + printable(value, 40) + "\"");
            since = *time;
        } else if (name == "Service") {
            if (value != "tlsrpt" && value != "*")
                return fail(Errc::malformed, "Service is tlsrpt or *, not \"" + printable(value, 40) + "\"");
            reports_only = value == "tlsrpt";
        }
    }
    auto key = PrivateKey::parse(rest);
    if (!key) return fail(std::move(key).error());
    return StoredKey{
        {std::move(parts->second), std::move(parts->first), std::move(*key)}, state, since, reports_only};
}

Result<StoredKey> KeyFolder::read_one(const std::string& file) const {
    const std::string path = (path_ / file).string();
    const util::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!fd && errno == ELOOP) return fail(Errc::unsafe, "it is a symbolic link");
    if (!fd) return fail(Errc::unreadable, "it cannot be opened: " + util::errno_text(errno));
    struct stat is = {};
    if (::fstat(fd.get(), &is) != 0 || !S_ISREG(is.st_mode)) return fail(Errc::unreadable, "it is no file");
    if ((is.st_mode & 077U) != 0)
        return fail(Errc::unsafe,
                    fmt::format("others than its owner may read or write it (mode {:04o}): chmod 600 "
                                "it, and make a new key if anybody may have read it",
                                is.st_mode & 07777U));
    std::string text;
    char chunk[4096];
    for (;;) {
        const ssize_t got = ::read(fd.get(), chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(Errc::unreadable, "it cannot be read: " + util::errno_text(errno));
        if (got == 0) break;
        text.append(chunk, static_cast<std::size_t>(got));
        if (text.size() > max_file) return fail(Errc::malformed, "it is too large for a key");
    }
    return parse_key_file(file, text);
}

KeySet KeyFolder::read() const {
    KeySet out;
    struct stat is = {};
    if (::stat(path_.c_str(), &is) != 0) {
        if (errno != ENOENT)
            out.bad.push_back(whole_folder(
                Errc::unreadable,
                "the folder of keys, " + path_.string() + ", cannot be read: " + util::errno_text(errno)));
        return out;
    }
    if (S_ISDIR(is.st_mode) && (is.st_mode & 022U) != 0) {
        out.bad.push_back(whole_folder(
            Errc::unsafe,
            fmt::format("others than its owner may write to the folder of keys, {} (mode {:04o}): "
                        "chmod 700 it",
                        path_.string(), is.st_mode & 07777U)));
        return out;
    }
    std::error_code ec;
    std::vector<std::string> files;
    for (std::filesystem::directory_iterator it(path_, ec), end; !ec && it != end; it.increment(ec))
        if (const std::string name = it->path().filename().string(); name.ends_with(suffix))
            files.push_back(name);
    if (ec)
        out.bad.push_back(whole_folder(
            Errc::unreadable, "the folder of keys, " + path_.string() + ", cannot be read: " + ec.message()));
    std::sort(files.begin(), files.end());
    for (const auto& file : files) {
        auto key = read_one(file);
        if (key) {
            out.keys.push_back(std::move(*key));
            continue;
        }
        BadKey bad{file, std::nullopt, "", std::move(key).error()};
        if (auto parts = parts_of(file)) {
            bad.selector = std::move(parts->first);
            bad.domain = std::move(parts->second);
        }
        out.bad.push_back(std::move(bad));
    }
    std::stable_sort(out.keys.begin(), out.keys.end(), [](const StoredKey& a, const StoredKey& b) {
        return std::tuple(a.signer.domain, a.state, a.signer.key.algorithm(), a.signer.selector) <
               std::tuple(b.signer.domain, b.state, b.signer.key.algorithm(), b.signer.selector);
    });
    return out;
}

std::string KeyFolder::fingerprint() const {
    std::string out;
    const auto add = [&](const std::string& path, const std::string& name) {
        struct stat is = {};
        if (::lstat(path.c_str(), &is) != 0) {
            out += name + " " + std::to_string(errno) + "\n";
            return;
        }
        out +=
            fmt::format("{} {} {:o} {} {} {}.{} {}.{}\n", name, is.st_ino, is.st_mode, is.st_uid, is.st_size,
                        is.st_mtim.tv_sec, is.st_mtim.tv_nsec, is.st_ctim.tv_sec, is.st_ctim.tv_nsec);
    };
    add(path_.string(), ".");
    std::error_code ec;
    std::vector<std::string> files;
    for (std::filesystem::directory_iterator it(path_, ec), end; !ec && it != end; it.increment(ec))
        files.push_back(it->path().filename().string());
    std::sort(files.begin(), files.end());
    for (const auto& file : files) add((path_ / file).string(), file);
    return out;
}

Result<void> KeyFolder::write(const StoredKey& key, bool fresh) const {
    if (::mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST)
        return fail(Errc::unreadable,
                    "cannot make the folder " + path_.string() + ": " + util::errno_text(errno));
    std::error_code ec;
    const auto path = path_ / key.file();
    if (fresh && std::filesystem::exists(std::filesystem::symlink_status(path, ec)))
        return fail(Errc::exists, path.string() + " is there already: another selector, or another domain");
    if (auto done = util::write_file(path, key_file(key), 0600); !done)
        return fail(Errc::unreadable, std::move(done.error().text));
    return {};
}

Result<void> KeyFolder::remove(const StoredKey& key) const {
    const auto path = path_ / key.file();
    std::error_code ec;
    if (!std::filesystem::remove(path, ec))
        return fail(ec ? Errc::unreadable : Errc::not_found,
                    "cannot remove " + path.string() + ": " + (ec ? ec.message() : "it is not there"));
    return {};
}

}  // namespace sternpost::dkim
