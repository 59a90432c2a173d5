#include "store/journal/journal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "fake/sim_disk.h"
#include "store/journal/codec.h"
#include "store/journal/replay.h"
#include "unit/store/store_testing.h"
#include "util/text.h"

namespace sternpost::store {
namespace {

Record hop_record(const std::string& name) {
    HopState hop;
    hop.next_hop = name;
    return {RecordType::hop, encode(hop), nullptr};
}

Record accept_record(std::uint64_t id, std::string body) {
    const NewMessage message = testing::message_to(id, {"bob@example.com"}, std::move(body));
    return {RecordType::accept, encode(message), message.body.octets};
}

class JournalTest : public ::testing::Test {
  protected:
    void SetUp() override { ASSERT_TRUE(disk_.make_dir("journal") && disk_.make_dir("damaged")); }

    // Replays from the beginning, and makes journal_ go on at the end.
    void reopen() {
        names_.clear();
        auto replayed =
            replay(disk_, {}, true, [&](const RecordView& record, const JournalPosition&) -> Result<void> {
                if (record.type == static_cast<std::uint8_t>(RecordType::hop))
                    names_.push_back(decode<HopState>(record.fields).value().next_hop);
                else
                    names_.push_back(record.body_damaged ? "damaged body" : std::string(record.body));
                return {};
            });
        ASSERT_TRUE(replayed) << replayed.error().text;
        warnings_ = replayed->warnings;
        journal_ =
            std::make_unique<Journal>(disk_, options_, random_, [&](const std::string& why) { died_ = why; });
        ASSERT_TRUE(journal_->open(replayed->end));
    }
    std::vector<JournalPlace> append(const std::vector<Record>& batch) {
        auto places = journal_->append(batch);
        EXPECT_TRUE(places) << places.error().text;
        return places ? *places : std::vector<JournalPlace>();
    }
    void damage(std::uint64_t offset) { disk_.overwrite("journal/00000001.seg", offset, "\xde\xad\xbe\xef"); }

