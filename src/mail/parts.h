// The leaves of a message that someone else made, decoded: for whoever looks for an attachment in it. Pure;
// lenient.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sternpost::mail {

struct Part {
    std::string type;       // `application/gzip`, lower case; text/plain where nothing is said
    std::string file_name;  // of Content-Disposition or Content-Type; empty: none
    std::string octets;     // decoded (RFC 2045 §6)
};

/// In their order, those of messages inside too. What is nested more than ten deep, and parts beyond two
/// hundred, are passed over. Lines may end with LF.
std::vector<Part> leaves(std::string_view message);

}  // namespace sternpost::mail
