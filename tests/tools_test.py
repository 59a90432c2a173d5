#!/usr/bin/env python3
"""The checks under tools/ find what they are for: each is shown a small tree with one fault planted in it."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parent.parent / "tools"

HEADER = "// Says what it is for.\n#pragma once\n"


class ToolCase(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run_tool(self, tool: str, *folders: pathlib.Path) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, TOOLS / tool, *(folders or [self.root])],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout

    def assert_finds(self, tool: str, *texts: str) -> None:
        code, output = self.run_tool(tool)
        self.assertEqual(code, 1, output)
        for text in texts:
            self.assertIn(text, output)

    def assert_content(self, tool: str) -> None:
        code, output = self.run_tool(tool)
        self.assertEqual(code, 0, output)


class CheckLayers(ToolCase):
    def setUp(self) -> None:
        super().setUp()
        self.write(
            "src/smtp/meson.build",
            "core_sources += files(\n  'reply.cpp',\n)\n\nshell_sources += files('session.cpp')\n",
        )
        self.write(
            "src/util/meson.build",
            "core_sources += files('text.cpp')\n",
        )
        self.write("src/util/text.h", HEADER + "namespace sternpost {}\n")
        self.write("src/util/text.cpp", '#include "util/text.h"\n')
        self.write("src/smtp/reply.h", HEADER + '#include "util/text.h"\nnamespace sternpost::smtp {}\n')
        self.write("src/smtp/reply.cpp", '#include "smtp/reply.h"\n// steady_clock::now() in a comment, and "x"\n')
        self.write("src/smtp/session.cpp", '#include <boost/asio.hpp>\n#include "smtp/reply.h"\n')

    def test_is_content_with_a_good_tree(self) -> None:
        self.assert_content("check_layers.py")

    def test_finds_a_sibling_included(self) -> None:
        self.write("src/sts/record.h", HEADER + "namespace sternpost::sts {}\n")
        self.write("src/smtp/session.cpp", '#include "smtp/reply.h"\n#include "sts/record.h"\n')
        self.assert_finds("check_layers.py", "src/smtp/session.cpp:2: smtp includes sts")

    def test_finds_a_higher_row_included(self) -> None:
        self.write("src/util/text.cpp", '#include "smtp/reply.h"\n')
        self.assert_finds("check_layers.py", "src/util/text.cpp:1: util includes smtp")

    def test_finds_the_queue_included_by_the_lab(self) -> None:
        self.write("src/queue/schedule.h", HEADER + "namespace sternpost::queue {}\n")
        self.write("src/lab/mx.h", HEADER + '#include "queue/schedule.h"\nnamespace sternpost::lab {}\n')
        self.assert_finds("check_layers.py", "src/lab/mx.h:3: lab includes queue")

    def test_finds_asio_behind_a_header_that_a_core_includes(self) -> None:
        self.write("src/util/deadline.h", HEADER + "#include <boost/asio/awaitable.hpp>\n")
        self.write("src/smtp/reply.h", HEADER + '#include "util/deadline.h"\nnamespace sternpost::smtp {}\n')
        self.assert_finds("check_layers.py", "src/smtp/reply.cpp → smtp/reply.h → util/deadline.h")

    def test_finds_libraries_outside_their_one_place(self) -> None:
        self.write("src/smtp/session.cpp", "#include <sqlite3.h>\n#include <curl/curl.h>\n#include <ldns/ldns.h>\n")
        self.assert_finds("check_layers.py", "session.cpp:1: <sqlite3.h>", ":2: <curl/curl.h>", ":3: <ldns/ldns.h>")

    def test_finds_json_where_values_are_typed(self) -> None:
        self.write("src/admin/queue.cpp", "#include <boost/json.hpp>\n")
        self.assert_finds("check_layers.py", "src/admin/queue.cpp:1: <boost/json.hpp>: admin has typed values")

    def test_finds_clocks_chance_and_detached_coroutines(self) -> None:
        self.write(
            "src/sts/meson.build", "core_sources += files('cache.cpp')\n"
        )
        self.write("src/smtp/session.cpp", "")
        self.write(
            "src/sts/cache.cpp",
            "auto a = std::chrono::steady_clock::now();\nauto b = std::random_device{}();\nauto c = ::time(nullptr);\n"
            "asio::co_spawn(x, y, asio::detached);\nstd::map<Session*, int> d;\n",
        )
        self.assert_finds("check_layers.py", "cpp:1:", "cpp:2:", "cpp:3:", "cpp:4:", "cpp:5:", "5 problems")

    def test_finds_statuses_outside_the_place_that_decides(self) -> None:
        self.write(
            "src/delivery/meson.build",
            "core_sources += files('outcome.cpp')\n",
        )
        self.write("src/queue/meson.build", "shell_sources += files('core.cpp')\n")
        self.write("src/delivery/outcome.cpp", 'auto a = "5.1.1";\n')
        self.write("src/queue/core.cpp", '// like "5.1.1"\nauto a = "4.4.7";\n')
        self.assert_finds("check_layers.py", 'src/queue/core.cpp:2: "4.4.7": what a failure means', " 1 problems")

    def test_finds_a_source_that_no_target_builds(self) -> None:
        self.write("src/smtp/client.cpp", "")
        self.assert_finds("check_layers.py", "src/smtp/client.cpp:1: is in no list")

    def test_finds_a_header_without_its_sentence_or_in_a_foreign_namespace(self) -> None:
        self.write("src/smtp/reply.h", "#pragma once\nnamespace sternpost::sts {}\n")
        self.assert_finds("check_layers.py", "a header opens with a sentence", "the namespace is the folder's")


class CheckRfc(ToolCase):
    rows = "number\tsection\ttitle\twhat it asks of us\ttest\n5321\t4.5.3.1\tSizes\tLimits\tLimits.AreKept\n"

    def setUp(self) -> None:
        super().setUp()
        self.write("doc/rfc.tsv", self.rows)
        self.write("tests/unit/limits_test.cpp", "TEST(Limits, AreKept) {}\n")
        self.write("src/mail/address.h", "// RFC 5321 §4.5.3.1.1\n")
        self.write("tests/data/rows.txt", "".join(f"{one}\n" for one in self.obligations()))
        self.write("tests/unit/rows_test.cpp", 'TEST(Rows, AllHold) { read(DATA "/rows.txt"); }\n')
        self.write("tests/integration/test_way.py", "def mail_goes(machine):\n    pass  # STS-02\n")
        self.write_obligations()

    @staticmethod
    def obligations() -> list[str]:
        counts = {"STS": 75, "DANE": 30, "RTLS": 16, "TLS": 19, "MAP": 17, "DKIM": 16}
        reports = [f"RPT-{n:02}" for n in [*range(1, 40), *range(57, 72)]]
        return [f"{area}-{n:02}" for area, count in counts.items() for n in range(1, count + 1)] + reports

    def write_obligations(self, more: str = "", **tests: str) -> None:
        """A row for each obligation; tests: of single ones, such as STS_01."""
        cells = {one: tests.get(one.replace("-", "_"), "Rows.AllHold") for one in self.obligations()}
        rows = "".join(f"{one}\tRFC 8461 §3.1\tIt holds\t{test}\n" for one, test in cells.items() if test)
        self.write("doc/obligations.tsv", "id\tsection\twhat it demands\ttest\n" + rows + more)

    def test_is_content_when_the_row_is_of_the_section_above(self) -> None:
        self.assert_content("check_rfc.py")

    def test_finds_a_citation_without_a_row(self) -> None:
        self.write("src/mail/address.h", "// RFC 5321 §4.5.3.1, §4.4\n// RFC 8461 and RFC 5321 Appendix C\n")
        self.assert_finds("check_rfc.py", "address.h:1: RFC 5321 §4.4", "h:2: RFC 8461 has", "RFC 5321 Appendix C")

    def test_finds_a_citation_that_a_comment_breaks(self) -> None:
        self.write("src/mail/address.h", "/// one (RFC 5321 §4.5.3.1,\n/// §4.4).\n")
        self.assert_finds("check_rfc.py", "RFC 5321 §4.4 has no row")

    def test_does_not_take_a_chapter_for_its_sections(self) -> None:
        self.write("doc/rfc.tsv", self.rows.replace("4.5.3.1", "4"))
        self.assert_finds("check_rfc.py", "RFC 5321 §4.5.3.1.1 has no row")

    def test_finds_a_row_whose_test_is_gone(self) -> None:
        self.write("tests/unit/limits_test.cpp", "TEST(Limits, AreKeptNoMore) {}\n")
        self.assert_finds("check_rfc.py", "rfc.tsv:2: there is no test Limits.AreKept")

    def test_takes_scripts_and_rows_for_tests_and_waits_for_what_is_not_built(self) -> None:
        self.write("tests/unit/rules_test.cpp", 'TEST_P(Rules, Hold) {}\nRow rows[] = {{"Two_STS03", 2}};\n')
        self.write_obligations(STS_02="test_way.py:mail_goes", STS_03="Rules.Hold/Two_STS03", TLS_17="later: no such service")
        self.assert_content("check_rfc.py")

    def test_finds_an_obligation_whose_test_is_gone(self) -> None:
        self.write_obligations(STS_01="Rows.HoldNoMore", STS_02="test_way.py:mail_stays", STS_03="Rows.AllHold/NoRow", STS_04="test_no.py:x")
        self.assert_finds(
            "check_rfc.py",
            "tsv:2: there is no test Rows.HoldNoMore",
            "tsv:3: there is no test test_way.py:mail_stays",
            "tsv:4: there is no test Rows.AllHold/NoRow",
            "tsv:5: there is no test test_no.py:x",
        )

    def test_finds_a_test_that_does_not_say_what_it_shows(self) -> None:
        self.write_obligations(STS_01="test_way.py:mail_goes", TLS_02="test_way.py:mail_goes", STS_20="Limits.AreKept")
        self.assert_finds(
            "check_rfc.py",
            "test_way.py:mail_goes says nowhere that it shows STS-01",
            "test_way.py:mail_goes says nowhere that it shows TLS-02",
            "Limits.AreKept says nowhere that it shows STS-20",
            "3 problems",
        )

    def test_finds_obligations_without_a_test_without_a_row_and_with_two(self) -> None:
        self.write_obligations("STS-76\tx\tx\tRows.AllHold\nMAP-17\tx\tx\tRows.AllHold\n", STS_01="later: soon", STS_02="")
        self.assert_finds(
            "check_rfc.py",
            "STS-01 needs a test",
            "STS-02 has no row",
            "there is no obligation STS-76",
            "MAP-17 has a row already",
            "4 problems",
        )

    def test_finds_a_row_without_its_five_cells(self) -> None:
        self.write("doc/rfc.tsv", self.rows + "5321\t4.4\tTrace\n")
        self.assert_finds("check_rfc.py", "rfc.tsv:3: five cells")


class CheckDocs(ToolCase):
    options_h = (
        "struct Settings {\n    std::string user = \"sternpost\";\n    std::uint64_t size = 50UL << 20U;\n"
        "    std::vector<Duration> retry{std::chrono::minutes(5),\n        std::chrono::hours(1)};\n    bool enabled = true;\n};\n"
    )
    options_cpp = (
        'Option{"user", &S::user, Check::any, "x"},\nOption{"listener.size", &S::size, Check::size, "x"},\n'
        'Option{"queue.retry", &S::retry, Check::any, "x"},\nOption{"queue.enabled", &S::enabled, Check::any, "x"},\n'
    )
    etc = (
        '# Who.\n#user = "sternpost"\n\n[listener]\n# How large.\n#size = "50MiB"\n\n[queue]\n# When.\n'
        '#retry = ["5m", "1h"]\n# Whether.\n#enabled = true\n'
    )
    man = (
        ".It Cm user No = \\(dqsternpost\\(dq\n.Ss [listener]: mail in\n.It Cm size No = \\(dq50MiB\\(dq\n"
        ".Ss [queue]: x\n.It Cm retry No = [\\(dq5m\\(dq, \\(dq1h\\(dq]\n.It Cm enabled No = true\n"
    )

    limits = (
        "# Limits\n\n| limit | value | option | reason | test |\n|---|---|---|---|---|\n"
        "| a size | 50 MiB | `listener.size` | ours | `Reply.IsShort`, `test_way.py: mail_goes` |\n"
        "| waits | 5 min | `queue.retry`, `queue.enabled` | ours | `Rows.*`, `Rows.Hold/One`, `simulator: no-loss` |\n"
        "| memory | 1 GiB | `MemoryMax` | ours | `Reply.IsShort` |\n| names | 5 | fixed | ours | `Reply.IsShort` |\n"
    )
    security = "| attack | defence | test |\n|---|---|---|\n| much mail | limits | `Reply.IsShort` |\n"

    man_verbs = ".Nm\n.Fl -version | -help\n.It Cm status Op Fl -config\n.It Cm queue list Ar id\n.It Cm queue show\n"

    def setUp(self) -> None:
        super().setUp()
        self.write("src/config/options.h", "namespace c {\n" + self.options_h + "}\n")
        self.write("src/config/options.cpp", self.options_cpp)
        self.write("src/config/file.cpp", "")
        self.write(
            "src/cmd/sternpost/queue.cpp",
            'auto* queue = command.app().add_subcommand("queue", "x")->require_subcommand(1);\n'
            'command.add(&command.app(), "status", "x");\ncommand.add_reading<admin::QueueList>(queue,\n     "list", "x");\n'
            'queue->add_subcommand("show", "x");\napp_.add_option("--config", x);\n',
        )
        self.write("man/sternpost.1", self.man_verbs)
        self.write("etc/sternpost.toml", self.etc)
        self.write("man/sternpost.toml.5", self.man)
        self.write("etc/sternpost.service", "[Service]\nMemoryMax=1G\n")
        self.write("doc/limits.md", self.limits)
        self.write("doc/security.md", self.security)
        self.write(
            "tests/unit/reply_test.cpp", 'TEST(Reply, IsShort) {}\nTEST_P(Rows,\n       Hold) {}\nRow rows[] = {{"One", 1}};\n'
        )
        self.write("tests/integration/test_way.py", "def world():\n    pass\n\n\n@test\ndef mail_goes(machine):\n    pass\n")
        self.write("tests/simulation/oracle.cpp", 'trace_.violated("no-loss", "x");\ntrace_.violated(\n    "one-end", "x");\n')

    def test_is_content_when_all_three_say_the_same(self) -> None:
        self.assert_content("check_docs.py")

    def test_finds_an_option_that_only_the_code_has(self) -> None:
        self.write(
            "src/config/options.cpp", self.options_cpp + 'Option{"queue.lifetime", &S::retry, Check::any, "x"},\n'
        )
        self.assert_finds("check_docs.py", "etc/sternpost.toml: option queue.lifetime is missing")

    def test_finds_an_option_that_only_the_man_page_has(self) -> None:
        self.write("man/sternpost.toml.5", self.man + ".It Cm limit No = 5\n")
        self.assert_finds("check_docs.py", "etc/sternpost.toml: option queue.limit is missing (man")

    def test_finds_defaults_that_differ(self) -> None:
        self.write(
            "etc/sternpost.toml", self.etc.replace("50MiB", "40MiB").replace("1h", "2h").replace("true", "false")
        )
        self.assert_finds(
            "check_docs.py",
            "option listener.size: default",
            "option queue.retry: default",
            "option queue.enabled: default",
        )

    def test_finds_verbs_and_flags_that_only_one_has(self) -> None:
        self.write("man/sternpost.1", self.man_verbs.replace("queue show", "sts show") + ".Fl -all\n")
        self.assert_finds(
            "check_docs.py",
            "man/sternpost.1: verb queue show is missing",
            "src/cmd/sternpost: verb sts show is missing",
            "src/cmd/sternpost: --all is missing",
        )

    def test_finds_an_option_without_a_text(self) -> None:
        self.write("etc/sternpost.toml", self.etc.replace("# Who.\n", ""))
        self.assert_finds("check_docs.py", "etc/sternpost.toml:1: an option without a line of text")

    def limit(self, option: str, test: str) -> str:
        return f"| x | 1 | {option} | ours | {test} |\n"

    def test_takes_every_form_of_a_name(self) -> None:
        self.write("doc/limits.md", self.limits + self.limit("fixed", "`simulator: one-end`"))
        code, output = self.run_tool("check_docs.py")
        self.assertEqual((code, output.splitlines()[-1]), (0, "check_docs: 4 options, 0 problems"))

    def test_finds_a_cell_that_is_empty_or_missing(self) -> None:
        rows = "| x | | fixed | ours | none |\n| x | 1 | fixed | none |\n| x | 1 | fixed | ours | none | y |\n"
        self.write("doc/limits.md", self.limits + rows)
        self.write("doc/security.md", self.security + "| much mail | limits | |\n")
        wanted = ["limits.md:9: a cell", "limits.md:10: a cell", "limits.md:11: a cell", "security.md:4: a cell", " 4 problems"]
        self.assert_finds("check_docs.py", *wanted)

    def test_finds_a_test_that_is_not_there(self) -> None:
        gone = {
            "`Reply.IsLong`": "there is no test Reply.IsLong",
            "`Reply.*`": "there is no test Reply.*",
            "`Rows.Hold/Two`": "there is no test Rows.Hold/Two",
            "`Reply.IsShort`, `test_way.py: mail_stays`": "there is no test test_way.py: mail_stays",
            "`test_way.py: world`": "there is no test test_way.py: world",
            "`test_no.py: mail_goes`": "there is no test test_no.py: mail_goes",
            "`simulator: much-loss`": "there is no test simulator: much-loss",
            "the same": "names of tests between backquotes, with commas, not 'the same'",
            "none": "names of tests between backquotes, with commas, not 'none'",
        }
        self.write("doc/limits.md", self.limits + "".join(self.limit("fixed", test) for test in gone))
        said = [f"limits.md:{number}: {text}" for number, text in enumerate(gone.values(), 9)]
        self.assert_finds("check_docs.py", *said, " 9 problems")

    def test_finds_a_defence_without_a_test(self) -> None:
        self.write("doc/security.md", self.security + "| much mail | limits | none |\n\n| attack | defence |\n|---|---|\n| x | y |\n")
        self.assert_finds("check_docs.py", "security.md:4: names of tests", "security.md:6: a table without a column of tests")

    def test_finds_an_option_of_a_limit_that_is_not_there(self) -> None:
        rows = "".join(self.limit(option, "`Reply.IsShort`") for option in ("`queue.lifetime`", "`MemoryHigh`", "none"))
        self.write("doc/limits.md", self.limits + rows)
        self.assert_finds(
            "check_docs.py",
            "limits.md:9: there is no option queue.lifetime",
            "limits.md:10: there is no option MemoryHigh",
            "limits.md:11: `fixed`, or names of options",
            " 3 problems",
        )


class CountTests(ToolCase):
    def write_logs(self, results: dict[str, str], junit: str, folder: str = ".") -> None:
        lines = [json.dumps({"name": f"sternpost / {name}", "result": result}) for name, result in results.items()]
        self.write(f"{folder}/meson-logs/testlog.json", "\n".join(lines))
        self.write(f"{folder}/meson-logs/testlog.junit.xml", f"<testsuites>{junit}</testsuites>")

    def test_counts_cases_and_scripts(self) -> None:
        self.write_logs(
            {"unit": "OK", "check_rfc": "OK", "kill": "SKIP"},
            '<testsuite name="sternpost.sternpost / unit.Reply"><testcase name="A"/><testcase name="B"/></testsuite>'
            '<testsuite name="sternpost"><testcase name="check_rfc"/></testsuite>',
        )
        self.assertEqual(self.run_tool("count_tests.py"), (0, "3 passed, 0 failed, 1 skipped\n"))

    def test_names_the_case_that_failed(self) -> None:
        self.write_logs(
            {"unit": "FAIL"},
            '<testsuite name="sternpost.sternpost / unit.Reply"><testcase name="A"><failure/></testcase><testcase name="B"/></testsuite>',
        )
        self.assertEqual(
            self.run_tool("count_tests.py"), (1, "failed: sternpost / unit: Reply.A\n1 passed, 1 failed\n")
        )

    def test_counts_a_crash_and_a_timeout_as_failures(self) -> None:
        self.write_logs({"unit": "ERROR", "kill": "TIMEOUT"}, "")
        code, output = self.run_tool("count_tests.py")
        self.assertEqual((code, output.splitlines()[-1]), (1, "0 passed, 2 failed"))

    def test_is_not_content_when_nothing_ran(self) -> None:
        self.write_logs({}, "")
        code, output = self.run_tool("count_tests.py")
        self.assertEqual((code, output.splitlines()[-1]), (1, "0 passed, 1 failed"))

    def test_adds_up_folders_and_is_content_only_if_all_are(self) -> None:
        self.write_logs({"kill": "OK", "dane": "OK"}, "", "one")
        self.write_logs({"unit": "OK"}, "", "two")
        self.write_logs({}, "", "empty")
        one, two, empty = (self.root / name for name in ("one", "two", "empty"))
        self.assertEqual(self.run_tool("count_tests.py", one, two), (0, "3 passed, 0 failed\n"))
        self.assertEqual(
            self.run_tool("count_tests.py", one, empty),
            (1, f"failed: no test ran in {empty}\n2 passed, 1 failed\n"),
        )


if __name__ == "__main__":
    unittest.main()
