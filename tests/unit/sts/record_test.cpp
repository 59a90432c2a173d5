#include "sts/record.h"

#include <gtest/gtest.h>

namespace sternpost::sts {
namespace {

struct Case {
    const char* name;  // ends with the obligation that it shows
    std::vector<std::string> texts;
    const char* id;  // "": no record; nullptr: bad_record
};
class StsRecord : public testing::TestWithParam<Case> {};

TEST_P(StsRecord, IsReadAsRfc8461Section31Says) {
    const Case& c = GetParam();
    const auto record = parse_record(c.texts);
    if (c.id == nullptr) {
        EXPECT_EQ(record.error().code, Errc::bad_record);
    } else if (*c.id == '\0') {
        EXPECT_EQ(record.value(), std::nullopt);
    } else {
        EXPECT_EQ(record.value().value().id, c.id);
    }
}

const Case cases[] = {
    {"Plain", {"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
    {"OthersAreDiscarded_STS02", {"v=spf1 -all", "v=STSv1; id=a1;", "x"}, "a1"},
    {"VersionInAnotherCase_STS02", {"V=STSv1; id=a1", "v=stsv1; id=a1"}, ""},
    {"LongerVersion_STS02", {"v=STSv10; id=a1"}, ""},
    {"Two_STS03", {"v=STSv1; id=1;", "v=STSv1; id=2;"}, nullptr},
    {"NoId_STS04", {"v=STSv1;"}, nullptr},
    {"NoIdButAnother_STS04", {"v=STSv1; foo=1"}, nullptr},
    {"IdOf33_STS05", {"v=STSv1; id=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, nullptr},
    {"IdOf32_STS05", {"v=STSv1; id=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    {"EmptyId_STS05", {"v=STSv1; id=;"}, nullptr},
    {"IdWithHyphen_STS05", {"v=STSv1; id=2024-01"}, nullptr},
    {"KeyInCapitals_STS05", {"v=STSv1; ID=a1"}, nullptr},
    {"Extension_STS07", {"v=STSv1; x-y.z=1; id=a2"}, "a2"},
    {"Tight_STS08", {"v=STSv1;id=a3"}, "a3"},
    {"Blanks_STS08", {"v=STSv1; id=a3 ; "}, "a3"},
    {"BlankBeforeTheDelimiter_D01", {"v=STSv1 ;id=a3"}, "a3"},
    {"RepeatedId_STS09", {"v=STSv1; id=a4; id=b4"}, "a4"},
    {"NoDelimiter_STS02", {"v=STSv1 id=a1"}, ""},
    {"Nothing", {}, ""},
};
INSTANTIATE_TEST_SUITE_P(Rfc8461, StsRecord, testing::ValuesIn(cases),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace sternpost::sts
