#include "lab/sightings.h"

namespace sternpost::lab {
namespace {

constexpr std::size_t max_each = 20000;     // ours
constexpr std::size_t max_sessions = 2000;  // they hold dialogues
constexpr std::size_t max_mail_octets = 256UL << 20U;

}  // namespace

std::uint64_t Sightings::keep(Mail mail) {
    mail.id = ++last_id_;
    mail_octets_ += mail.octets.size();
    mail_.push_back(std::move(mail));
    while (mail_.size() > max_each || (mail_octets_ > max_mail_octets && mail_.size() > 1)) {
        mail_octets_ -= mail_.front().octets.size();
        mail_.pop_front();
    }
    return last_id_;
}

std::shared_ptr<SmtpSession> Sightings::begin(SmtpSession session) {
    sessions_.push_back(std::make_shared<SmtpSession>(std::move(session)));
    if (sessions_.size() > max_sessions) sessions_.pop_front();
    return sessions_.back();
}

void Sightings::keep(DnsQuestion question) {
    dns_.push_back(std::move(question));
    if (dns_.size() > max_each) dns_.pop_front();
}

void Sightings::keep(HttpsRequest request) {
    https_.push_back(std::move(request));
    if (https_.size() > max_each) https_.pop_front();
}

}  // namespace sternpost::lab
