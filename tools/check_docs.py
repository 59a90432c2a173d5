#!/usr/bin/env python3
"""Checks that the documents say what the programs do (doc/style.md §10).

usage: check_docs.py SOURCE-ROOT
Options: the table in src/config/options.cpp with the defaults of options.h, man/sternpost.toml.5 and etc/sternpost.toml have the
same names and defaults, and etc/ has a line of text above each.
Verbs and flags: those that src/cmd/sternpost gives to CLI11 stand in man/sternpost.1, and the other way round.
Tables: in doc/limits.md and doc/security.md no cell is empty, and each row names tests that exist. They are written as
`Suite.Name`, `Suite.Name/Row` or `Suite.*` (parameterised) of tests/unit, as `test_x.py: function` of tests/integration, or as
`simulator: word`, a rule of tests/simulation. The options in limits.md exist in the code, or are
settings of the systemd unit; `fixed` stands where there is none.
Prints what differs; exit code 1 when anything does.
"""

import pathlib
import re
import sys
import tomllib


TABLES = ("doc/limits.md", "doc/security.md")
GTEST = re.compile(r"\b(?:TYPED_)?(TEST(?:_F|_P)?)\(\s*(\w+)\s*,\s*(\w+)\s*\)")
NAMES = re.compile(r"`[^`]+`(?:, `[^`]+`)*")  # a cell of names


