#include "util/https.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <cassert>
#include <cstring>
#include <deque>
#include <mutex>
#include <new>
#include <thread>
#include <unordered_map>
#include <utility>

#include "util/incoming_answer.h"
#include "util/text.h"

namespace sternpost::util {
namespace {

using Outcome = Expected<HttpsAnswer, HttpsErrc>;

// What libcurl and OpenSSL keep for a transfer that is under way.
constexpr std::uint64_t transfer_overhead = 192UL * 1024;

struct Transfer {
    explicit Transfer(HttpsRequest asked) : request(std::move(asked)), incoming(request.max_body) {}

    HttpsRequest request;
    Completion<Outcome> reply;
    HttpsAnswer answer;
    IncomingAnswer incoming;
    const MayConnect* may_connect = nullptr;
    bool out_of_memory = false;
    CURL* easy = nullptr;
    curl_slist* resolve = nullptr;
    curl_slist* headers = nullptr;
    std::array<char, CURL_ERROR_SIZE> error{};

    std::uint64_t memory() const {
        return IncomingAnswer::budget_of(request.max_body) +
               (request.post_body ? request.post_body->size() : 0) + transfer_overhead;
    }

    ~Transfer() {
        if (easy != nullptr) curl_easy_cleanup(easy);
        curl_slist_free_all(resolve);
        curl_slist_free_all(headers);
    }
};

// libcurl is C: no exception may pass through it. Nothing: there was no memory; the transfer ends.
template <class Work>
bool guarded(Transfer& transfer, Work work) {
    try {
        work();
        return true;
    } catch (const std::bad_alloc&) {
        transfer.out_of_memory = true;
        return false;
    }
}

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) {
    auto& transfer = *static_cast<Transfer*>(user);
    const std::size_t octets = size * count;
    bool kept = false;
    const bool done =
        guarded(transfer, [&] { kept = transfer.incoming.body_piece(std::string_view(data, octets)); });
    return done && kept ? octets : 0;  // 0 ends the transfer with CURLE_WRITE_ERROR
}

void look_at_certificate(Transfer& transfer) {
    curl_tlssessioninfo* session = nullptr;
    if (curl_easy_getinfo(transfer.easy, CURLINFO_TLS_SSL_PTR, &session) != CURLE_OK || session == nullptr ||
        session->backend != CURLSSLBACKEND_OPENSSL || session->internals == nullptr)
        return;
    const std::unique_ptr<X509, void (*)(X509*)> leaf(
        SSL_get1_peer_certificate(static_cast<SSL*>(session->internals)), X509_free);
    std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    if (leaf && X509_digest(leaf.get(), EVP_sha256(), digest.data(), &length) == 1)
        transfer.answer.fingerprint = hex(std::span(digest).first(length));
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* user) {
    auto& transfer = *static_cast<Transfer*>(user);
    const bool done = guarded(transfer, [&] {
        transfer.incoming.header_line(std::string_view(data, size * count));
        if (transfer.answer.fingerprint.empty()) look_at_certificate(transfer);
    });
    return done ? size * count : 0;
}

// libcurl 7.88 keeps trailers in memory without a limit, and its callbacks see neither them nor chunk
// extensions nor interim answers. Only the BIO under TLS sees every octet that comes in.
long on_bio(BIO* bio, int operation, const char*, std::size_t, int, long, int result, std::size_t* octets) {
    if (operation != (BIO_CB_READ | BIO_CB_RETURN) || result <= 0 || octets == nullptr) return result;
    auto& transfer = *reinterpret_cast<Transfer*>(BIO_get_callback_arg(bio));
    return transfer.incoming.received(*octets) ? result : -1;
}

int transfer_index() {
    static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}

// The handshake is about to begin, and its BIO is there.
void on_tls_state(const SSL* ssl, int where, int) {
    if ((where & SSL_CB_HANDSHAKE_START) == 0) return;
    BIO* const bio = SSL_get_rbio(ssl);
    void* const transfer = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), transfer_index());
    if (bio == nullptr || transfer == nullptr) return;
    BIO_set_callback_arg(bio, static_cast<char*>(transfer));
    BIO_set_callback_ex(bio, &on_bio);
}

