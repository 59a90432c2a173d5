// What sendmail leaves in the maildrop.
#include "local/client.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "fake/sync_trace.h"
#include "fake/temporary_folder.h"

namespace sternpost::local {
namespace {

class LeftMessage : public testing::Test {
  protected:
    void SetUp() override {
        ASSERT_TRUE(message_.append("Subject: x\r\n\r\nhi\r\n").has_value());
        submission_.id = store::SubmissionId::parse("00112233445566778899aabbccddeeff").value();
        submission_.recipients = {"bob@dest.example"};
        submission_.octets = message_.size();
    }
    std::string path(const std::string& prefix = "") { return folder_ / (prefix + submission_.id.text()); }

    fake::TemporaryFolder folder_;
    MessageBuffer message_{"/tmp"};
    Submission submission_;
};

TEST_F(LeftMessage, CanBeReadByTheDaemonAndWrittenByNoOneWhateverTheUmask) {
    for (const mode_t mask : {mode_t(0077), mode_t(0)}) {
        SCOPED_TRACE(mask);
        const mode_t usual = ::umask(mask);
        const auto left = leave(folder_.path().string(), submission_, message_);
        ::umask(usual);
        ASSERT_TRUE(left) << left.error().text;
        struct stat file {};
        ASSERT_EQ(::stat(path().c_str(), &file), 0);
        EXPECT_EQ(file.st_mode & 07777U, 0640U);
        std::filesystem::remove(path());
    }
}

TEST_F(LeftMessage, IsOnTheDiskBeforeItHasItsName) {
    const fake::SyncTrace trace;
    ASSERT_TRUE(leave(folder_.path().string(), submission_, message_));
    EXPECT_EQ(trace.paths(), (std::vector<std::string>{path("tmp-"), folder_.path().string()}));
}

}  // namespace
}  // namespace sternpost::local
