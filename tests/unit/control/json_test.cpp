#include "control/json.h"

#include <gtest/gtest.h>

#include "admin/explanation.h"
#include "admin/status.h"

namespace sternpost::control {
namespace {

// ---- what is described travels there and back

TEST(DescribedJson, TravelsThereAndBack) {
    admin::Listing list;
    admin::MessageRow message;
    message.id = "4Xk2000001";
    message.arrived = parse_rfc3339("2026-11-23T12:00:00Z").value();
    message.class_ = "mail";
    message.origin.uid = 33;
    admin::RecipientRow waits;
    waits.path = "user@d.test";
    waits.blocked_by = queue::Obstacle::hop_suspended;
    waits.blocks = "the next hop d.test is suspended";
    admin::RecipientRow gone;
    gone.state = store::RecipientState::bounced;
    message.recipients = {waits, gone};
    list.messages.push_back(message);
    list.totals.messages = 18'446'744'073'709'551'615U;
    list.more = true;
    const json::value written = to_json(list);
    const auto& row = written.at("messages").at(0).as_object();
    EXPECT_EQ(row.at("class"), "mail") << "a final underscore is C++'s";
    EXPECT_EQ(row.at("recipients").at(0).at("blocked_by"), "hop-suspended");
    EXPECT_FALSE(row.at("recipients").at(1).as_object().contains("blocked_by"));
    const auto read = from_json<admin::Listing>(json::parse(json::serialize(written)));
    EXPECT_EQ(to_json(read), written);
    EXPECT_EQ(read.messages.at(0).recipients.at(1).state, store::RecipientState::bounced);
    EXPECT_EQ(read.messages.at(0).arrived, message.arrived);
}

TEST(DescribedJson, HasTheMembersOfWhatAValueInheritsFirst) {
    admin::SuspensionDone done;
    done.scope = "d.test";
    done.messages = 2;
    const auto written = to_json(done).as_object();
    EXPECT_EQ(written.at("scope"), "d.test");
    EXPECT_EQ(written.at("messages").to_number<int>(), 2);
    EXPECT_FALSE(written.contains("recipients"));
}

struct OddMember {
    const char* name;
    const char* text;
};

class DescribedJsonOdd : public testing::TestWithParam<OddMember> {};

// A command and a daemon of different releases understand each other, and a stranger's request breaks
// nothing.
TEST_P(DescribedJsonOdd, KeepsItsDefaults) {
    const auto read = from_json<admin::Selection>(json::parse(GetParam().text));
    EXPECT_EQ(to_json(read), to_json(admin::Selection())) << GetParam().text;
}

INSTANTIATE_TEST_SUITE_P(
    Control, DescribedJsonOdd,
    testing::Values(OddMember{"NoObject", "[1]"}, OddMember{"Null", R"({"limit":null})"},
                    OddMember{"TextForNumber", R"({"limit":"7"})"}, OddMember{"Negative", R"({"limit":-1})"},
                    OddMember{"Fraction", R"({"limit":1.5})"}, OddMember{"TooLarge", R"({"limit":1e30})"},
                    OddMember{"NumberForText", R"({"domain":7})"},
                    OddMember{"ObjectForList", R"({"ids":{}})"}, OddMember{"Unknown", R"({"colour":"red"})"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(DescribedJson, KnowsNoNameThatAnEnumDoesNotHave) {
    const auto read =
        from_json<admin::RecipientRow>(json::parse(R"({"state":"lost","blocked_by":"weather"})"));
    EXPECT_EQ(read.state, store::RecipientState::queued);
    EXPECT_EQ(read.blocked_by, queue::Obstacle::none);
}

TEST(DescribedJson, SaysNothingOfWhatIsNotKnown) {
    const auto written = to_json(admin::Status()).as_object();
    EXPECT_FALSE(written.contains("pid"));
    EXPECT_FALSE(written.at("running").as_bool());
}

}  // namespace
}  // namespace sternpost::control
