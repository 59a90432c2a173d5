#!/usr/bin/env python3
"""Counts what `meson test` ran in build folders: GoogleTest's cases one by one, every other test as one.

usage: count_tests.py BUILD-FOLDER...
Prints `N passed, N failed` (and `, N skipped` where there are any), after the names of what failed. Exit code 1 when
something failed or nothing ran in one of the folders.
"""

import json
import pathlib
import sys
import xml.etree.ElementTree


def gtest_cases(junit: pathlib.Path, names: list[str]) -> dict[str, list[tuple[str, str]]]:
    """For each test program whose cases are in the JUnit file: (case, passed|failed|skipped)."""
    cases: dict[str, list[tuple[str, str]]] = {}
    for suite in xml.etree.ElementTree.parse(junit).getroot().iter("testsuite"):
        _, _, title = suite.get("name", "").partition(".")  # PROJECT.TEST.SUITE; plain tests stand under PROJECT
        for test in names:
            if not title.startswith(test + "."):
                continue
            for case in suite.iter("testcase"):
                state = "passed"
                if case.find("failure") is not None or case.find("error") is not None:
                    state = "failed"
                elif case.find("skipped") is not None or case.get("status") == "notrun":
                    state = "skipped"
                cases.setdefault(test, []).append((f"{title[len(test) + 1:]}.{case.get('name')}", state))
    return cases


def count_folder(folder: str, count: dict[str, int]) -> list[str]:
    """Adds the tests of one build folder to the counts; the names of those that failed."""
    logs = pathlib.Path(folder) / "meson-logs"
    tests = [json.loads(line) for line in (logs / "testlog.json").read_text(encoding="utf-8").splitlines()]
    cases = gtest_cases(logs / "testlog.junit.xml", [test["name"] for test in tests])
    failed = []
    for test in tests:
        name = test["name"]
        result = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}.get(test["result"], "failed")
        for case, state in cases.get(name, []):
            count[state] += 1
            if state == "failed":
                failed.append(f"{name}: {case}")
        # a program that crashed or ran out of time has no case to blame
        if name not in cases or (result == "failed" and all(state != "failed" for _, state in cases[name])):
            count[result] += 1
            if result == "failed":
                failed.append(f"{name} ({test['result']})")
    if not tests:
        count["failed"] += 1
        failed.append(f"no test ran in {folder}")
    return failed


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 64
    count = {"passed": 0, "failed": 0, "skipped": 0}
    for folder in sys.argv[1:]:
        for name in count_folder(folder, count):
            print(f"failed: {name}")
    text = f"{count['passed']} passed, {count['failed']} failed"
    print(text + (f", {count['skipped']} skipped" if count["skipped"] else ""))
    return 0 if count["passed"] and not count["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
