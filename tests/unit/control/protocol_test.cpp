#include "control/protocol.h"

#include <gtest/gtest.h>

namespace sternpost::control {
namespace {

struct Line {
    const char* name;
    const char* text;
};

std::string name_of(const testing::TestParamInfo<Line>& info) {
    return info.param.name;
}

class LineThatIsNoAnswer : public testing::TestWithParam<Line> {};

TEST_P(LineThatIsNoAnswer, IsNotSuccess) {
    EXPECT_EQ(answer_of(GetParam().text).code, ExitCode::internal);
}

INSTANTIATE_TEST_SUITE_P(Control, LineThatIsNoAnswer,
                         testing::Values(Line{"Empty", ""}, Line{"CutOff", R"({"code":0,"te)"},
                                         Line{"NoCode", R"({"text":"done"})"},
                                         Line{"CodeIsText", R"({"code":"0"})"},
                                         Line{"CodeIsNull", R"({"code":null})"},
                                         Line{"CodeTooLarge", R"({"code":99999999999})"},
                                         Line{"NumberWithoutEnd", R"({"code":0,"data":[1e999]})"}),
                         name_of);

TEST(ControlAnswer, HasItsPartsInTheirOrder) {
    json::value list = json::parse(R"([3])");
    join_parts(list, json::parse(R"({"items":[1,2]})").as_object());
    EXPECT_EQ(list, json::parse("[1,2,3]"));
    json::value data = json::parse(R"({"messages":[3],"total":3})");
    join_parts(data, json::parse(R"({"messages":[1,2],"hops":["a"]})").as_object());
    EXPECT_EQ(data, json::parse(R"({"messages":[1,2,3],"total":3,"hops":["a"]})"));
}

TEST(ControlRequest, SaysWhatItWants) {
    const auto request = request_of(R"({"verb":"explain","progress":true,"parts":1})");
    ASSERT_TRUE(request);
    EXPECT_EQ(request->object.at("verb"), "explain");
    EXPECT_TRUE(request->progress);
    EXPECT_FALSE(request->parts);  // a number is no wish
}

TEST(ControlRequest, IsAnObject) {
    for (const auto* line : {"", "[]", "7", "\"status\"", R"({"verb":"status")", R"({"limit":-1e999})"})
        EXPECT_FALSE(request_of(line)) << line;
}

}  // namespace
}  // namespace sternpost::control
