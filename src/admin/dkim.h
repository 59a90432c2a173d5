// `dkim check`: the records of the keys as the world sees them.
#pragma once

#include <boost/describe/class.hpp>
#include <string>
#include <vector>

namespace sternpost::admin {

struct PublishedKey {
    std::string domain;
    std::string selector;
    std::string algorithm;
    std::string state;
    std::string name;       // of the record
    std::string published;  // yes, no, revoked, several, malformed, different, unanswered
    std::string text;       // what is wrong with it
};
BOOST_DESCRIBE_STRUCT(PublishedKey, (), (domain, selector, algorithm, state, name, published, text))

struct BadKey {
    std::string file;
    std::string text;
};
BOOST_DESCRIBE_STRUCT(BadKey, (), (file, text))

struct PublishedKeys {
    std::vector<PublishedKey> keys;
    std::vector<BadKey> bad;
};
BOOST_DESCRIBE_STRUCT(PublishedKeys, (), (keys, bad))

}  // namespace sternpost::admin
