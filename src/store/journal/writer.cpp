#include "store/journal/writer.h"

#include <cassert>
#include <type_traits>

#include "store/journal/codec.h"
#include "util/crc32c.h"

namespace sternpost::store {
namespace {

constexpr std::size_t record_overhead = 64;  // header and padding, for the batch limit

template <class Value>
Result<std::optional<JournalEntry>> entry_of(const RecordView& record, Result<Value> value) {
    if (!value) return fail(std::move(value).error());
    return JournalEntry{record.sequence, record.place, std::move(*value)};
}

// As the one of these values whose type the record has; nullopt: none of them.
template <class... Values>
Result<std::optional<JournalEntry>> decode_described(const RecordView& record,
                                                     std::variant<Accepted, Values...>*) {
    Result<std::optional<JournalEntry>> out = std::optional<JournalEntry>();
    const auto try_one = [&]<class Value>(std::type_identity<Value>) {
        const bool found = static_cast<RecordType>(record.type) == Description<Value>::record;
        if (found) out = entry_of(record, decode<Value>(record.fields));
        return found;
    };
    static_cast<void>((try_one(std::type_identity<Values>()) || ...));
    return out;
}

// A reply may be kept in a function that is copied; it is called once all the same.
template <class Value>
auto shared(Completion<Value> reply) {
    return std::make_shared<Completion<Value>>(std::move(reply));
}

}  // namespace

Result<std::optional<JournalEntry>> decode_entry(const RecordView& record) {
    const auto type = static_cast<RecordType>(record.type);
    if (type != RecordType::accept) return decode_described(record, static_cast<JournalValue*>(nullptr));
    auto accepted = decode_accepted(record.fields);
    if (!accepted) return fail(std::move(accepted).error());
    Body& body = accepted->message.body;
    if (!has_file(body)) body.ref = ref_to(record.place);
    body.damaged = record.body_damaged;
    return JournalEntry{record.sequence, record.place, std::move(*accepted)};
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

void Writer::copy(std::vector<Accepted> messages) {
    Request request;
    for (auto& message : messages) {
        Item item;
        item.octets = std::move(message.message.body.octets);
        item.record = {RecordType::accept, encode(message), item.octets};
        request.octets +=
            item.record.fields.size() + record_overhead + (item.octets ? item.octets->size() : 0);
        item.what = std::move(message);
        request.items.push_back(std::move(item));
    }
    request.answer = [](const Result<void>&) {};
    add(std::move(request));
}

void Writer::accept(NewMessage message, Completion<Result<MessageId>> reply) {
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
                    Completion<Result<void>> reply) {
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

void Writer::act(const std::vector<Act>& acts, Completion<Result<void>> reply) {
    Request request;
    for (const auto& one : acts) {
        request.items.push_back({{RecordType::act, encode(one), nullptr}, one, nullptr});
        request.octets += request.items.back().record.fields.size() + record_overhead;
    }
    request.answer = [answer = shared(std::move(reply))](const Result<void>& written) { (*answer)(written); };
    has_others_ = true;
    add(std::move(request));
}

void Writer::keep(Kept kept, Completion<Result<void>> reply) {
    Request request;
    const auto add_item = [&request]<class Value>(Value& value) {
        Record record{Description<Value>::record, encode(value), nullptr};
        request.octets = record.fields.size() + record_overhead;
        request.items.push_back({std::move(record), std::move(value), nullptr});
    };
    std::visit(add_item, kept);
    has_others_ = has_others_ || reply;
    request.answer = [answer = shared(std::move(reply))](const Result<void>& written) {
        if (*answer) (*answer)(written);
    };
    add(std::move(request));
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
    written.reserve(written.size() + records.size());
    std::uint64_t sequence = journal_.end().sequence - records.size();
    auto place = places->begin();
    for (auto& request : batch) {
        for (auto& item : request.items) {
            if (auto* accepted = std::get_if<Accepted>(&item.what)) {
                if (item.octets) accepted->message.body.ref = ref_to(*place);
                if (on_accepted_ && !accepted->copied) {
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
                accepted != nullptr && !accepted->copied)
                bodies_.discard(accepted->message.body);
        request.answer(refused);
    }
}

void Writer::refuse(const Error<Errc>& why) {
    auto all = take();
    refuse(all, why);
}

}  // namespace sternpost::store
