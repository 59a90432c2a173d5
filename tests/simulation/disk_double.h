// A disk that passes everything on to another one: what faulty disks override.
#pragma once

#include <memory>
#include <string>

#include "store/journal/disk.h"

namespace sternpost::simulation {

class DiskDouble : public store::Disk {
  public:
    template <class T>
    using Result = store::Result<T>;

    explicit DiskDouble(std::shared_ptr<store::Disk> real) : real_(std::move(real)) {}

    Result<std::unique_ptr<store::DiskFile>> open(std::string_view name, store::OpenMode mode) override {
        auto file = real_->open(name, mode);
        if (!file) return file;
        std::unique_ptr<store::DiskFile> seen =
            std::make_unique<File>(*this, std::string(name), std::move(*file));
        return seen;
    }
    Result<void> make_dir(std::string_view name) override { return real_->make_dir(name); }
    Result<void> sync_dir(std::string_view name) override { return real_->sync_dir(name); }
    Result<void> rename(std::string_view from, std::string_view to) override {
        return real_->rename(from, to);
    }
    Result<void> unlink(std::string_view name) override { return real_->unlink(name); }
    Result<bool> exists(std::string_view name) override { return real_->exists(name); }
    Result<std::vector<std::string>> list(std::string_view dir) override { return real_->list(dir); }
    Result<std::uint64_t> free_octets() override { return real_->free_octets(); }

  protected:
    /// How a file is synced.
    virtual Result<void> sync(const std::string& name, store::DiskFile& real) {
        (void)name;
        return real.sync();
    }

  private:
    class File final : public store::DiskFile {
      public:
        File(DiskDouble& disk, std::string name, std::unique_ptr<store::DiskFile> real)
            : disk_(disk), name_(std::move(name)), real_(std::move(real)) {}
        Result<std::size_t> read(std::uint64_t offset, std::span<char> into) override {
            return real_->read(offset, into);
        }
        Result<void> write(std::uint64_t offset, std::string_view octets) override {
            return real_->write(offset, octets);
        }
        Result<void> sync() override { return disk_.sync(name_, *real_); }
        Result<void> truncate(std::uint64_t size) override { return real_->truncate(size); }
        Result<std::uint64_t> size() override { return real_->size(); }
        void reserve(std::uint64_t size) override { real_->reserve(size); }

      private:
        DiskDouble& disk_;
        std::string name_;
        std::unique_ptr<store::DiskFile> real_;
    };
    std::shared_ptr<store::Disk> real_;
};

}  // namespace sternpost::simulation
