#include "store/writer.h"

#include <cassert>

#include "store/codec.h"
#include "util/crc32c.h"

namespace sternpost::store {
namespace {

constexpr std::size_t record_overhead = 64;  // header and padding, for the batch limit

template <class Value>
Result<std::optional<JournalEntry>> entry_of(const RecordView& record, Result<Value> value) {
    if (!value) return fail(std::move(value).error());
    return JournalEntry{record.sequence, record.place, std::move(*value)};
}

// A reply may be kept in a function that is copied; it is called once all the same.
template <class Value>
auto shared(Reply<Value> reply) {
    return std::make_shared<Reply<Value>>(std::move(reply));
}

}  // namespace

Result<std::optional<JournalEntry>> decode_entry(const RecordView& record) {
    switch (static_cast<RecordType>(record.type)) {
        case RecordType::accept: {
            auto message = decode_message(record.fields);
            if (!message) return fail(std::move(message).error());
            if (message->body.file.empty()) message->body.place = record.place;
            message->body.damaged = record.body_damaged;
            return JournalEntry{record.sequence, record.place, Accepted{std::move(*message)}};
        }
        case RecordType::result:
            return entry_of(record, decode_result(record.fields));
        case RecordType::act:
            return entry_of(record, decode_act(record.fields));
        case RecordType::policy:
            return entry_of(record, decode_policy(record.fields));
        case RecordType::hop:
            return entry_of(record, decode_hop(record.fields));
        case RecordType::discovery:
            return entry_of(record, decode_discovery(record.fields));
        case RecordType::override:
            return entry_of(record, decode_override(record.fields));
        case RecordType::alarm:
            return entry_of(record, decode_alarm(record.fields));
        case RecordType::suspension:
            return entry_of(record, decode_suspension(record.fields));
        case RecordType::closed_day:
            return entry_of(record, decode_closed_day(record.fields));
        case RecordType::report:
            return entry_of(record, decode_report(record.fields));
    }
    return std::optional<JournalEntry>();
}

// Errors: duplicate (the text is the earlier message's queue id).
Result<void> Writer::add_message(Request& request, NewMessage message) {
    if (message.submission) {
        auto earlier = known_(*message.submission);
        if (const auto it = submissions_.find(*message.submission); !earlier && it != submissions_.end())
            earlier = it->second;
        if (earlier) {
            Bodies::settle(message.body);
            bodies_.discard(message.body);
            return fail(Errc::duplicate, earlier->text());
        }
        submissions_.emplace(*message.submission, message.id);
    }
    Item item;
    item.octets = std::move(message.body.octets);
    if (item.octets) {
        message.body.size = item.octets->size();
        message.body.crc = crc32c(*item.octets);
    }
    item.record = {RecordType::accept, encode(message), item.octets};
    request.octets += item.record.fields.size() + record_overhead + (item.octets ? item.octets->size() : 0);
    item.what = Accepted{std::move(message)};
    request.items.push_back(std::move(item));
    return {};
}

void Writer::add(Request request) {
    octets_ += request.octets;
    requests_.push_back(std::move(request));
}

void Writer::copy(std::vector<NewMessage> messages) {
    Request request;
    for (auto& message : messages) {
        Item item;
        item.octets = std::move(message.body.octets);
        item.record = {RecordType::accept, encode(message), item.octets};
        request.octets +=
            item.record.fields.size() + record_overhead + (item.octets ? item.octets->size() : 0);
        item.what = Accepted{std::move(message)};
        request.items.push_back(std::move(item));
    }
    request.answer = [](const Result<void>&) {};
    add(std::move(request));
}

void Writer::accept(NewMessage message, Reply<Result<MessageId>> reply) {
    Request request;
    const MessageId id = message.id;
    const auto added = add_message(request, std::move(message));
    // A duplicate too is answered with the batch: what it doubles may be in it, and not durable yet.
    request.answer = [id, added, answer = shared(std::move(reply))](const Result<void>& written) {
        if (!written)
            (*answer)(fail(written.error()));
        else if (!added)
            (*answer)(fail(added.error()));
        else
            (*answer)(id);
    };
    has_mail_ = true;
    add(std::move(request));
}

void Writer::record(std::vector<DeliveryResult> results, std::vector<NewMessage> notices,
                    Reply<Result<void>> reply) {
    Request request;
    // Notices first: should a crash tear the batch, no result is kept whose notice is not. One that was kept
    // without its results is known by its submission id when the attempt is repeated.
    for (auto& notice : notices) {
        [[maybe_unused]] const auto added = add_message(request, std::move(notice));
        assert(added || added.error().code == Errc::duplicate);
    }
    for (auto& result : results) {
        Item item;
        item.record = {RecordType::result, encode(result), nullptr};
        item.what = std::move(result);
        request.octets += item.record.fields.size() + record_overhead;
        request.items.push_back(std::move(item));
    }
    request.answer = [answer = shared(std::move(reply))](const Result<void>& written) { (*answer)(written); };
    has_others_ = true;
    add(std::move(request));
}

void Writer::act(const std::vector<Act>& acts, Reply<Result<void>> reply) {
    Request request;
    for (const auto& one : acts) {
        request.items.push_back({{RecordType::act, encode(one), nullptr}, one, nullptr});
        request.octets += request.items.back().record.fields.size() + record_overhead;
    }
    request.answer = [answer = shared(std::move(reply))](const Result<void>& written) { (*answer)(written); };
    has_others_ = true;
    add(std::move(request));
}

template <class Value>
void Writer::add_unanswered(RecordType type, const Value& value) {
    Request request;
    request.items.push_back({{type, encode(value), nullptr}, value, nullptr});
    request.octets = request.items.back().record.fields.size() + record_overhead;
    request.answer = [](const Result<void>&) {};
    add(std::move(request));
}

template <class Value>
void Writer::add_answered(RecordType type, const Value& value, Reply<Result<void>> reply) {
    add_unanswered(type, value);
    requests_.back().answer = [answer = shared(std::move(reply))](const Result<void>& written) {
        (*answer)(written);
    };
    has_others_ = true;
}

void Writer::put_policy(const StoredPolicy& policy, Reply<Result<void>> reply) {
    add_answered(RecordType::policy, policy, std::move(reply));
}

void Writer::put_override(const StoredOverride& override, Reply<Result<void>> reply) {
    add_answered(RecordType::override, override, std::move(reply));
}

void Writer::put_suspension(const StoredSuspension& suspension, Reply<Result<void>> reply) {
    add_answered(RecordType::suspension, suspension, std::move(reply));
}

void Writer::close_day(std::chrono::sys_days day, Reply<Result<void>> reply) {
    add_answered(RecordType::closed_day, ClosedDay{day}, std::move(reply));
}

void Writer::put_report(const StoredReport& report, Reply<Result<void>> reply) {
    add_answered(RecordType::report, report, std::move(reply));
}

void Writer::record_hop(const HopState& state) {
    add_unanswered(RecordType::hop, state);
}

void Writer::put_discovery(const StoredDiscovery& discovery) {
    add_unanswered(RecordType::discovery, discovery);
}

void Writer::put_alarm(const StoredAlarm& alarm) {
    add_unanswered(RecordType::alarm, alarm);
}

Result<void> Writer::write(std::vector<Request> batch, std::vector<JournalEntry>& written) {
    std::vector<Record> records;
    for (auto& request : batch)
        for (auto& item : request.items) records.push_back(std::move(item.record));
    Result<std::vector<JournalPlace>> places;
    if (!records.empty()) places = journal_.append(records);
    if (!places) {
        refuse(batch, places.error());
        return fail(std::move(places).error());
    }
    std::vector<StoredMessage> news;
    std::uint64_t sequence = journal_.end().sequence - records.size();
    auto place = places->begin();
    for (auto& request : batch) {
        for (auto& item : request.items) {
            if (auto* accepted = std::get_if<Accepted>(&item.what)) {
                if (item.octets) accepted->message.body.place = *place;
                if (on_accepted_ && !accepted->message.standing) {
                    news.push_back(StoredMessage::of(accepted->message));
                    news.back().body.octets = item.octets;
                    Bodies::settle(news.back().body);
                }
            }
            written.push_back({sequence++, *place++, std::move(item.what)});
            item.octets.reset();
        }
    }
    if (!news.empty()) on_accepted_(std::move(news));
    const Result<void> done;
    for (auto& request : batch) request.answer(done);
    return done;
}

std::vector<Writer::Request> Writer::take() {
    submissions_.clear();
    octets_ = 0;
    has_mail_ = false;
    has_others_ = false;
    return std::exchange(requests_, {});
}

std::vector<JournalEntry> Writer::commit() {
    std::vector<JournalEntry> written;
    std::vector<Request> batch;
    std::size_t octets = 0;
    Result<void> state;
    // Once a batch fails the rest of them are refused with it: what they double may have been in it.
    const auto flush = [&] {
        if (state)
            state = write(std::exchange(batch, {}), written);
        else
            refuse(batch, state.error());
        batch.clear();
        octets = 0;
    };
    for (auto& request : take()) {
        if (!batch.empty() && octets + request.octets > max_batch) flush();
        octets += request.octets;
        batch.push_back(std::move(request));
    }
    if (!batch.empty()) flush();
    committed_ = std::move(state);
    return written;
}

void Writer::refuse(std::vector<Request>& batch, const Error<Errc>& why) {
    const Result<void> refused = fail(why);
    for (auto& request : batch) {
        for (const auto& item : request.items)
            if (const auto* accepted = std::get_if<Accepted>(&item.what);
                accepted != nullptr && !accepted->message.standing)
                bodies_.discard(accepted->message.body);
        request.answer(refused);
    }
}

void Writer::refuse(const Error<Errc>& why) {
    auto all = take();
    refuse(all, why);
}

}  // namespace sternpost::store
