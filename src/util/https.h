// One HTTPS request, bounded in time and size, to addresses that the caller chose. Sole user of libcurl.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "util/result.h"
#include "util/task_queue.h"

namespace sternpost::util {

enum class HttpsErrc {
    connect,      // no address took the connection, or it was lost
    timed_out,    // the whole request took longer than its limit
    certificate,  // chain, dates or name of the server's certificate do not hold
    tls,          // TLS failed otherwise
    too_big,      // the body, or all that came in, is larger than the limit
    protocol,     // not HTTP
    unusable,     // the request cannot be made (bad CA file, out of memory, too many wait)
    stopped,      // given up: no one needs the answer any more
};

struct HttpsRequest {
    std::string host;  // for Host, SNI and the certificate: SAN dNSName only (RFC 9525)
    std::uint16_t port = 443;
    std::string path;                          // beginning with '/'
    std::vector<std::string> addresses;        // the only ones that are connected to, in this order
    std::chrono::milliseconds timeout{60000};  // from its start on, for all of it, slow drips too
    std::size_t max_body = 65536;              // of the answer; all else is bounded by IncomingAnswer
    bool allow_special = false;                // loopback and private addresses, as the gate decides
    std::optional<std::string> post_body;      // GET without it
    std::string content_type;                  // with post_body
    bool verify = true;  // false: any certificate will do, where the standard lets it (RFC 8460 §3)
};

struct HttpsAnswer {
    int status = 0;
    std::optional<std::string> content_type;  // as sent; nullopt: no such field
    std::string body;
    std::string fingerprint;  // SHA-256 of the server's certificate, hex
};

/// Any thread may call; the reply comes on the HTTPS thread, once.
class Https {
  public:
    virtual ~Https() = default;
    virtual void run(HttpsRequest request, Completion<Expected<HttpsAnswer, HttpsErrc>> reply) = 0;
    /// Requests from now on use the roots that the CA file holds now.
    virtual void reload() = 0;
    /// What is under way, and all that is asked from now on, is answered with `stopped`, so that who waits
    /// can end.
    virtual void stop() {}
};

/// Whether a connection may be made; asked for each, on the HTTPS thread.
using MayConnect = std::function<bool(const std::string& address, std::uint16_t port, bool allow_special)>;

/// What all transfers together may take. ours: the RFCs set none.
struct HttpsLimits {
    std::size_t transfers = 64;                       // at a time; further ones wait
    std::uint64_t memory = std::uint64_t{64} << 20U;  // of these; one at least is always under way
    std::size_t waiting = 1000;                       // further ones are refused
};

/// One thread with one libcurl multi handle. No redirects, no proxy, no reuse of connections, TLS 1.2 or
/// later, roots from `ca_file`.
std::unique_ptr<Https> curl_https(std::string ca_file, std::string user_agent, MayConnect may_connect,
                                  HttpsLimits limits = {});

}  // namespace sternpost::util