class Tests:
    """What can be named as a test."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.texts: dict[str, list[str]] = {}  # of the files that have a test of GoogleTest
        self.parameterised: set[str] = set()
        for path in sorted((root / "tests" / "unit").rglob("*.cpp")):
            text = path.read_text(encoding="utf-8")
            for macro, suite, name in GTEST.findall(text):
                self.texts.setdefault(f"{suite}.{name}", []).append(text)
                if macro == "TEST_P":
                    self.parameterised.add(suite)
        rules = (path.read_text(encoding="utf-8") for path in sorted((root / "tests" / "simulation").glob("*.cpp")))
        self.rules = {word for text in rules for word in re.findall(r'violated\(\s*"([\w-]+)"', text)}

    def has(self, name: str) -> bool:
        if match := re.fullmatch(r"(test_\w+\.py): (\w+)", name):
            path = self.root / "tests" / "integration" / match.group(1)
            return path.is_file() and f"\n@test\ndef {match.group(2)}(" in path.read_text(encoding="utf-8")
        if match := re.fullmatch(r"simulator: ([\w-]+)", name):
            return match.group(1) in self.rules
        if name.endswith(".*"):
            return name[:-2] in self.parameterised
        test, slash, row = name.partition("/")
        return any(not slash or f'"{row}"' in text for text in self.texts.get(test, []))


class Checker:
    def __init__(self, root: pathlib.Path):
        self.root = root
        self.problems: list[str] = []

    def read(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")

    def say(self, text: str) -> None:
        self.problems.append(text)

    def code_options(self) -> dict[str, object]:
        """The rows of the table, each with the default of its member of Settings."""
        header = self.read("src/config/options.h")
        settings = re.search(r"\nstruct Settings \{(.*?)\n\};", header, re.DOTALL)
        if not settings:
            self.say("src/config/options.h: there is no struct Settings")
            return {}
        members = {
            name: (kind, default if default else braces)
            for kind, name, default, braces in re.findall(
                r"^\s+([\w:<> ]+?) (\w+)(?: = (.*?)|\{(.*?)\})?;", settings.group(1), re.MULTILINE | re.DOTALL
            )
        }
        options: dict[str, object] = {}
        for name, member in re.findall(r'\{\s*"([a-z0-9_.]+)",\s*&S(?:ettings)?::(\w+),', self.read("src/config/options.cpp")):
            if member not in members:
                self.say(f"src/config/options.cpp: {name} has no default in options.h ({member})")
                continue
            options[name] = cpp_value(*members[member])
        # a client's block is a list of its own, read by file.cpp
        for name in re.findall(r'entry\.get\("(\w+)"\)', self.read("src/config/file.cpp")):
            options[f"client.{name}"] = None
        for section, name in re.findall(r'(?:text|number)_of\(\*entry, "(\w+)", "(\w+)"', self.read("src/config/file.cpp")):
            options[f"{section}.{name}"] = None
        for section in re.findall(r'domains_of\(\*?entry, "(\w+)"', self.read("src/config/file.cpp")):
            options[f"{section}.domains"] = None
        return options

    def check_texts(self) -> None:
        """Every option of etc/ stands under a line of text; one line may speak for several options."""
        text = ""
        for number, line in enumerate(self.read("etc/sternpost.toml").splitlines(), 1):
            if line.startswith("# "):
                text = line
            elif line.startswith("#") and not text:
                self.say(f"etc/sternpost.toml:{number}: an option without a line of text above it")
            elif not line:
                text = ""

    def etc_options(self) -> dict[str, object]:
        """Name with its table → default. `#name = value` is an option, `# text` is text."""
        text = re.sub(r"(?m)^#(?! )", "", self.read("etc/sternpost.toml"))
        try:
            return flat(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            self.say(f"etc/sternpost.toml: with every option's mark taken away it is no TOML: {error}")
            return {}

    def man_options(self) -> dict[str, object]:
        """The `.It Cm NAME No = DEFAULT` lines under the `.Ss [table]` headings."""
        options: dict[str, object] = {}
        table = ""
        for number, line in enumerate(self.read("man/sternpost.toml.5").splitlines(), 1):
            if line.startswith((".Ss", ".Sh")):
                match = re.match(r"\.Ss \[+([a-z_]+)\]+", line)
                table = match.group(1) + "." if match else ""
            elif line.startswith(".It Cm "):
                match = re.fullmatch(r"\.It Cm ([a-z0-9_]+)(?: No = (.*))?", line)
                if not match:
                    self.say(f"man/sternpost.toml.5:{number}: write it as .It Cm NAME No = DEFAULT")
                    continue
                default = match.group(2)
                value = None if default is None else tomllib.loads("x = " + default.replace(r"\(dq", '"'))["x"]
                options[table + match.group(1)] = value
        return options

    def check_verbs(self) -> None:
        folder = self.root / "src" / "cmd" / "sternpost"
        code = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.*")))
        page = self.read("man/sternpost.1")
        top = r"(?:command\.app\(\)\s*\.|\bapp->)"
        groups = dict(re.findall(rf'auto\* (\w+) =\s*{top}add_subcommand\(\s*"(\w+)"[^;]*require_subcommand', code))
        for name, parent, verb in re.findall(r'auto\* (\w+) =\s*(\w+)->add_subcommand\(\s*"(\w+)"[^;]*require_subcommand', code):
            if parent != "app":
                groups[name] = f"{groups[parent]} {verb}"
        verbs = re.findall(r'\b(?:command\.add(?:_reading<[\w:]+>)?|add_\w+|verb)\(\s*(?:command,\s*)?&?([\w.()]+),\s*"(\w+)"', code)
        verbs += re.findall(r'\b(\w+)->add_subcommand\(\s*"(\w+)"', code)
        verbs += [("", verb) for verb in re.findall(rf'{top}add_subcommand\(\s*"(\w+)"', code)]
        known = {f"{groups[parent]} {verb}" if parent in groups else verb for parent, verb in verbs} - set(groups.values())
        told = {match.rstrip() for match in re.findall(r"(?m)^\.It Cm ([a-z]+(?: [a-z]+){0,2})(?= |$)", page)}
        flags = set(re.findall(r'add_(?:option|flag)(?:_function<[\w:]+>)?\(\s*"--([\w-]+)"', code)) | {"version", "help"}
        for one, ones, other, others in (
            ("man/sternpost.1", told, "src/cmd/sternpost", known),
            ("src/cmd/sternpost", known, "man/sternpost.1", told),
        ):
            for verb in sorted(others - ones):
                self.say(f"{one}: verb {verb} is missing ({other} has it)")
        for flag in sorted(flags ^ set(re.findall(r"(?:\bFl|\|) -(\w[\w-]*)", page))):
            where = "man/sternpost.1" if flag in flags else "src/cmd/sternpost"
            self.say(f"{where}: --{flag} is missing")

    def check_tables(self, options: dict[str, object]) -> None:
        tests = Tests(self.root)
        unit = self.root / "etc" / "sternpost.service"
        settings = set(re.findall(r"(?m)^(\w+)=", unit.read_text(encoding="utf-8"))) if unit.is_file() else set()
        for name in TABLES:
            header: list[str] = []
            for number, line in enumerate(self.read(name).splitlines(), 1):
                if not line.startswith("|"):
                    header = []
                    continue
                cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
                if not header:
                    header = cells
                    if "test" not in header:
                        self.say(f"{name}:{number}: a table without a column of tests")
                elif set(line) - set("|- "):
                    self.check_row(f"{name}:{number}", dict(zip(header, cells)), len(cells) == len(header), tests, options.keys() | settings)

    def check_row(self, where: str, row: dict[str, str], whole: bool, tests: Tests, options: set[str]) -> None:
        if not whole or not all(row.values()):
            self.say(f"{where}: a cell is empty or missing, or there is one too many")
            return
        named = row.get("test", "")
        if not NAMES.fullmatch(named):
            self.say(f"{where}: names of tests between backquotes, with commas, not {named!r}")
        else:
            for test in named.strip("`").split("`, `"):
                if not tests.has(test):
                    self.say(f"{where}: there is no test {test}")
        changed_by = row.get("option", "fixed")
        if changed_by == "fixed":
            return
        if not NAMES.fullmatch(changed_by):
            self.say(f"{where}: `fixed`, or names of options between backquotes, with commas, not {changed_by!r}")
            return
        for option in changed_by.strip("`").split("`, `"):
            if option not in options:
                self.say(f"{where}: there is no option {option}")

    def compare(self, one: str, ones: dict[str, object], other: str, others: dict[str, object]) -> None:
        for name in sorted(ones.keys() | others.keys()):
            if name not in ones:
                self.say(f"{one}: option {name} is missing ({other} has it)")
            elif name not in others:
                self.say(f"{other}: option {name} is missing ({one} has it)")
            elif None not in (ones[name], others[name]) and measured(ones[name]) != measured(others[name]):
                self.say(f"option {name}: default {ones[name]!r} in {one}, {others[name]!r} in {other}")


UNITS = {
    **{"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000},
    **{"milliseconds": 1, "seconds": 1000, "minutes": 60_000, "hours": 3_600_000},
    **{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30},
}


def measured(value: object) -> object:
    """Durations in milliseconds and sizes in octets, so that "5m" and minutes(5) are one."""
    if isinstance(value, list):
        return [measured(item) for item in value]
    if isinstance(value, str) and re.fullmatch(r"(\d+(ms|s|m|h|d|KiB|MiB|GiB))+", value):
        return sum(int(count) * UNITS[unit] for count, unit in re.findall(r"(\d+)(ms|s|m|h|d|KiB|MiB|GiB)", value))
    return value


def cpp_value(kind: str, default: str) -> object:
    """The value of a default in options.h."""
    if kind.startswith("std::vector"):
        items = re.findall(r'"[^"]*"|std::chrono::\w+\(\d+\)', default)
        return [cpp_value("std::string" if item.startswith('"') else "Duration", item) for item in items]
    if kind == "std::string":
        return default.strip('"')
    if kind == "bool":
        return default == "true"
    if kind == "Duration":
        match = re.search(r"std::chrono::(\w+)\((\d+)\)", default)
        return int(match.group(2)) * UNITS[match.group(1)] if match else default
    number = re.fullmatch(r"(\d+)(?:UL?)?(?: << (\d+)U?)?", default.replace("'", ""))
    return int(number.group(1)) << int(number.group(2) or 0) if number else default


def flat(table: dict, prefix: str = "") -> dict[str, object]:
    options: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            options |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            options |= flat(value[0], f"{prefix}{key}.")
        else:
            options[prefix + key] = value
    # what a block must say has no default: the value in etc/ is an example
    return {name: None if name == "client.network" else value for name, value in options.items()}


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 64
    checker = Checker(pathlib.Path(sys.argv[1]))
    etc = checker.etc_options()
    checker.compare("etc/sternpost.toml", etc, "man/sternpost.toml.5", checker.man_options())
    options = checker.code_options()
    checker.compare("src/config/options.cpp", options, "etc/sternpost.toml", etc)
    checker.check_texts()
    checker.check_verbs()
    checker.check_tables(options)
    for problem in checker.problems:
        print(problem)
    print(f"check_docs: {len(etc)} options, {len(checker.problems)} problems")
    return 1 if checker.problems else 0


if __name__ == "__main__":
    sys.exit(main())
