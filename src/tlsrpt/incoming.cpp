#include "tlsrpt/incoming.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/memory_resource.hpp>
#include <boost/json/parser.hpp>
#include <boost/json/value.hpp>
#include <new>
#include <set>

#include "mail/parts.h"
#include "tlsrpt/result_type.h"
#include "util/gzip.h"
#include "util/text.h"

namespace sternpost::tlsrpt {
namespace {

namespace json = boost::json;

constexpr std::size_t most_octets = 16UL << 20U;  // of JSON; ours
constexpr std::size_t most_memory = 64UL
                                    << 20U;   // for its values, which may take thirty times its octets; ours
constexpr std::size_t most_entries = 10'000;  // policies, and details of one; ours
constexpr std::size_t most_details = 50'000;  // of all policies; ours
constexpr std::size_t most_text = 1000;       // of one value that is kept
constexpr std::string_view bom = "\xEF\xBB\xBF";

// Memory up to a limit; beyond it std::bad_alloc.
class Bounded final : public json::memory_resource {
  public:
    explicit Bounded(std::size_t limit) : left_(limit) {}

  private:
    // Boost.JSON 1.81 frees the keys of objects with another alignment than it allocates them with, so the
    // alignment that any object may have serves for all.
    void* do_allocate(std::size_t octets, std::size_t alignment) override {
        if (octets > left_ || alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__) throw std::bad_alloc();
        void* const out = ::operator new(octets);
        left_ -= octets;
        return out;
    }
    void do_deallocate(void* memory, std::size_t octets, std::size_t /*alignment*/) override {
        ::operator delete(memory);
        left_ += octets;
    }
    bool do_is_equal(const json::memory_resource& other) const noexcept override { return this == &other; }

    std::size_t left_;
};

// Parses within `memory`, which outlives the value. Errors: bad_record.
Result<json::value> parse_within(Bounded& memory, std::string_view text) {
    json::parse_options lenient;
    lenient.allow_invalid_utf8 = true;
    lenient.allow_trailing_commas = true;
    boost::system::error_code ec;
    try {
        const json::storage_ptr storage(&memory);
        json::parser parser(storage, lenient);
        parser.reset(storage);
        parser.write(text, ec);
        if (!ec) return parser.release();
    } catch (const std::bad_alloc&) {
        return fail(Errc::bad_record, "its JSON has more values than fit into 64 MiB of memory");
    }
    return fail(Errc::bad_record, "not JSON: " + ec.message());
}

// Takes values out of someone else's JSON and remembers each time that it had to look away.
class Taker {
  public:
    explicit Taker(std::vector<std::string>& oddities) : oddities_(oddities) {}

    void odd(const std::string& what) {
        if (oddities_.size() < 50 && seen_.insert(what).second) oddities_.push_back(what);
    }
    std::string text(const json::object& from, std::string_view key, bool needed = false) {
        const auto* value = from.if_contains(key);
        if (value == nullptr || value->is_null()) {
            if (value != nullptr)
                odd(std::string(key) + " is null");
            else if (needed)
                odd(std::string(key) + " is missing");
            return "";
        }
        if (value->is_string()) return printable(std::string_view(value->as_string()), most_text);
        odd(std::string(key) + " is no text");
        return "";
    }
    std::uint64_t count(const json::object& from, std::string_view key) {
        const auto* value = from.if_contains(key);
        if (value == nullptr || value->is_null()) {
            odd(std::string(key) + (value == nullptr ? " is missing" : " is null"));
            return 0;
        }
        boost::system::error_code ec;
        if (value->is_number()) {
            const auto n = value->to_number<std::uint64_t>(ec);
            if (!ec) return bounded(n, key);
        } else if (value->is_string()) {
            odd(std::string(key) + " is a text, not a number");
            if (const auto n = decimal(trimmed(std::string_view(value->as_string()))))
                return bounded(*n, key);
        }
        odd(std::string(key) + " is no count");
        return 0;
    }
    const json::object* object(const json::object& from, std::string_view key, bool needed = true) {
        const auto* value = from.if_contains(key);
        if (value != nullptr && value->is_object()) return &value->as_object();
        if (needed || value != nullptr)
            odd(std::string(key) + (value == nullptr   ? " is missing"
                                    : value->is_null() ? " is null"
                                                       : " is no object"));
        return nullptr;
    }

  private:
    std::uint64_t bounded(std::uint64_t n, std::string_view key) {
        if (n > most_integer) odd(std::string(key) + " is larger than 2^53");
        return std::min(n, most_integer);
    }

