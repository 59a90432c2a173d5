#include "util/gzip.h"

#include <zlib.h>

#include <cassert>

namespace sternpost::util {

std::string gzip(std::string_view octets) {
    constexpr int window_bits = 15;
    constexpr int gzip_header = 16;  // added to the window bits: zlib.h
    constexpr int memory_level = 8;
    z_stream stream{};
    [[maybe_unused]] int done = deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED,
                                             window_bits + gzip_header, memory_level, Z_DEFAULT_STRATEGY);
    if (done != Z_OK) throw std::bad_alloc();
    std::string out(deflateBound(&stream, octets.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(octets.data()));  // zlib only reads it
    stream.avail_in = static_cast<uInt>(octets.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    done = deflate(&stream, Z_FINISH);
    assert(done == Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

}  // namespace sternpost::util
