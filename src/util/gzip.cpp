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

bool is_gzip(std::string_view octets) {
    return octets.starts_with("\x1F\x8B");
}

Expected<std::string, GzipErrc> gunzip(std::string_view octets, std::size_t most) {
    if (!is_gzip(octets)) return fail(GzipErrc::not_gzip, "not gzip");
    constexpr int window_bits = 15;
    constexpr int gzip_header = 16;
    constexpr std::size_t piece = 65536;
    constexpr int most_members = 1000;
    std::string out;
    for (int members = 0; is_gzip(octets); ++members) {
        if (members == most_members) return fail(GzipErrc::too_big, "more than 1000 gzip members");
        z_stream stream{};
        if (inflateInit2(&stream, window_bits + gzip_header) != Z_OK) throw std::bad_alloc();
        stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(octets.data()));  // zlib only reads it
        stream.avail_in = static_cast<uInt>(octets.size());
        int state = Z_OK;
        while (state == Z_OK && out.size() <= most) {
            const std::size_t begin = out.size();
            out.resize(begin + piece);
            stream.next_out = reinterpret_cast<Bytef*>(out.data() + begin);
            stream.avail_out = static_cast<uInt>(piece);
            state = inflate(&stream, Z_NO_FLUSH);
            out.resize(out.size() - stream.avail_out);
        }
        const std::size_t left = stream.avail_in;
        inflateEnd(&stream);
        if (out.size() > most)
            return fail(GzipErrc::too_big, "it unpacks to more than " + std::to_string(most) + " octets");
        if (state == Z_BUF_ERROR) return fail(GzipErrc::cut_off, "the gzip data end too early");
        if (state != Z_STREAM_END) return fail(GzipErrc::not_gzip, "the gzip data are damaged");
        octets.remove_prefix(octets.size() - left);
    }
    return out;
}

}  // namespace sternpost::util
