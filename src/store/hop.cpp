#include "store/hop.h"

namespace sternpost::store {
namespace {

constexpr std::string_view requiretls_mark = " requiretls";
constexpr std::string_view optional_mark = " tls-optional";

}  // namespace

TlsWish wish_of(MessageClass message_class, const mail::Envelope& envelope) {
    switch (message_class) {
        case MessageClass::report:
            return TlsWish::tls_optional;
        case MessageClass::notice:
            return TlsWish::ordinary;
        case MessageClass::mail:
            break;
    }
    if (envelope.requiretls) return TlsWish::requiretls;
    return envelope.tls_required_no ? TlsWish::tls_optional : TlsWish::ordinary;
}

std::string HopName::text() const {
    switch (wish) {
        case TlsWish::ordinary:
            break;
        case TlsWish::requiretls:
            return next_hop + std::string(requiretls_mark);
        case TlsWish::tls_optional:
            return next_hop + std::string(optional_mark);
    }
    return next_hop;
}

HopName HopName::parse(std::string_view text) {
    for (const auto& [mark, wish] :
         {std::pair{requiretls_mark, TlsWish::requiretls}, std::pair{optional_mark, TlsWish::tls_optional}})
        if (text.ends_with(mark)) return {std::string(text.substr(0, text.size() - mark.size())), wish};
    return {std::string(text), TlsWish::ordinary};
}

std::array<std::string, 3> groups_of(const std::string& next_hop) {
    return {HopName{next_hop, TlsWish::ordinary}.text(), HopName{next_hop, TlsWish::requiretls}.text(),
            HopName{next_hop, TlsWish::tls_optional}.text()};
}

std::string hop_of(const StoredMessage& message, std::size_t recipient) {
    return HopName{message.recipients[recipient].address.next_hop, wish_of(message)}.text();
}

std::string hop_of(const NewMessage& message, std::size_t recipient) {
    const TlsWish wish = wish_of(message.message_class, message.envelope);
    return HopName{message.recipients[recipient].next_hop, wish}.text();
}

}  // namespace sternpost::store
