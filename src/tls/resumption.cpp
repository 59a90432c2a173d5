#include "tls/resumption.h"

namespace sternpost::tls {
namespace {

constexpr std::size_t max_collected = 2;  // ours: servers give two as a rule

int collector_index() {
    static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}

// 0: OpenSSL keeps its reference.
int on_session(SSL* ssl, SSL_SESSION* session) {
    auto* into = static_cast<std::vector<Ticket>*>(SSL_get_ex_data(ssl, collector_index()));
    if (into == nullptr) return 0;
    if (auto ticket = Ticket::copy_of(session)) {
        if (into->size() == max_collected) into->erase(into->begin());
        into->push_back(std::move(*ticket));
    }
    return 0;
}

}  // namespace

std::optional<Ticket> Ticket::copy_of(SSL_SESSION* session) {
    if (SSL_SESSION_is_resumable(session) != 1) return std::nullopt;
    SSL_SESSION* copy = SSL_SESSION_dup(session);
    if (copy == nullptr) return std::nullopt;
    return Ticket(copy);
}

bool Ticket::single_use() const {
    return SSL_SESSION_get_protocol_version(session_.get()) >= TLS1_3_VERSION;
}

WallTime Ticket::expires() const {
    return WallTime(
        std::chrono::seconds(SSL_SESSION_get_time(session_.get()) + SSL_SESSION_get_timeout(session_.get())));
}

void let_collect(SSL_CTX* context) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, on_session);
}

void collect(SSL* ssl, std::vector<Ticket>& into) {
    SSL_set_ex_data(ssl, collector_index(), &into);
}

Evidence evidence_of(const Ticket& ticket, SSL_CTX* context, const std::optional<dns::Domain>& host,
                     WallTime now) {
    // OpenSSL 3.0 shows a session's chain only through a connection that has the session.
    const std::unique_ptr<SSL, void (*)(SSL*)> ssl(SSL_new(context), SSL_free);
    if (!ssl || SSL_set_session(ssl.get(), ticket.get()) != 1) return {};
    return evidence_at(ssl.get(), host, now);
}

}  // namespace sternpost::tls
