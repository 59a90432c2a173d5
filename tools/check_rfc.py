#!/usr/bin/env python3
"""Checks doc/rfc.tsv, the map from the RFCs' sections to our code and tests (doc/style.md §8), and doc/obligations.tsv, the map from
single obligations to the tests that show them.

usage: check_rfc.py SOURCE-ROOT
A citation in src/ (`RFC 5321 §4.1.2`, `RFC 8461 §3.1, §3.3`, `RFC 5321 Appendix C`, `RFC 8460 erratum 6241`) needs a row with
that section or one that it is part of (`4.5.3.1` answers for `4.5.3.1.8`); a citation of a whole RFC needs a row of that RFC.
Each row names a test that exists: `Suite.Name` of GoogleTest, or a script's path under tests/; several with commas. `later: WHAT` stands
where a value is only kept for something that is not built yet.

Each obligation of OBLIGATIONS has one row. It names tests that exist: `Suite.Name` or `Suite.Name/Row` of GoogleTest, or `script.py:function`
under tests/integration/; and its id stands in each one's file, in the test's name, a row's name (`Two_STS03`) or a comment, or in a file
of tests/data/ that the test reads. Only those of LATER may say `later: WHY` instead.
Prints what is wrong; exit code 1 when there is anything.
"""

import pathlib
import re
import sys

HEADER = ["number", "section", "title", "what it asks of us", "test"]

OBLIGATIONS_HEADER = ["id", "section", "what it demands", "test"]
COUNTS = {"STS": 75, "DANE": 30, "RTLS": 16, "TLS": 19, "MAP": 17, "DKIM": 16}
# RPT-40 to RPT-56 are the seventeen MAP conditions, each in a report
OBLIGATIONS = [f"{area}-{number:02}" for area, count in COUNTS.items() for number in range(1, count + 1)] + [
    f"RPT-{number:02}" for number in [*range(1, 40), *range(57, 72)]
]
LATER = {"RTLS-16", "TLS-08", "TLS-16", "TLS-17"}  # of services that are not built: AUTH, submission, forwarding

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


def gtests(root: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Where each test of GoogleTest stands; an INSTANTIATE_ or a second suite of the same name may be elsewhere."""
    found: dict[str, list[pathlib.Path]] = {}
    for path in sorted((root / "tests").rglob("*.cpp")):
        for suite, name in TEST.findall(path.read_text(encoding="utf-8")):
            found.setdefault(f"{suite}.{name}", []).append(path)
    return found


def shows(text: str, obligation: str) -> bool:
    """Whether the id stands there: STS-03, or STS03 in a name."""
    area, number = obligation.split("-")
    return re.search(rf"(?<![A-Z]){area}-?{number}(?![0-9])", text) is not None


def with_data(root: pathlib.Path, path: pathlib.Path) -> str:
    """A test's text, and that of the data files that it names."""
    text = path.read_text(encoding="utf-8")
    data = [one for one in sorted((root / "tests" / "data").glob("*.*")) if f"/{one.name}" in text]
    return "\n".join([text, *(one.read_text(encoding="utf-8") for one in data)])


def check_obligations(root: pathlib.Path, tests: dict[str, list[pathlib.Path]]) -> list[str]:
    table = root / "doc" / "obligations.tsv"
    if not table.is_file():
        return ["doc/obligations.tsv: is not there"]
    problems = []
    lines = table.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0].split("\t") != OBLIGATIONS_HEADER:
        problems.append(f"doc/obligations.tsv:1: the header line is {' TAB '.join(OBLIGATIONS_HEADER)}")
    seen = set()
    for number, line in enumerate(lines[1:], 2):
        where = f"doc/obligations.tsv:{number}"
        cells = line.split("\t")
        if len(cells) != len(OBLIGATIONS_HEADER) or not all(cell.strip() for cell in cells):
            problems.append(f"{where}: four cells with tabs between, none empty")
            continue
        obligation, _, _, named = cells
        if obligation not in OBLIGATIONS:
            problems.append(f"{where}: there is no obligation {obligation}")
            continue
        if obligation in seen:
            problems.append(f"{where}: {obligation} has a row already")
        seen.add(obligation)
        if named.startswith("later: "):
            if obligation not in LATER:
                problems.append(f"{where}: {obligation} needs a test")
            continue
        for test in named.split(", "):
            script, colon, function = test.partition(":")
            name, slash, row = test.partition("/")
            path = root / "tests" / "integration" / script
            if colon and path.is_file() and re.search(rf"^def {re.escape(function)}\(", path.read_text(encoding="utf-8"), re.M):
                texts = [with_data(root, path)]
            else:
                texts = [] if colon else [with_data(root, one) for one in tests.get(name, [])]
                if slash:
                    texts = [text for text in texts if f'"{row}"' in text]
            if not texts:
                problems.append(f"{where}: there is no test {test}")
            elif not any(shows(text, obligation) for text in texts):
                problems.append(f"{where}: {test} says nowhere that it shows {obligation}")
    problems += [f"doc/obligations.tsv: {one} has no row" for one in OBLIGATIONS if one not in seen]
    return problems


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 64
    root = pathlib.Path(sys.argv[1])
    problems = []

    tests = gtests(root)

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

    problems += check_obligations(root, tests)
    for problem in problems:
        print(problem)
    print(f"check_rfc: {cited} citations, {len(rows)} rows, {len(OBLIGATIONS)} obligations, {len(tests)} tests, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
