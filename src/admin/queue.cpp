#include "admin/queue.h"

#include "dns/name.h"
#include "dns/record.h"
#include "store/sender_scope.h"
#include "util/login.h"
#include "util/text.h"

namespace sternpost::admin {
namespace {

constexpr std::size_t page_messages = 1000;    // ours: of one page at most
constexpr std::size_t page_recipients = 2000;  // ours: no message is added to a page that has so many
constexpr std::size_t most_hops = 10'000;      // ours: of one answer of the daemon
constexpr std::size_t page_hops = 500;         // ours: of one page of it

RecipientRow row_of(const store::StoredRecipient& recipient, const queue::Blocked& now) {
    RecipientRow out;
    out.path = recipient.address.recipient.path.text();
    out.next_hop = recipient.address.next_hop;
    out.state = recipient.state;
    const bool queued = recipient.state == store::RecipientState::queued;
    out.active = queued && (now.what == queue::Obstacle::none || now.what == queue::Obstacle::due);
    if (queued) {
        out.next_at = now.until.value_or(recipient.next_at);
        out.blocked_by = now.what;
        out.blocks = now.text;
    }
    out.tries = recipient.tries;
    const bool of_hop = queued && now.what == queue::Obstacle::hop_fails;
    out.status = of_hop ? now.status : recipient.status;
    out.reason = of_hop ? now.text : recipient.text;
    return out;
}

void add(store::QueueTotals& totals, const store::StoredMessage& message) {
    ++totals.messages;
    totals.octets += message.body.size;
    for (const auto& recipient : message.recipients)
        if (recipient.state == store::RecipientState::queued) ++totals.recipients;
    if (!totals.oldest || message.arrived < *totals.oldest) totals.oldest = message.arrived;
}

}  // namespace

MessageRow row_of(const store::StoredMessage& message, const std::vector<queue::Blocked>& blocked) {
    MessageRow out;
    out.id = message.id.text();
    out.arrived = message.arrived;
    out.size = message.body.size;
    out.class_ = name_of(message.message_class);
    out.reverse_path = message.envelope.reverse_path.text();
    out.held = message.held;
    out.requiretls = message.envelope.requiretls;
    out.tls_required_no = message.envelope.tls_required_no;
    out.smtputf8 = message.envelope.smtputf8;
    out.origin = {message.origin.address, message.origin.helo, message.origin.with, message.origin.uid};
    for (std::size_t n = 0; n < message.recipients.size(); ++n)
        out.recipients.push_back(row_of(message.recipients[n], blocked[n]));
    return out;
}

Totals totals_of(const store::QueueTotals& totals) {
    return {totals.messages, totals.recipients, totals.octets, totals.oldest};
}

Refusal unknown_sender(const std::string& text) {
    return misused("--sender " + printable(text) + ": allowed is " + std::string(store::sender_forms));
}

Expected<store::QueueFilter, ExitCode> filter_of(const Selection& selection) {
    store::QueueFilter out;
    for (const auto& text : selection.ids) {
        const auto id = store::MessageId::parse(text);
        if (!id) return fail(ExitCode::no, "\"" + printable(text) + "\" is not a queue id");
        out.ids.push_back(*id);
    }
    out.domain = lowered(selection.domain);
    if (!selection.sender.empty()) {
        auto scope = store::parse_sender_scope(selection.sender, util::uid_of_login);
        if (!scope) return fail(ExitCode::usage, unknown_sender(selection.sender).text);
        out.sender = std::move(*scope);
    }
    out.reason = selection.reason;
    out.recipient = selection.recipient;
    out.from = selection.from;
    out.arrived_before = selection.arrived_before;
    out.larger = selection.larger;
    out.held = selection.held;
    out.limit = selection.limit;
    return out;
}

std::string next_hop_of(const std::string& text) {
    if (text.starts_with('[') && text.ends_with(']')) {
        std::string inside = text.substr(1, text.size() - 2);
        if (lowered(inside).starts_with("ipv6:")) inside = inside.substr(5);
        const auto address = dns::Address::parse(inside);
        return address ? address->literal() : "";
    }
    const auto domain = dns::Domain::parse(text);
    return domain ? domain->text() : "";
}

// ---- the list

QueueList::QueueList(const Request& request, const Caller& caller, Paging paging) : paging_(paging) {
    auto filter = filter_of(request);
    if (!filter) {
        refused_ = Refusal{filter.error().code, filter.error().text};
        return;
    }
    if (!caller.admin &&
        !(filter->sender.empty() && filter->reason.empty() && filter->recipient.empty() &&
          filter->from.empty() && !filter->arrived_before && filter->larger == 0 && !filter->held)) {
        refused_ = Refusal{ExitCode::not_permitted,
                           "--sender, --reason, --recipient, --from, --older, --larger and --held read the "
                           "whole queue: they are for root and for members of the administrators' group"};
        return;
    }
    filter_ = std::move(*filter);
    left_ = filter_.limit;
    if (paging == Paging::one_page) left_ = std::min(left_, page_messages);
    filter_.limit = std::min(left_, page_messages);
    filter_.recipients = page_recipients;
}

// Page by page, so that memory holds one page however long the queue is.
store::Result<void> QueueList::read(store::Questions& questions) {
    auto found = questions.find(filter_);
    if (!found) return fail(std::move(found).error());
    found_ = std::move(*found);
    std::size_t of_page = 0;
    for (const auto& message : found_) of_page += message.recipients.size();
    recipients_ += of_page;
    left_ -= std::min(left_, found_.size());
    const bool full = of_page >= page_recipients;
    // ids that were asked for are one page
    const bool last = (found_.size() < filter_.limit && !full) || !filter_.ids.empty();
    listing_.more = full ? left_ > 0 || !last : !last && left_ == 0;
    more_ = !last && left_ > 0;
    if (more_ && paging_ == Paging::one_page && recipients_ >= page_recipients) {
        listing_.more = true;
        more_ = false;
    }
    if (more_) {
        filter_.after = found_.back().id;
        filter_.limit = std::min(left_, page_messages);
        return {};
    }
    const auto totals = questions.totals();
    if (!totals) return fail(totals.error());
    listing_.totals = totals_of(*totals);
    return {};
}

void QueueList::look(const Live& live) {
    for (const auto& message : std::exchange(found_, {})) {
        listing_.messages.push_back(row_of(message, live.blocked_by(message, {})));
        add(selected_, message);
    }
    listing_.selected = totals_of(selected_);
}

// ---- one message

store::Result<void> QueueShow::read(store::Questions& questions) {
    store::QueueFilter filter;
    const auto id = store::MessageId::parse(request_.id);
    if (!id) return {};
    filter.ids.push_back(*id);
    auto found = questions.find(filter);
    if (!found) return fail(std::move(found).error());
    found_ = std::move(*found);
    return {};
}

Answer<MessageRow> QueueShow::answer(const Live& live) {
    if (found_.empty()) return refusal("no message " + printable(request_.id) + " is in the queue");
    return row_of(found_.front(), live.blocked_by(found_.front(), {}));
}

// ---- next hops

HopRow row_of(const store::HopLoad& stored, const Live& live) {
    const store::HopState& state = stored.state;
    HopRow out;
    out.name = state.next_hop;
    out.recipients = stored.recipients;
    out.failures = state.failures;
    if (state.failures > 0) out.next_at = state.next_at;
    out.status = state.status;
    out.reason = state.text;
    if (const auto view = live.hop(state.next_hop)) {
        out.connections = view->lanes;
        out.failures = view->failures;
        out.next_at = view->next_at;
        out.status = view->status;
        out.reason = view->text;
    }
    const auto blocked = live.blocked_by(queue::mail_for(state.next_hop), {state});
    if (blocked.empty()) return out;
    const queue::Blocked& now = blocked.front();
    out.suspended = now.what == queue::Obstacle::hop_suspended;
    if (queue::is_held_back(now.what)) out.reason = now.text;
    out.blocked_by = now.what;
    out.blocks = now.text;
    return out;
}

QueueHops::QueueHops(const Request& request, const Caller&, Paging paging)
    : paging_(paging),
      limit_(paging == Paging::whole ? request.limit : std::min<std::size_t>(request.limit, most_hops)),
      left_(limit_) {}

store::Result<void> QueueHops::read(store::Questions& questions) {
    found_.clear();
    more_ = false;
    if (left_ == 0) return {};
    filter_.limit = std::min(left_, page_hops);
    auto found = questions.hops(filter_);
    if (!found) return fail(std::move(found).error());
    found_ = std::move(*found);
    left_ -= std::min(left_, found_.size());
    const bool all = found_.size() < filter_.limit;
    cut_off_ = !all && paging_ == Paging::one_page;
    more_ = !all && !cut_off_ && left_ > 0;
    if (!found_.empty())
        filter_.after = store::HopKey{found_.back().recipients, found_.back().state.next_hop};
    return {};
}

void QueueHops::look(const Live& live) {
    if (!in_use_) in_use_ = live.hops_in_use();
    for (const auto& hop : std::exchange(found_, {})) {
        const bool used = in_use_->erase(hop.state.next_hop) > 0;
        if (used || hop.recipients > 0 || hop.state.failures > 0) rows_.push_back(row_of(hop, live));
    }
}

Answer<std::vector<HopRow>> QueueHops::answer(const Live& live) {
    if (cut_off_) return std::move(rows_);
    for (const auto& hop :
         *in_use_) {  // all of its mail is in attempts, or the store does not know of it yet
        if (rows_.size() >= limit_) break;
        store::HopLoad load;
        load.state.next_hop = hop;
        rows_.push_back(row_of(load, live));
    }
    return std::move(rows_);
}

// ---- suspensions

SuspensionRow row_of(const store::StoredSuspension& suspension) {
    return {suspension.kind == store::SuspensionKind::sender ? "sender" : "next-hop", suspension.scope,
            suspension.reason, suspension.author, suspension.set};
}

std::vector<SuspensionRow> rows_of(const std::vector<store::StoredSuspension>& suspensions) {
    std::vector<SuspensionRow> out;
    for (const auto& one : suspensions) out.push_back(row_of(one));
    return out;
}

}  // namespace sternpost::admin
