// The seam to persistence: everything the store keeps goes through a Disk, SQLite too (by a VFS made from
// it).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/errc.h"

namespace sternpost::store {

/// An open file. Offsets and sizes in octets. Errors: full (ENOSPC, EDQUOT), io (the rest).
class DiskFile {
  public:
    virtual ~DiskFile() = default;
    /// Octets read; fewer than asked for only at the end of the file.
    virtual Result<std::size_t> read(std::uint64_t offset, std::span<char> into) = 0;
    virtual Result<void> write(std::uint64_t offset, std::string_view octets) = 0;  // all of it, or an error
    /// fdatasync(2). After an error the file's content is unknown: the caller ends the process.
    virtual Result<void> sync() = 0;
    virtual Result<void> truncate(std::uint64_t size) = 0;
    virtual Result<std::uint64_t> size() = 0;
    /// Room for the file to grow to `size` is set aside if the file system can do that; its size stays.
    virtual void reserve(std::uint64_t) {}
};

enum class OpenMode { read, read_write, create, create_new };  // create: read_write, made if absent

/// Names are relative to the disk's root, '/' between folders. Any thread.
class Disk {
  public:
    virtual ~Disk() = default;
    virtual Result<std::unique_ptr<DiskFile>> open(std::string_view name,
                                                   OpenMode mode) = 0;  // not_found, full, io
    virtual Result<void> make_dir(std::string_view name) = 0;           // it may exist already
    virtual Result<void> sync_dir(std::string_view name) = 0;           // its entries; "" is the root
    virtual Result<void> rename(std::string_view from, std::string_view to) = 0;
    virtual Result<void> unlink(std::string_view name) = 0;  // not_found is an error
    virtual Result<bool> exists(std::string_view name) = 0;
    virtual Result<std::vector<std::string>> list(std::string_view dir) = 0;  // names, sorted
    virtual Result<std::uint64_t> free_octets() = 0;
};

/// A folder of the machine's file system.
class RealDisk final : public Disk {
  public:
    explicit RealDisk(std::string root) : root_(std::move(root)) {}
    Result<std::unique_ptr<DiskFile>> open(std::string_view name, OpenMode mode) override;
    Result<void> make_dir(std::string_view name) override;
    Result<void> sync_dir(std::string_view name) override;
    Result<void> rename(std::string_view from, std::string_view to) override;
    Result<void> unlink(std::string_view name) override;
    Result<bool> exists(std::string_view name) override;
    Result<std::vector<std::string>> list(std::string_view dir) override;
    Result<std::uint64_t> free_octets() override;
    const std::string& root() const { return root_; }

  private:
    std::string root_;
};

}  // namespace sternpost::store
