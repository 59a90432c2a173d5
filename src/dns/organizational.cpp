#include "dns/organizational.h"

#include <libpsl.h>

namespace sternpost::dns {

std::string organizational_domain(const Domain& domain) {
    const char* registrable = psl_registrable_domain(psl_builtin(), domain.text().c_str());
    return registrable == nullptr ? domain.text() : registrable;
}

}  // namespace sternpost::dns
