// One HTTP answer as it comes in: counts every octet that its connection carried, keeps the body and the one
// header field that matters. Pure; libcurl parses, this decides when it is too much.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sternpost::util {

class IncomingAnswer {
  public:
    explicit IncomingAnswer(std::size_t max_body) : max_body_(max_body) {}

    /// What one connection may carry towards us: a body of `max_body` octets with a quarter for its framing,
    /// and 64 KiB for TLS handshake, status line and header fields. ours: the RFC sets none.
    static std::uint64_t budget_of(std::size_t max_body);

    /// So many octets came off the socket, whatever they are part of (TLS records, interim answers, header
    /// fields, chunk extensions, trailers). False: that is more than the budget; end the transfer.
    bool received(std::size_t octets);
    /// One line of a header or trailer, with its line end.
    void header_line(std::string_view line);
    /// A piece of the body. False: it is larger than `max_body`; end the transfer.
    bool body_piece(std::string_view piece);

    std::uint64_t octets() const { return received_; }
    bool too_big() const { return over_budget_ || body_too_big_; }
    /// For people: what was too big.
    std::string excess() const;
    const std::optional<std::string>& content_type() const { return content_type_; }
    std::string take_body() { return std::move(body_); }
    std::size_t body_size() const { return body_.size(); }

  private:
    std::size_t max_body_;
    std::uint64_t received_ = 0;
    bool over_budget_ = false;
    bool body_too_big_ = false;
    std::optional<std::string> content_type_;
    std::string body_;
};

}  // namespace sternpost::util
