#include "store/hop_group.h"

namespace sternpost::store {
namespace {

constexpr std::string_view requiretls_mark = " requiretls";
constexpr std::string_view optional_mark = " tls-optional";

}  // namespace

TlsMode tls_mode_of(MessageClass message_class, const mail::Envelope& envelope) {
    switch (message_class) {
        case MessageClass::report:
            return TlsMode::tls_optional;
        case MessageClass::notice:
            return TlsMode::ordinary;
        case MessageClass::mail:
            break;
    }
    if (envelope.requiretls) return TlsMode::requiretls;
    return envelope.tls_required_no ? TlsMode::tls_optional : TlsMode::ordinary;
}

std::string HopGroup::text() const {
    switch (tls_mode) {
        case TlsMode::ordinary:
            break;
        case TlsMode::requiretls:
            return next_hop + std::string(requiretls_mark);
        case TlsMode::tls_optional:
            return next_hop + std::string(optional_mark);
    }
    return next_hop;
}

HopGroup HopGroup::parse(std::string_view text) {
    for (const auto& [mark, tls_mode] :
         {std::pair{requiretls_mark, TlsMode::requiretls}, std::pair{optional_mark, TlsMode::tls_optional}})
        if (text.ends_with(mark)) return {std::string(text.substr(0, text.size() - mark.size())), tls_mode};
    return {std::string(text), TlsMode::ordinary};
}

std::array<std::string, 3> groups_of(const std::string& next_hop) {
    return {HopGroup{next_hop, TlsMode::ordinary}.text(), HopGroup{next_hop, TlsMode::requiretls}.text(),
            HopGroup{next_hop, TlsMode::tls_optional}.text()};
}

std::string hop_of(const StoredMessage& message, std::size_t recipient) {
    return HopGroup{message.recipients[recipient].address.next_hop, tls_mode_of(message)}.text();
}

std::string hop_of(const NewMessage& message, std::size_t recipient) {
    const TlsMode tls_mode = tls_mode_of(message.message_class, message.envelope);
    return HopGroup{message.recipients[recipient].next_hop, tls_mode}.text();
}

}  // namespace sternpost::store
