#include "store/report.h"

namespace sternpost::store {

std::string_view name_of(ReportState state) {
    switch (state) {
        case ReportState::waiting:
            return "waiting";
        case ReportState::done:
            return "done";
        case ReportState::not_asked:
            return "not-asked";
        case ReportState::given_up:
            return "given-up";
    }
    return "";
}

std::string_view name_of(PlaceState state) {
    switch (state) {
        case PlaceState::waiting:
            return "waiting";
        case PlaceState::accepted:
            return "accepted";
        case PlaceState::given_up:
            return "given-up";
    }
    return "";
}

}  // namespace sternpost::store
