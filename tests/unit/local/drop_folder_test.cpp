#include "local/drop_folder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "fake/temporary_folder.h"

namespace sternpost::local {
namespace {

using namespace std::chrono_literals;

class FileOfTheMaildrop : public testing::Test {
  protected:
    void put(const std::string& name, mode_t mode, std::size_t octets = 10) {
        std::ofstream(folder_ / name) << std::string(octets, 'x');
        ASSERT_EQ(::chmod((folder_ / name).c_str(), mode), 0);
    }
    std::string refusal(const std::string& name, std::uint64_t most = 1000) {
        const auto file = drop_.open_file(name, most);
        if (file) return "";
        EXPECT_EQ(file.error().code, Errc::refused);
        return file.error().text;
    }

    fake::TemporaryFolder folder_;
    DropFolder drop_ = DropFolder::open(folder_.path().string()).value();
};

TEST_F(FileOfTheMaildrop, IsWrittenByItsOwnerAlone) {
    for (const mode_t good : {mode_t(0600), mode_t(0640), mode_t(0644), mode_t(0444)}) {
        put("good", good);
        EXPECT_EQ(refusal("good"), "") << good;
        std::filesystem::remove(folder_ / "good");
    }
    for (const mode_t bad : {mode_t(0660), mode_t(0620), mode_t(0602), mode_t(0666)}) {
        put("bad", bad);
        EXPECT_EQ(refusal("bad"), "others than its owner may write to it") << bad;
    }
}

TEST_F(FileOfTheMaildrop, HasAsManyOctetsAsASubmissionCanHave) {
    put("file", 0640, 1000);
    EXPECT_EQ(refusal("file", 1000), "");
    EXPECT_EQ(refusal("file", 999), "1000 octets, more than a submission can have");
}

// A program may give a file the time of what it copies.
TEST_F(FileOfTheMaildrop, IsBeingWrittenThoughItsTimeIsSetBack) {
    put("tmp-x", 0640);
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const timespec old{std::chrono::duration_cast<std::chrono::seconds>(now - 48h).count(), 0};
    const timespec both[2] = {old, old};
    ASSERT_EQ(::utimensat(AT_FDCWD, (folder_ / "tmp-x").c_str(), both, 0), 0);
    auto walk = drop_.walk().value();
    EXPECT_TRUE(walk.next(100, WallTime(std::chrono::duration_cast<std::chrono::microseconds>(now - 24h)))
                    .value()
                    .empty());
    EXPECT_TRUE(std::filesystem::exists(folder_ / "tmp-x"));
}

}  // namespace
}  // namespace sternpost::local
