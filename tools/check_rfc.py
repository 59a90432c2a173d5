#!/usr/bin/env python3
"""Checks doc/rfc.tsv, the map from the RFCs' sections to our code and tests (doc/style.md §8).

usage: check_rfc.py SOURCE-ROOT
A citation in src/ (`RFC 5321 §4.1.2`, `RFC 8461 §3.1, §3.3`, `RFC 5321 Appendix C`, `RFC 8460 erratum 6241`) needs a row with
that section or one that it is part of (`4.5.3.1` answers for `4.5.3.1.8`); a citation of a whole RFC needs a row of that RFC.
Each row names a test that exists: `Suite.Name` of GoogleTest, or a script's path under tests/; several with commas. `later: WHAT` stands
where a value is only kept for something that is not built yet.
Prints what is wrong; exit code 1 when there is anything.
"""

import pathlib
import re
import sys

HEADER = ["number", "section", "title", "what it asks of us", "test"]

SECTION = r"§ ?[A-Z0-9][0-9A-Za-z]*(?:\.[0-9]+)*|Appendix [A-Z](?:\.[0-9]+)*|errat(?:um|a) [0-9]+"
CITATION = re.compile(rf"\bRFC *([0-9]{{3,5}})(?:'s)?((?:(?:,| and| or| with|;|:)? *(?:{SECTION}))*)")
TEST = re.compile(r"\b(?:TYPED_)?TEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)")


def normal(section: str) -> str:
    return re.sub(r"^§ ?", "", section.replace("errata ", "erratum "))


def citations(text: str):
    """(line, RFC number, section or "") for each citation; one that a comment breaks over two lines is read whole."""
    joined = re.sub(r"\n[ \t]*//[/!]? ?", lambda match: " " * len(match.group(0)), text)
    for match in CITATION.finditer(joined):
        line = text.count("\n", 0, match.start()) + 1
        sections = re.findall(SECTION, match.group(2))
        for section in sections or [""]:
            yield line, match.group(1), normal(section)


def answered(number: str, section: str, rows: set[tuple[str, str]]) -> bool:
    if not section:
        return any(row_number == number for row_number, _ in rows)
    while section:
        if (number, section) in rows:
            return True
        section, dot, _ = section.rpartition(".")
        if not dot:
            return False
        if "." not in section and not section.startswith("Appendix"):
            return False  # a whole chapter answers for none of its sections
    return False


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 64
    root = pathlib.Path(sys.argv[1])
    problems = []

    tests = set()
    for path in (root / "tests").rglob("*.cpp"):
        tests |= {f"{suite}.{name}" for suite, name in TEST.findall(path.read_text(encoding="utf-8"))}

    rows: set[tuple[str, str]] = set()
    table = root / "doc" / "rfc.tsv"
    lines = table.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0].split("\t") != HEADER:
        problems.append(f"doc/rfc.tsv:1: the header line is {' TAB '.join(HEADER)}")
    for number, line in enumerate(lines[1:], 2):
        where = f"doc/rfc.tsv:{number}"
        cells = line.split("\t")
        if len(cells) != len(HEADER) or not all(cell.strip() for cell in cells[2:]) or not cells[0].isdigit():
            problems.append(f"{where}: five cells with tabs between, none empty but the section")
            continue
        key = (cells[0], cells[1])
        if key in rows:
            problems.append(f"{where}: RFC {cells[0]} §{cells[1]} has a row already")
        rows.add(key)
        for test in cells[4].split(", "):
            if not (cells[4].startswith("later: ") or test in tests or (test.startswith("tests/") and (root / test).is_file())):
                problems.append(f"{where}: there is no test {test}")

    cited = 0
    for path in sorted((root / "src").rglob("*")):
        if path.suffix not in {".h", ".cpp"}:
            continue
        for line, number, section in citations(path.read_text(encoding="utf-8")):
            cited += 1
            if not answered(number, section, rows):
                what = f"RFC {number}" + (f" §{section}" if section[:1].isdigit() else f" {section}" if section else "")
                problems.append(f"{path.relative_to(root)}:{line}: {what} has no row in doc/rfc.tsv")

    for problem in problems:
        print(problem)
    print(f"check_rfc: {cited} citations, {len(rows)} rows, {len(tests)} tests, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