// The second check: whatever libcurl makes of names and options, it connects to nothing but what the caller
// chose.
curl_socket_t on_open_socket(void* user, curlsocktype, curl_sockaddr* address) {
    auto& transfer = *static_cast<Transfer*>(user);
    const bool v6 = address->family == AF_INET6;
    if (!v6 && address->family != AF_INET) return CURL_SOCKET_BAD;
    const void* octets = &address->addr;
    std::uint16_t port = 0;
    if (v6) {
        port = static_cast<const sockaddr_in6*>(octets)->sin6_port;
        octets = &static_cast<const sockaddr_in6*>(octets)->sin6_addr;
    } else {
        port = static_cast<const sockaddr_in*>(octets)->sin_port;
        octets = &static_cast<const sockaddr_in*>(octets)->sin_addr;
    }
    bool may = false;
    guarded(transfer, [&] {
        for (const auto& text : transfer.request.addresses) {
            std::array<std::uint8_t, sizeof(in6_addr)> chosen{};
            if (::inet_pton(address->family, text.c_str(), chosen.data()) != 1) continue;
            if (std::memcmp(chosen.data(), octets, v6 ? sizeof(in6_addr) : sizeof(in_addr)) == 0)
                may = may || (*transfer.may_connect)(text, ntohs(port), transfer.request.allow_special);
        }
    });
    return may ? ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol)
               : CURL_SOCKET_BAD;
}

// libcurl's own check accepts a name that stands only in the CN (seen with 7.88.1): OpenSSL's is set to SANs
// alone.
CURLcode on_ssl_context(CURL*, void* context, void* user) {
    auto& transfer = *static_cast<Transfer*>(user);
    auto* const ssl_context = static_cast<SSL_CTX*>(context);
    if (SSL_CTX_set_ex_data(ssl_context, transfer_index(), &transfer) != 1) return CURLE_OUT_OF_MEMORY;
    SSL_CTX_set_info_callback(ssl_context, &on_tls_state);
    if (!transfer.request.verify) return CURLE_OK;
    X509_VERIFY_PARAM* param = SSL_CTX_get0_param(ssl_context);
    X509_VERIFY_PARAM_set_hostflags(
        param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_host(param, transfer.request.host.data(), transfer.request.host.size()) != 1)
        return CURLE_SSL_CERTPROBLEM;
    SSL_CTX_set_security_level(ssl_context, 2);
    return CURLE_OK;
}

// libcurl calls a header line beyond 100 KB a want of memory, too.
bool line_too_long(CURLcode code, const Transfer& transfer) {
    return code == CURLE_OUT_OF_MEMORY && !transfer.out_of_memory && transfer.incoming.octets() > 100'000;
}

HttpsErrc meaning(CURLcode code, const Transfer& transfer) {
    if (transfer.incoming.too_big() || line_too_long(code, transfer)) return HttpsErrc::too_big;
    if (transfer.out_of_memory) return HttpsErrc::unusable;
    switch (static_cast<int>(code)) {
        case CURLE_OPERATION_TIMEDOUT:
            return HttpsErrc::timed_out;
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_ISSUER_ERROR:
            return HttpsErrc::certificate;
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_SSL_CIPHER:
            return HttpsErrc::tls;
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_OUT_OF_MEMORY:
        case CURLE_FAILED_INIT:
        case CURLE_URL_MALFORMAT:
            return HttpsErrc::unusable;
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_WEIRD_SERVER_REPLY:
            return HttpsErrc::protocol;
        default:
            return HttpsErrc::connect;
    }
}