    std::vector<std::string>& oddities_;
    std::set<std::string> seen_;
};

// Sums of what others say do not wrap.
void add(std::uint64_t& sum, std::uint64_t n) {
    sum = std::min(sum + n, most_integer);
}

// The value's items; of one that is no list, the value itself.
const json::value* items_of(const json::value& value, std::size_t& count) {
    if (!value.is_array()) {
        count = 1;
        return &value;
    }
    count = value.as_array().size();
    return value.as_array().data();
}

bool is_result_type(std::string_view text) {
    for (int i = 0; i <= static_cast<int>(ResultType::sts_webpki_invalid); ++i)
        if (name_of(static_cast<ResultType>(i)) == text) return true;
    return false;
}

// RFC 3339: with a zone.
void look_at_time(Taker& take, const std::string& text, const char* name) {
    const bool zone = text.ends_with('Z') ||
                      (text.size() > 6 && (text[text.size() - 6] == '+' || text[text.size() - 6] == '-') &&
                       text.find('T') != std::string::npos);
    if (!text.empty() && !zone) take.odd(std::string(name) + " has no time zone");
}

void look_at_list(Taker& take, const json::object& policy, std::string_view key) {
    const auto* value = policy.if_contains(key);
    if (value == nullptr || value->is_array()) return;
    take.odd(std::string(key) + (value->is_string() ? " is a text, not a list" : " is no list"));
}

IncomingEntry entry_of(Taker& take, const json::object& from, std::size_t& details_left) {
    IncomingEntry out;
    const bool flat =
        !from.contains("policy") && (from.contains("policy-type") || from.contains("policy-domain"));
    if (flat) take.odd("policy is missing, and its members stand where it should be");
    if (const auto* policy = flat ? &from : take.object(from, "policy")) {
        const std::string type = take.text(*policy, "policy-type", true);
        out.type = lowered(type);
        if (out.type != type) take.odd("policy-type is written " + printable(type, 40));
        out.domain = lowered(take.text(*policy, "policy-domain", true));
        while (out.domain.ends_with('.')) out.domain.pop_back();
        look_at_list(take, *policy, "policy-string");
        look_at_list(take, *policy, "mx-host");
    }
    if (const auto* summary = take.object(from, "summary")) {
        out.good = take.count(*summary, summary->contains("total-successful-session-count")
                                            ? "total-successful-session-count"
                                            : "total-success-session-count");
        out.failed = take.count(*summary, "total-failure-session-count");
    }
    const auto* details = from.if_contains("failure-details");
    if (details == nullptr || details->is_null()) return out;
    if (!details->is_array()) take.odd("failure-details is no list");
    std::size_t count = 0;
    const json::value* items = items_of(*details, count);
    for (std::size_t i = 0; i < count; ++i) {
        const json::value& item = items[i];
        if (!item.is_object() || out.details.size() >= std::min(most_entries, details_left)) {
            take.odd(item.is_object() ? "there are too many failure-details"
                                      : "a failure detail is no object");
            continue;
        }
        const auto& detail = item.as_object();
        IncomingDetail key;
        key.result_type = lowered(take.text(detail, "result-type", true));
        if (!key.result_type.empty() && !is_result_type(key.result_type))
            take.odd("result-type " + printable(key.result_type, 60) + " is not one of RFC 8460");
        key.reason = take.text(detail, "failure-reason-code");
        if (key.reason.empty() && detail.contains("failure-error-code")) {
            key.reason = take.text(detail, "failure-error-code");
            take.odd("failure-reason-code is called failure-error-code");
        }
        key.sending_ip = take.text(detail, "sending-mta-ip");
        key.mx_host = lowered(take.text(detail, "receiving-mx-hostname"));
        key.receiving_ip = take.text(detail, "receiving-ip");
        add(out.details[std::move(key)], take.count(detail, "failed-session-count"));
    }
    details_left -= out.details.size();
    std::uint64_t told = 0;
    for (const auto& [key, sessions] : out.details) add(told, sessions);
    if (told > out.failed)
        take.odd(fmt::format("failure-details tell of {} failed sessions, total-failure-session-count of {}",
                             told, out.failed));
    return out;
}

}  // namespace

Result<IncomingReport> read_report(std::string_view octets) {
    IncomingReport out;
    Taker take(out.oddities);
    std::string unpacked;
    if (util::is_gzip(octets)) {
        auto whole = util::gunzip(octets, most_octets);
        if (!whole) return fail(Errc::bad_record, std::move(whole.error().text));
        unpacked = std::move(*whole);
        octets = unpacked;
    }
    if (octets.size() > most_octets) return fail(Errc::bad_record, "it is larger than 16 MiB");
    if (octets.starts_with(bom)) {
        take.odd("it begins with a byte order mark");
        octets.remove_prefix(bom.size());
    }
    Bounded memory(most_memory);
    const auto parsed = parse_within(memory, trimmed(octets));
    if (!parsed) return fail(parsed.error());
    const json::value& value = *parsed;
    if (!valid_utf8(octets)) take.odd("it is not UTF-8");
    if (!value.is_object()) return fail(Errc::bad_record, "JSON, but no object");
    const auto& report = value.as_object();
    out.organization = take.text(report, "organization-name", true);
    out.contact = take.text(report, "contact-info", true);
    if (istarts_with(out.contact, "mailto:")) take.odd("contact-info is a URI");
    out.id = take.text(report, "report-id", true);
    if (const auto* range = take.object(report, "date-range")) {
        out.begin = take.text(*range, "start-datetime", true);
        out.end = take.text(*range, "end-datetime", true);
        look_at_time(take, out.begin, "start-datetime");
        look_at_time(take, out.end, "end-datetime");
    }
    const auto* policies = report.if_contains("policies");
    if (policies == nullptr) return fail(Errc::bad_record, "JSON without policies: not a TLS report");
    if (!policies->is_array())
        take.odd(policies->is_null() ? "policies is null: nothing is said of any domain"
                                     : "policies is no list");
    std::size_t count = 0;
    const json::value* items = items_of(*policies, count);
    if (policies->is_null()) count = 0;
    std::size_t details_left = most_details;
    for (std::size_t i = 0; i < count; ++i) {
        const json::value& item = items[i];
        if (out.entries.size() >= most_entries) {
            take.odd("there are too many policies");
            break;
        }
        if (item.is_object())
            out.entries.push_back(entry_of(take, item.as_object(), details_left));
        else
            take.odd("a policy is no object");
    }
    return out;
}

std::size_t read_reports_in(std::string_view file,
                            const std::function<bool(Result<IncomingReport> report)>& take) {
    const std::string_view text = trimmed(file.starts_with(bom) ? file.substr(bom.size()) : file);
    const auto first = text.find_first_not_of("\r\n\t ");
    if (util::is_gzip(file) || (first != std::string_view::npos && text[first] == '{')) {
        take(read_report(file));
        return 1;
    }
    std::size_t count = 0;
    const auto of_mail = [&](std::string_view mail) {
        for (auto& part : mail::leaves(mail)) {
            const std::string octets = std::move(part.octets);
            const std::string name = lowered(part.file_name);
            const bool typed = part.type.find("tlsrpt") != std::string::npos;
            const auto begin = octets.find_first_not_of(" \t\r\n");
            const bool perhaps = name.ends_with(".json") || name.ends_with(".gz") || util::is_gzip(octets) ||
                                 part.type.find("json") != std::string::npos ||
                                 (begin != std::string::npos && octets[begin] == '{');
            if (!typed && !perhaps) continue;
            auto report = read_report(octets);
            // Other attachments of such shapes are someone else's, DMARC's say.
            if (!typed && !report) continue;
            ++count;
            if (!take(std::move(report))) return false;
        }
        return true;
    };
    constexpr std::string_view mark = "From ";  // of an mbox file
    if (!file.starts_with(mark)) {
        of_mail(file);
        return count;
    }
    for (std::size_t at = 0; at < file.size();) {
        const auto next = file.find("\nFrom ", at);
        const std::string_view one = file.substr(at, next == std::string_view::npos ? next : next + 1 - at);
        const bool more = of_mail(one.substr(std::min(one.find('\n'), one.size() - 1) + 1));
        if (!more || next == std::string_view::npos) break;
        at = next + 1;
    }
    return count;
}

namespace {

constexpr std::size_t of_node = 64;  // what a map takes for an entry, about

std::size_t octets_of(const IncomingDetail& detail) {
    return of_node + sizeof detail + detail.result_type.size() + detail.reason.size() +
           detail.sending_ip.size() + detail.mx_host.size() + detail.receiving_ip.size();
}

std::size_t octets_of(const Sums::Key& key) {
    return of_node + sizeof(Sums::Rows::value_type) + std::get<0>(key).size() + std::get<1>(key).size() +
           std::get<2>(key).size();
}

}  // namespace

Added Sums::add(const IncomingReport& report) {
    // Some give the same id to all their reports of a day, and some give none.
    std::string same = report.organization + "\n" + report.id + "\n" + report.begin + "\n" + report.end;
    for (const auto& entry : report.entries)
        same += "\n" + entry.domain + " " + entry.type + " " + std::to_string(entry.good) + " " +
                std::to_string(entry.failed);
    if (known_.contains(same)) return Added::before;
    std::size_t of_rows = of_node + sizeof same + same.size();
    std::size_t of_details = 0;
    std::size_t details = 0;
    std::set<Key> keys;
    for (const auto& entry : report.entries) {
        Key key{entry.domain, report.organization, entry.type};
        const auto row = rows_.find(key);
        for (const auto& [detail, n] : entry.details) {
            if (row != rows_.end() && row->second.details.contains(detail)) continue;
            of_details += octets_of(detail);
            ++details;
        }
        if (row == rows_.end() && !keys.contains(key)) of_rows += octets_of(key);
        keys.insert(std::move(key));
    }
    if (octets_ + of_rows > limits_.octets) return Added::left_out;
    const bool whole =
        octets_ + of_rows + of_details <= limits_.octets && details_ + details <= limits_.details;
    octets_ += of_rows + (whole ? of_details : 0);
    details_ += whole ? details : 0;
    known_.insert(std::move(same));
    for (const Key& key : keys) ++rows_[key].reports;
    for (const auto& entry : report.entries) {
        Row& row = rows_.at(Key{entry.domain, report.organization, entry.type});
        tlsrpt::add(row.good, entry.good);
        tlsrpt::add(row.failed, entry.failed);
        if (!whole) continue;
        for (const auto& [detail, n] : entry.details) tlsrpt::add(row.details[detail], n);
    }
    return whole ? Added::whole : Added::without_details;
}

}  // namespace sternpost::tlsrpt
