// Answers of the DNS as long as they may be believed, in a bounded number of octets: what was asked for
// longest ago gives way.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <optional>

#include "dns/record.h"
#include "util/clock.h"

namespace sternpost::dns {

/// How much memory an answer takes, about.
std::size_t octets_of(const Mx& record);
std::size_t octets_of(const Address& record);
std::size_t octets_of(const std::string& record);
std::size_t octets_of(const Tlsa& record);
std::size_t octets_of(const Cname& record);

/// The octets that several caches share, and which of their entries was used when.
class CacheBudget {
  public:
    explicit CacheBudget(std::size_t octets) : limit_(octets) {}

    struct Share {
        std::size_t octets = 0;
        std::function<void()> drop;  // erases the entry, which takes the share back
    };
    using Place = std::list<Share>::iterator;

    /// Makes room, and counts the newest entry.
    Place add(std::size_t octets, std::function<void()> drop);
    void used(Place place);
    void take_back(Place place);
    std::size_t octets() const { return octets_; }

  private:
    std::size_t limit_;
    std::size_t octets_ = 0;
    std::list<Share> shares_;  // the latest used in front
};

/// The answers of one type. `budget` outlives it.
template <class Record>
class AnswerCache {
  public:
    explicit AnswerCache(CacheBudget& budget) : budget_(budget) {}

    /// Null: nothing that may be believed at `now`. Valid until the next call of put().
    const Answer<Record>* find(const Domain& name, SteadyTime now) {
        const auto known = entries_.find(name);
        if (known == entries_.end()) return nullptr;
        if (known->second.expires <= now) {
            erase(known);
            return nullptr;
        }
        budget_.used(known->second.place);
        return &known->second.answer;
    }
    /// The same for whoever is not to change what was used when.
    const Answer<Record>* peek(const Domain& name, SteadyTime now) const {
        const auto known = entries_.find(name);
        return known == entries_.end() || known->second.expires <= now ? nullptr : &known->second.answer;
    }
    void put(const Domain& name, const Answer<Record>& answer, SteadyTime expires) {
        if (const auto known = entries_.find(name); known != entries_.end()) erase(known);
        std::size_t octets = overhead + name.text().size() + answer.canonical.size();
        for (const Record& record : answer.records) octets += octets_of(record);
        const auto at = entries_.emplace(name, Entry{answer, expires, {}}).first;
        at->second.place = budget_.add(octets, [this, at] { erase(at); });
    }
    void forget_negative() {
        for (auto at = entries_.begin(); at != entries_.end();) {
            const auto one = at++;
            if (one->second.answer.existence != Existence::found) erase(one);
        }
    }
    std::size_t size() const { return entries_.size(); }

  private:
    static constexpr std::size_t overhead = 320;  // of an entry, its place and its share; a little too much
    struct Entry {
        Answer<Record> answer;
        SteadyTime expires;
        CacheBudget::Place place;
    };
    using Entries = std::map<Domain, Entry>;
    void erase(typename Entries::iterator at) {
        budget_.take_back(at->second.place);
        entries_.erase(at);
    }

    CacheBudget& budget_;
    Entries entries_;
};

}  // namespace sternpost::dns