    fake::SimDisk disk_;
    testing::SeededRandom random_{4};
    JournalOptions options_;
    std::unique_ptr<Journal> journal_;
    std::vector<std::string> names_;
    std::vector<std::string> warnings_;
    std::string died_;
};

using Names = std::vector<std::string>;

TEST_F(JournalTest, ReplaysWhatWasAppended) {
    reopen();
    append({hop_record("a"), accept_record(1, "text")});
    append({hop_record("b")});
    reopen();
    EXPECT_EQ(names_, (Names{"a", "text", "b"}));
    EXPECT_TRUE(warnings_.empty());
    EXPECT_EQ(journal_->end().sequence, 4U);
}

TEST_F(JournalTest, SyncsANewSegmentAndItsNameBeforeTheFirstAcknowledgement) {
    reopen();
    std::vector<std::string> trace;
    disk_.trace(&trace);
    append({hop_record("a")});
    const std::string name = "journal/00000001.seg";
    EXPECT_EQ(trace, (Names{"create " + name, "truncate " + name, "write " + name, "sync " + name,
                            "sync_dir journal", "write " + name, "sync " + name}));
    trace.clear();
    append({hop_record("b"), hop_record("c")});
    EXPECT_EQ(trace, (Names{"write " + name, "sync " + name}));
}

// A journal of three segments, of which the first is given away: its file is the fourth's, and is only half
// written over.
class ReusedSegment : public JournalTest {
  protected:
    ReusedSegment() { options_.segment_octets = 8192; }
    void reuse() {
        reopen();
        for (const char* text : {"one", "two", "three"})
            append({accept_record(1, std::string(3900, '.')), hop_record(text)});
        ASSERT_EQ(journal_->end().segment, 3U);
        ASSERT_TRUE(journal_->retire(1));
        ASSERT_TRUE(disk_.sync_dir("journal"));
        append({hop_record("four")});
        ASSERT_EQ(journal_->end().segment, 4U);
        append({hop_record("five")});
    }
    void expect_all() {
        reopen();
        ASSERT_GE(names_.size(), 2U);
        EXPECT_EQ(names_[names_.size() - 2], "four");
        EXPECT_EQ(names_.back(), "five");
        EXPECT_TRUE(warnings_.empty()) << warnings_[0];
        EXPECT_TRUE(disk_.list("damaged").value().empty());
    }
};

TEST_F(ReusedSegment, HoldsNothingOfTheOneBefore) {
    reuse();
    EXPECT_FALSE(disk_.exists("journal/00000001.spare").value());
    EXPECT_NE(disk_.content("journal/00000004.seg").find("one"), std::string::npos)
        << "the test should see old octets behind the end";
    expect_all();
    expect_all();
}

TEST_F(ReusedSegment, HasItsHeaderBeforeItsName) {
    reopen();
    append({hop_record("a")});
    ASSERT_TRUE(journal_->retire(1));
    reopen();
    std::vector<std::string> trace;
    disk_.trace(&trace);
    append({hop_record("b")});
    const std::string spare = "journal/00000001.spare";  // as the disk calls the open file to its end
    EXPECT_EQ(trace, (Names{"write " + spare, "sync " + spare, "rename " + spare, "sync_dir journal",
                            "write " + spare, "sync " + spare}));
    EXPECT_TRUE(disk_.exists("journal/00000001.seg").value());
}

TEST_F(ReusedSegment, EndsWhereItsRecordsEndWhenTheNextOneIsMade) {
    reuse();
    append({accept_record(1, std::string(6000, '.'))});
    ASSERT_EQ(journal_->end().segment, 5U);
    EXPECT_EQ(disk_.content("journal/00000004.seg").find("one"), std::string::npos);
    reopen();
    EXPECT_TRUE(warnings_.empty()) << warnings_[0];
    EXPECT_TRUE(disk_.list("damaged").value().empty());
}

TEST_F(JournalTest, BeginsInAFileThatWasWrittenAhead) {
    options_.segment_octets = 8192;
    reopen();
    journal_->write_ahead();
    append({hop_record("a")});
    EXPECT_EQ(disk_.list("journal").value(), Names{"00000001.seg"});
    EXPECT_EQ(disk_.content("journal/00000001.seg").size(), 8192U);
    reopen();
    EXPECT_EQ(names_, Names{"a"});
    EXPECT_TRUE(warnings_.empty());
}

TEST_F(JournalTest, KeepsAFewFilesOfSegmentsThatHaveGone) {
    options_.segment_octets = 8192;
    options_.spare_segments = 2;
    reopen();
    for (int i = 0; i < 4; ++i) append({accept_record(1, std::string(4000, '.'))});
    for (const std::uint64_t segment : {1U, 2U, 3U}) ASSERT_TRUE(journal_->retire(segment));
    EXPECT_EQ(disk_.list("journal").value(), (Names{"00000001.spare", "00000002.spare", "00000004.seg"}));
    journal_->drop_spares();
    EXPECT_EQ(disk_.list("journal").value(), Names{"00000004.seg"});
}

TEST_F(JournalTest, DropsATornTailAndGoesOnBeforeIt) {
    reopen();
    append({hop_record("a")});
    const auto torn = append({hop_record("b"), hop_record("c")});
    damage(torn[0].offset + 8);
    reopen();
    EXPECT_EQ(names_, Names{"a"});
    ASSERT_EQ(warnings_.size(), 1U);
    EXPECT_NE(warnings_[0].find("never acknowledged"), std::string::npos) << warnings_[0];
    // The sound record `c` of the torn batch has the number and the place that a new one could have.
    append({hop_record("d")});
    reopen();
    EXPECT_EQ(names_, (Names{"a", "d"}));
    EXPECT_TRUE(warnings_.empty());
    EXPECT_TRUE(disk_.list("damaged").value().empty());
}

TEST_F(JournalTest, KeepsTheSoundBeginningOfATornBatch) {
    reopen();
    append({hop_record("a")});
    const auto torn = append({hop_record("b"), hop_record("c")});
    damage(torn[1].offset + 8);
    reopen();
    EXPECT_EQ(names_, (Names{"a", "b"}));
}

TEST_F(JournalTest, KeepsAsideADamagedRecordThatWasAcknowledged) {
    reopen();
    append({hop_record("a")});
    const auto damaged = append({hop_record("b"), hop_record("c")});
    append({hop_record("d")});
    damage(damaged[0].offset + 8);
    reopen();
    EXPECT_EQ(names_, (Names{"a", "c", "d"}));  // also the rest of the damaged record's own batch
    ASSERT_EQ(warnings_.size(), 1U);
    EXPECT_NE(warnings_[0].find("were acknowledged and cannot be read"), std::string::npos) << warnings_[0];
    EXPECT_EQ(disk_.list("damaged").value().size(), 1U);
    append({hop_record("e")});
    reopen();
    EXPECT_EQ(names_, (Names{"a", "c", "d", "e"}));
}

TEST_F(JournalTest, KeepsTheEnvelopeOfADamagedBody) {
    reopen();
    const auto places = append({accept_record(1, std::string(300, 'x'))});
    append({hop_record("after")});
    damage(places[0].offset + 250);
    reopen();
    EXPECT_EQ(names_, (Names{"damaged body", "after"}));
    EXPECT_EQ(disk_.list("damaged").value().size(), 1U);
}

TEST_F(JournalTest, TakesALaterSegmentAsProofThatABatchWasAcknowledged) {
    options_.segment_octets = records_begin + 100;
    reopen();
    const auto first = append({hop_record("a")});
    append({hop_record("b")});
    EXPECT_EQ(journal_->end().segment, 2U);
    damage(first[0].offset + 8);
    reopen();
    EXPECT_EQ(names_, Names{"b"});
    ASSERT_EQ(warnings_.size(), 1U);
    EXPECT_NE(warnings_[0].find("cannot be read"), std::string::npos);
}

TEST_F(JournalTest, ReadsASegmentThatHasLostOneCopyOfItsHeader) {
    reopen();
    append({hop_record("a")});
    damage(16);
    reopen();
    EXPECT_EQ(names_, Names{"a"});
}

TEST_F(JournalTest, RemovesASegmentWhoseCreationWasCutShort) {
    reopen();
    append({hop_record("a")});
    ASSERT_TRUE(disk_.open("journal/00000002.seg", OpenMode::create));
    reopen();
    EXPECT_EQ(names_, Names{"a"});
    EXPECT_FALSE(disk_.exists("journal/00000002.seg").value());
}

// Three segments, each with one record.
class ThreeSegments : public JournalTest {
  protected:
    void SetUp() override {
        JournalTest::SetUp();
        options_.segment_octets = records_begin + 100;
        reopen();
        for (const char* name : {"one", "two", "three"}) {
            before_.push_back(journal_->end());
            append({hop_record(name)});
        }
        ASSERT_EQ(journal_->end().segment, 3U);
    }
    void lose_header(std::uint64_t segment) {
        for (const std::uint64_t copy : {0U, 2048U}) disk_.overwrite(segment_name(segment), copy, "\xde\xad");
    }
    void shorten(std::uint64_t segment, std::uint64_t to) {
        ASSERT_TRUE(disk_.open(segment_name(segment), OpenMode::read_write).value()->truncate(to));
    }
    // Replays behind the first `records` records, repairs, and goes on.
    void go_on_behind(const JournalPosition& from) {
        names_.clear();
        auto replayed = replay(disk_, from, true, [&](const RecordView& record, const JournalPosition&) {
            names_.push_back(decode<HopState>(record.fields).value().next_hop);
            return Result<void>();
        });
        ASSERT_TRUE(replayed) << replayed.error().text;
        warnings_ = replayed->warnings;
        journal_ =
            std::make_unique<Journal>(disk_, options_, random_, [&](const std::string& why) { died_ = why; });
        ASSERT_TRUE(journal_->open(replayed->end)) << "the journal must go on";
    }
    void expect_one_warning(const std::string& with) {
        ASSERT_EQ(warnings_.size(), 1U) << ::testing::PrintToString(warnings_);
        EXPECT_NE(warnings_[0].find(with), std::string::npos) << warnings_[0];
    }
    // What is appended now comes back, behind `names`.
    void expect_works_on(Names names) {
        const JournalPosition from = journal_->end();
        append({hop_record("new")});
        go_on_behind(from);
        EXPECT_EQ(names_, Names{"new"});
        names.emplace_back("new");
        go_on_behind({});
        EXPECT_EQ(names_, names);
    }
    std::vector<JournalPosition> before_;
};

TEST_F(ThreeSegments, OfWhichTheFirstHasLostItsHeader) {
    lose_header(1);
    go_on_behind({});
    EXPECT_EQ(names_, (Names{"two", "three"}));
    ASSERT_EQ(warnings_.size(), 2U) << ::testing::PrintToString(warnings_);
    EXPECT_NE(warnings_[0].find("the segment's header is damaged"), std::string::npos) << warnings_[0];
    EXPECT_NE(warnings_[1].find("begins with record 2, but 1 was expected"), std::string::npos)
        << warnings_[1];
    EXPECT_EQ(disk_.content("damaged/00000001-0.octets"), disk_.content(segment_name(1)));
    expect_works_on({"two", "three"});
}

TEST_F(ThreeSegments, OfWhichTheMiddleOneHasLostItsHeader) {
    lose_header(2);
    go_on_behind({});
    EXPECT_EQ(names_, (Names{"one", "three"}));
    ASSERT_FALSE(warnings_.empty());
    EXPECT_NE(warnings_[0].find("the segment's header is damaged"), std::string::npos) << warnings_[0];
    EXPECT_EQ(disk_.content("damaged/00000002-0.octets"), disk_.content(segment_name(2)));
    expect_works_on({"one", "three"});
}

TEST_F(ThreeSegments, OfWhichTheLastHasLostItsHeader) {
    lose_header(3);
    go_on_behind({});
    EXPECT_EQ(names_, (Names{"one", "two"}));
    expect_one_warning("the segment's header is damaged");
    append({hop_record("new")});
    EXPECT_EQ(journal_->end().segment, 4U)
        << "its records may be looked for by hand: nothing is written there";
    go_on_behind({});
    EXPECT_EQ(names_, (Names{"one", "two", "new"}));
}

TEST_F(ThreeSegments, OfWhichOneIsShorterThanItWas) {
    const JournalPosition read = journal_->end();
    shorten(3, records_begin);
    go_on_behind(read);
    EXPECT_TRUE(names_.empty());
    expect_one_warning("ends at octet 4096, but the index has read it up to " + std::to_string(read.offset));
    append({hop_record("new")});
    EXPECT_EQ(journal_->end().segment, 4U);
    go_on_behind(read);
    EXPECT_EQ(names_, Names{"new"});
}

TEST_F(ThreeSegments, OfWhichOneIsShortBeforeItsEndWasRead) {
    shorten(2, records_begin + 8);
    go_on_behind(before_[1]);
    EXPECT_EQ(names_, Names{"three"});
    expect_one_warning("records 2 to 2 are lost");
    expect_works_on({"one", "three"});
}

TEST_F(ThreeSegments, OfWhichOneIsMissing) {
    const JournalPosition behind_one = before_[1];
    ASSERT_EQ(behind_one.segment, 1U);
    ASSERT_TRUE(disk_.unlink(segment_name(1)));
    go_on_behind(behind_one);
    EXPECT_EQ(names_, (Names{"two", "three"}));
    expect_one_warning("journal/00000001.seg is missing, though the index has not read all of it");
    expect_works_on({"two", "three"});
}

TEST_F(ThreeSegments, OfWhichAllAreMissing) {
    const JournalPosition read = journal_->end();
    for (const std::uint64_t segment : {1U, 2U, 3U}) ASSERT_TRUE(disk_.unlink(segment_name(segment)));
    go_on_behind(read);
    expect_one_warning("journal/00000003.seg is missing");
    append({hop_record("new")});
    EXPECT_EQ(journal_->end().segment, 4U);
    EXPECT_EQ(journal_->end().sequence, read.sequence + 1) << "no number is used twice";
    go_on_behind(read);
    EXPECT_EQ(names_, Names{"new"});
}

// The offset at which `octets` stand in the first segment.
std::size_t found_at(fake::SimDisk& disk, const std::string& octets) {
    return disk.content("journal/00000001.seg").find(octets);
}

// An attacker mails a record that says what he likes. He knows the format and all numbers, but not the
// segment's salt.
TEST_F(JournalTest, IsNotFooledByARecordInsideAMessage) {
    reopen();
    const SegmentHeader guess{1, 1, 0};
    const std::string forged = encode_record(hop_record("forged"), guess, 2, 2);
    // A reader looks for records at every eighth octet: the forged one stands at such a place.
    std::string text;
    const auto misplaced = [&] {
        return (48 + accept_record(1, text + forged).fields.size() + text.size()) % 8;
    };
    while (misplaced() != 0) text += ' ';
    const auto places = append({accept_record(1, text + forged)});
    append({hop_record("after")});
    const std::size_t at = found_at(disk_, forged);
    ASSERT_EQ(at % 8, 0U);
    ASSERT_TRUE(decode_record(disk_.content("journal/00000001.seg"), at, guess))
        << "the forged record should be whole";
    damage(places[0].offset);
    reopen();
    EXPECT_EQ(names_, Names{"after"});
    ASSERT_EQ(warnings_.size(), 1U);
    EXPECT_NE(warnings_[0].find("records 1 to 1 are lost"), std::string::npos) << warnings_[0];
}

TEST_F(JournalTest, GivesEachSegmentASaltOfItsOwn) {
    options_.segment_octets = 8192;
    reopen();
    journal_->write_ahead();
    std::set<std::uint32_t> salts;
    for (std::uint64_t segment = 1; segment <= 6; ++segment) {
        append({accept_record(1, std::string(4000, '.'))});
        ASSERT_EQ(journal_->end().segment, segment);
        // Files that had another segment's name before get a new salt too.
        if (segment == 3) {
            ASSERT_TRUE(journal_->retire(1));
        }
        if (segment == 4) reopen();
        salts.insert(decode_segment_header(disk_.content(segment_name(segment)), segment).value().salt);
    }
    EXPECT_EQ(salts.size(), 6U);
}

TEST_F(JournalTest, RefusesABatchThatFindsNoRoomAndGoesOn) {
    reopen();
    append({hop_record("a")});
    disk_.set_room(30);
    const std::vector<Record> batch{hop_record("b")};
    const auto refused = journal_->append(batch);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::full);
    disk_.set_room(UINT64_MAX);
    append({hop_record("c")});
    reopen();
    EXPECT_EQ(names_, (Names{"a", "c"}));
    EXPECT_TRUE(died_.empty());
}

TEST_F(JournalTest, SyncsTheFileFromWhichABatchWasTakenBack) {
    reopen();
    append({hop_record("a")});
    disk_.set_room(150);
    std::vector<std::string> trace;
    disk_.trace(&trace);
    const std::vector<Record> batch{hop_record("b"), hop_record(std::string(200, 'c'))};
    EXPECT_FALSE(journal_->append(batch)) << "there was room for one";
    const std::string name = "journal/00000001.seg";
    EXPECT_EQ(trace, (Names{"write " + name, "truncate " + name, "sync " + name}));
    disk_.trace(nullptr);
    reopen();
    EXPECT_EQ(names_, Names{"a"});
}

TEST_F(JournalTest, RefusesARecordWhoseFieldsAreBeyond64MiB) {
    reopen();
    const std::vector<Record> batch{{RecordType::hop, std::string(67'108'865, 'x'), nullptr}};
    const auto places = journal_->append(batch);
    ASSERT_FALSE(places);
    EXPECT_EQ(places.error().code, Errc::too_big);
    EXPECT_EQ(append({hop_record("example.com")}).size(), 1U) << "and goes on";
}

TEST_F(JournalTest, EndsWithTheFirstSyncThatFails) {
    reopen();
    append({hop_record("a")});
    disk_.fail_syncs(true);
    const std::vector<Record> batch{hop_record("b")};
    EXPECT_EQ(journal_->append(batch).error().code, Errc::closed);
    EXPECT_NE(died_, "");
    disk_.fail_syncs(false);
    EXPECT_EQ(journal_->append(batch).error().code, Errc::closed);  // never believed again
}

TEST_F(JournalTest, WritesOnceMoreWhatWasReadAndMayNotBeOnTheDisk) {
    reopen();
    append({hop_record("a")});
    disk_.fail_syncs(true);
    const std::vector<Record> batch{hop_record("b")};
    EXPECT_FALSE(journal_->append(batch));
    disk_.fail_syncs(false);
    disk_.restart();
    for (int i = 0; i < 2; ++i) {
        reopen();
        EXPECT_EQ(names_, (Names{"a", "b"}));
        disk_.crash(random_);
    }
}

TEST_F(JournalTest, LosesInACrashNothingThatItHasRead) {
    reopen();
    append({hop_record("a")});
    Names read{"a"};
    for (int i = 0; i < 20; ++i) {
        disk_.fail_syncs(true);
        const std::vector<Record> batch{hop_record("b")};
        EXPECT_FALSE(journal_->append(batch));
        disk_.fail_syncs(false);
        disk_.restart();
        read.emplace_back("b");
        reopen();
        ASSERT_EQ(names_, read);
        disk_.crash(random_);
        reopen();
        ASSERT_EQ(names_, read);
    }
}

// `c` of a torn batch {b, c} is sound, and what comes next, `d`, is as long as `b`. Where a crash keeps `d`
// and not the cut, `c` stands behind it with the number that is due.
TEST_F(JournalTest, BringsNothingBackThatItHasDropped) {
    reopen();
    append({hop_record("a")});
    for (int i = 0; i < 40; ++i) {
        const auto torn = append({hop_record("b"), hop_record("c")});
        damage(torn[0].offset + 8);
        reopen();
        disk_.stop_before(disk_.operations() + 1);
        const std::vector<Record> next{hop_record("d")};
        EXPECT_FALSE(journal_->append(next)) << "it is written, and not synced";
        disk_.crash(random_);
        reopen();
        ASSERT_EQ(std::count(names_.begin(), names_.end(), "c"), 0);
    }
    EXPECT_GT(std::count(names_.begin(), names_.end(), "d"), 0) << "now and then it is kept";
}

TEST_F(JournalTest, ReadsAnyDamageWithoutHarm) {
    reopen();
    append({hop_record("a"), accept_record(1, std::string(100, 'x'))});
    append({hop_record("b")});
    const std::string sound = disk_.content("journal/00000001.seg");
    for (std::size_t at = records_begin; at < sound.size(); ++at) {
        std::string damaged = sound;
        damaged[at] = static_cast<char>(~damaged[at]);
        disk_.overwrite("journal/00000001.seg", 0, damaged);
        std::size_t whole = 0;
        const auto replayed =
            replay(disk_, {}, false, [&](const RecordView& record, const JournalPosition&) -> Result<void> {
                if (!record.body_damaged) ++whole;
                return {};
            });
        ASSERT_TRUE(replayed);
        EXPECT_GE(whole, 1U) << at;  // an octet spoils one record, or padding
        EXPECT_LE(whole, 3U);
    }
    for (std::size_t cut = records_begin; cut < sound.size(); ++cut) {
        disk_.overwrite("journal/00000001.seg", 0, sound);
        ASSERT_TRUE(disk_.open("journal/00000001.seg", OpenMode::read_write).value()->truncate(cut));
        EXPECT_TRUE(replay(disk_, {}, false,
                           [](const RecordView&, const JournalPosition&) { return Result<void>(); }));
    }
}

// The worked example of doc/formats.md, octet for octet: on-disk formats are for ever.
TEST(JournalFormat, IsThatOfTheWorkedExample) {
    NewMessage message;
    message.id = MessageId{0x30D40000000040};
    message.arrived = WallTime(std::chrono::seconds(1'800'000'000));
    message.envelope.reverse_path = mail::ReversePath::parse("a@example.org").value();
    message.recipients.emplace_back(mail::Recipient(mail::ForwardPath::parse("b@example.com").value()),
                                    "example.com");
    message.origin.with = "ESMTP";
    message.body = Body::of("Subject: hi\r\n\r\nhi\r\n");
    const SegmentHeader segment{1, 1, 0xA1B2C3D4};
    const std::string octets =
        encode_record({RecordType::accept, encode(message), message.body.octets}, segment, 1, 1);
    EXPECT_EQ(hex(std::span(reinterpret_cast<const std::uint8_t*>(octets.data()), octets.size())),
              // header: magic, type, lengths of fields and body; segment, sequence, first of the batch; CRCs
              "53505231"
              "01000000"
              "4f000000"
              "13000000"
              "0100000000000000"
              "0100000000000000"
              "0100000000000000"
              "ad9faa6c"
              "1fac4ec8"
              // fields: id, arrived, reverse-path, with, body's size and CRC, recipient
              "0107"
              "4000000000d430"
              "0307"
              "00809828176506"
              "050d"
              "61406578616d706c652e6f7267"
              "0c05"
              "45534d5450"
              "0f01"
              "13"
              "1004"
              "6555c084"
              "121c"
              "010d"
              "62406578616d706c652e636f6d"
              "040b"
              "6578616d706c652e636f6d"
              // body, padding
              "5375626a6563743a2068690d0a0d0a68690d0a"
              "000000000000");
    const std::string header = encode_segment_header(segment);
    EXPECT_EQ(hex(std::span(reinterpret_cast<const std::uint8_t*>(header.data()), 48)),
              "53504a524e4c0d0a"
              "01000000"
              "00100000"
              "0100000000000000"
              "0100000000000000"
              "d4c3b2a1"
              "0000000000000000"
              "fe6acd37");
    EXPECT_EQ(message.id.text(), "4x4c0R0vqN");
}

TEST_F(JournalTest, KeepsDoneFilesOverATornAppend) {
    const auto fatal = [](const std::string&) {};
    const std::vector<DoneRecord> first{{RecordType::result, 7, "seven"}, {RecordType::act, 9, "nine"}};
    ASSERT_TRUE(append_done(disk_, 1, first, random_, fatal));
    auto file = disk_.open("journal/00000001.done", OpenMode::read_write).value();
    ASSERT_TRUE(file->write(file->size().value(), "half a record"));
    ASSERT_TRUE(
        append_done(disk_, 1, std::vector<DoneRecord>{{RecordType::result, 12, "twelve"}}, random_, fatal));
    const auto records = read_done(disk_, 1).value();
    ASSERT_EQ(records.size(), 3U);
    EXPECT_EQ(records[0].fields, "seven");
    EXPECT_EQ(records[2].sequence, 12U);
    EXPECT_TRUE(read_done(disk_, 2).value().empty());
}

TEST_F(JournalTest, KeepsDoneFilesOverACrash) {
    const auto fatal = [](const std::string&) {};
    const std::vector<DoneRecord> done{{RecordType::result, 7, "seven"}};
    for (std::uint64_t segment = 1; segment <= 20; ++segment) {
        SCOPED_TRACE(segment);
        ASSERT_TRUE(append_done(disk_, segment, done, random_, fatal));
        disk_.crash(random_);
        EXPECT_EQ(read_done(disk_, segment).value().size(), 1U);
    }
}

}  // namespace
}  // namespace sternpost::store
