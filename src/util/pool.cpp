#include "util/pool.h"

#include <boost/asio/post.hpp>

namespace sternpost {

void Pool::post(Task task) {
    boost::asio::post(pool_, [held = std::move(task)]() mutable { held(); });
}

}  // namespace sternpost