class CurlHttps final : public Https {
  public:
    CurlHttps(std::string ca_file, std::string user_agent, MayConnect may_connect, HttpsLimits limits)
        : ca_file_(std::move(ca_file)),
          user_agent_(std::move(user_agent)),
          may_connect_(std::move(may_connect)),
          limits_(limits) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        multi_ = curl_multi_init();
        thread_ = std::thread([this] { loop(); });
    }
    CurlHttps(const CurlHttps&) = delete;
    CurlHttps& operator=(const CurlHttps&) = delete;
    ~CurlHttps() override {
        stop();
        thread_.join();
        curl_multi_cleanup(multi_);
    }

    void stop() override {
        const std::lock_guard lock(inbox_lock_);
        stopping_ = true;
        curl_multi_wakeup(multi_);
    }

    void run(HttpsRequest request, Completion<Outcome> reply) override {
        auto transfer = std::make_unique<Transfer>(std::move(request));
        transfer->reply = std::move(reply);
        {
            const std::lock_guard lock(inbox_lock_);
            if (!stopping_) {
                inbox_.push_back(std::move(transfer));
                curl_multi_wakeup(multi_);
                return;
            }
        }
        give_up(*transfer);
    }

    void reload() override {
        const std::lock_guard lock(inbox_lock_);
        reload_asked_ = true;
        curl_multi_wakeup(multi_);
    }

  private:
    static void give_up(Transfer& transfer) {
        transfer.reply(fail(HttpsErrc::stopped, "the request was given up"));
    }

    void loop() {
        std::vector<std::unique_ptr<Transfer>> late;  // asked for as we were told to stop
        for (;;) {
            std::vector<std::unique_ptr<Transfer>> arrived;
            {
                const std::lock_guard lock(inbox_lock_);
                arrived.swap(inbox_);
                stale_roots_ = std::exchange(reload_asked_, false) || stale_roots_;
                if (stopping_) {
                    for (auto& transfer : arrived) late.push_back(std::move(transfer));
                    break;
                }
                if (stale_roots_ &&
                    transfers_.empty()) {  // the roots that were read live in the multi handle
                    curl_multi_cleanup(multi_);
                    multi_ = curl_multi_init();
                    stale_roots_ = false;
                }
            }
            for (auto& transfer : arrived) {
                enqueue(std::move(transfer));
                start_waiting();
            }
            int running = 0;
            curl_multi_perform(multi_, &running);
            int left = 0;
            while (const CURLMsg* message = curl_multi_info_read(multi_, &left))
                if (message->msg == CURLMSG_DONE) finish(message->easy_handle, message->data.result);
            if (start_waiting()) continue;
            curl_multi_poll(multi_, nullptr, 0, 1000, nullptr);
        }
        for (auto& [easy, transfer] : transfers_) {
            curl_multi_remove_handle(multi_, easy);
            give_up(*transfer);
        }
        for (auto& transfer : waiting_) give_up(*transfer);
        for (auto& transfer : late) give_up(*transfer);
        transfers_.clear();
    }

    // Answers with an error. That needs memory itself: what the transfer had is free by then.
    static void refuse(std::unique_ptr<Transfer> transfer, HttpsErrc code, const char* why) {
        Completion<Outcome> reply = std::move(transfer->reply);
        transfer.reset();
        reply(fail(code, why));
    }

    void enqueue(std::unique_ptr<Transfer> transfer) {
        if (waiting_.size() >= limits_.waiting)
            return refuse(std::move(transfer), HttpsErrc::unusable,
                          "too many HTTPS requests of this host wait already");
        const bool queued = guarded(*transfer, [&] { waiting_.emplace_back(); });
        if (!queued) return refuse(std::move(transfer), HttpsErrc::unusable, "out of memory");
        waiting_.back() = std::move(transfer);
    }

    // True: one was started.
    bool start_waiting() {
        bool started = false;
        while (!waiting_.empty() && transfers_.size() < limits_.transfers &&
               (transfers_.empty() || in_use_ + waiting_.front()->memory() <= limits_.memory)) {
            std::unique_ptr<Transfer> transfer = std::move(waiting_.front());
            waiting_.pop_front();
            bool begun = false;
            guarded(*transfer, [&] { begun = prepare(*transfer); });
            if (!begun) {
                refuse(std::move(transfer), HttpsErrc::unusable, "out of memory");
                continue;
            }
            CURL* const easy = transfer->easy;
            in_use_ += transfer->memory();
            curl_multi_add_handle(multi_, easy);
            transfers_.find(easy)->second = std::move(transfer);
            started = true;
        }
        return started;
    }

    // Sets all options and makes room for it among the transfers. False: there is no memory.
    bool prepare(Transfer& t) {
        const HttpsRequest& r = t.request;
        t.may_connect = &may_connect_;
        t.easy = curl_easy_init();
        if (t.easy == nullptr) return false;
        const std::string port = std::to_string(r.port);
        std::string resolve = r.host + ":" + port + ":";
        for (std::size_t i = 0; i < r.addresses.size(); ++i) {
            const bool v6 = r.addresses[i].find(':') != std::string::npos;
            resolve += (i > 0 ? "," : "") + (v6 ? "[" + r.addresses[i] + "]" : r.addresses[i]);
        }
        t.resolve = curl_slist_append(nullptr, resolve.c_str());
        if (t.resolve == nullptr) return false;
        const std::string url = "https://" + r.host + (r.port == 443 ? "" : ":" + port) + r.path;
        const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(t.easy, option, value); };
        set(CURLOPT_URL, url.c_str());
        set(CURLOPT_RESOLVE, t.resolve);
        set(CURLOPT_PROTOCOLS_STR, "https");
        set(CURLOPT_PROXY, "");
        set(CURLOPT_FOLLOWLOCATION, 0L);  // RFC 8461 §3.3: never
        set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
        set(CURLOPT_NOSIGNAL, 1L);
        set(CURLOPT_FRESH_CONNECT, 1L);
        set(CURLOPT_FORBID_REUSE, 1L);
        set(CURLOPT_TIMEOUT_MS, r.timeout.count());
        set(CURLOPT_HAPPY_EYEBALLS_TIMEOUT_MS, 200L);
        set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
        set(CURLOPT_SSL_VERIFYPEER, r.verify ? 1L : 0L);
        set(CURLOPT_SSL_VERIFYHOST, r.verify ? 2L : 0L);
        set(CURLOPT_CAINFO, ca_file_.c_str());
        set(CURLOPT_CAPATH,
            static_cast<const char*>(nullptr));               // reading a folder of roots costs 24 ms a fetch
        if (stale_roots_) set(CURLOPT_CA_CACHE_TIMEOUT, 0L);  // until the multi handle can be renewed
        set(CURLOPT_SSL_CTX_FUNCTION, &on_ssl_context);
        set(CURLOPT_SSL_CTX_DATA, &t);
        set(CURLOPT_OPENSOCKETFUNCTION, &on_open_socket);
        set(CURLOPT_OPENSOCKETDATA, &t);
        set(CURLOPT_WRITEFUNCTION, &on_body);
        set(CURLOPT_WRITEDATA, &t);
        set(CURLOPT_HEADERFUNCTION, &on_header);
        set(CURLOPT_HEADERDATA, &t);
        set(CURLOPT_ERRORBUFFER, t.error.data());
        set(CURLOPT_USERAGENT, user_agent_.c_str());
        if (r.post_body) {
            t.headers = curl_slist_append(nullptr, ("Content-Type: " + r.content_type).c_str());
            set(CURLOPT_HTTPHEADER, t.headers);
            set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(r.post_body->size()));
            set(CURLOPT_POSTFIELDS, r.post_body->data());
        }
        transfers_.emplace(t.easy, nullptr);
        return true;
    }

    void finish(CURL* easy, CURLcode code) {
        const auto at = transfers_.find(easy);
        assert(at != transfers_.end());
        std::unique_ptr<Transfer> transfer = std::move(at->second);
        transfers_.erase(at);
        in_use_ -= transfer->memory();
        curl_multi_remove_handle(multi_, easy);
        Outcome outcome = fail(HttpsErrc::unusable, "out of memory");
        guarded(*transfer, [&] { outcome = outcome_of(*transfer, code); });
        Completion<Outcome> reply = std::move(transfer->reply);
        transfer.reset();
        reply(std::move(outcome));
    }

    static Outcome outcome_of(Transfer& transfer, CURLcode code) {
        if (code == CURLE_OK && !transfer.incoming.too_big() && !transfer.out_of_memory) {
            long status = 0;
            curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
            transfer.answer.status = static_cast<int>(status);
            transfer.answer.content_type = transfer.incoming.content_type();
            transfer.answer.body = transfer.incoming.take_body();
            return std::move(transfer.answer);
        }
        const HttpsErrc what = meaning(code, transfer);
        std::string text = line_too_long(code, transfer) ? "a header line is larger than 100 KB"
                           : what == HttpsErrc::too_big  ? transfer.incoming.excess()
                           : transfer.out_of_memory      ? std::string("out of memory")
                           : transfer.error[0] != '\0'   ? printable(transfer.error.data())
                                                         : std::string(curl_easy_strerror(code));
        return fail(what, std::move(text));
    }

    std::string ca_file_;
    std::string user_agent_;
    MayConnect may_connect_;
    HttpsLimits limits_;
    CURLM* multi_ = nullptr;
    std::deque<std::unique_ptr<Transfer>> waiting_;
    std::uint64_t in_use_ = 0;  // memory that the transfers under way may take
    std::unordered_map<CURL*, std::unique_ptr<Transfer>> transfers_;
    std::mutex
        inbox_lock_;  // the task queue of this thread, and which multi handle to wake; nothing else is shared
    std::vector<std::unique_ptr<Transfer>> inbox_;
    bool stopping_ = false;
    bool reload_asked_ = false;
    bool stale_roots_ = false;  // this thread's alone: multi_ still holds roots from before a reload
    std::thread thread_;
};

}  // namespace

std::unique_ptr<Https> curl_https(std::string ca_file, std::string user_agent, MayConnect may_connect,
                                  HttpsLimits limits) {
    return std::make_unique<CurlHttps>(std::move(ca_file), std::move(user_agent), std::move(may_connect),
                                       limits);
}

}  // namespace sternpost::util
