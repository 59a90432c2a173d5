// What nearly every shell includes besides; never included by name.

#include <boost/asio.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/ssl.hpp>

#include "util/core_pch.h"
