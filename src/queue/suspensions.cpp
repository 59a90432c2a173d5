#include "queue/suspensions.h"

#include "store/hop_group.h"
#include "store/sender_scope.h"

namespace sternpost::queue {

using store::SuspensionKind;

void Suspensions::put(store::StoredSuspension suspension) {
    const std::pair key(suspension.kind, suspension.scope);
    if (suspension.ended)
        all_.erase(key);
    else
        all_.insert_or_assign(key, std::move(suspension));
}

const store::StoredSuspension* Suspensions::of_hop(const std::string& group) const {
    if (all_.empty()) return nullptr;
    const std::string name = store::HopGroup::parse(group).next_hop;
    const auto find = [&](const std::string& scope) -> const store::StoredSuspension* {
        const auto known = all_.find({SuspensionKind::next_hop, scope});
        return known == all_.end() ? nullptr : &known->second;
    };
    if (const auto* found = find(name)) return found;
    for (auto dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
        if (const auto* found = find(name.substr(dot))) return found;
    return nullptr;
}

const store::StoredSuspension* Suspensions::of_sender(const store::StoredMessage& message) const {
    for (const auto& [key, suspension] : all_)
        if (key.first == SuspensionKind::sender && store::is_sender(message, key.second)) return &suspension;
    return nullptr;
}

std::vector<store::StoredSuspension> Suspensions::list() const {
    std::vector<store::StoredSuspension> out;
    for (const auto& [key, suspension] : all_) out.push_back(suspension);
    return out;
}

std::vector<std::string> Suspensions::groups() const {
    std::vector<std::string> out;
    for (const auto& [key, suspension] : all_) {
        if (key.first != store::SuspensionKind::next_hop || key.second.starts_with('.')) continue;
        for (const auto& group : store::groups_of(key.second)) out.push_back(group);
    }
    return out;
}

}  // namespace sternpost::queue
