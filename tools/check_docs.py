#!/usr/bin/env python3
"""Checks that the documents say what the programs do (doc/style.md §10).

usage: check_docs.py SOURCE-ROOT
Options: the table in src/config/options.cpp, man/sternpost.toml.5 and etc/sternpost.toml have the same names and defaults.
Verbs and flags: those of src/cmd/sternpost.cpp stand in man/sternpost.1, and the other way round.
Prints what differs; exit code 1 when anything does.
"""

import pathlib
import re
import sys
import tomllib


class Checker:
    def __init__(self, root: pathlib.Path):
        self.root = root
        self.problems: list[str] = []

    def read(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")

    def say(self, text: str) -> None:
        self.problems.append(text)

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

    def compare(self, one: str, ones: dict[str, object], other: str, others: dict[str, object]) -> None:
        for name in sorted(ones.keys() | others.keys()):
            if name not in ones:
                self.say(f"{one}: option {name} is missing ({other} has it)")
            elif name not in others:
                self.say(f"{other}: option {name} is missing ({one} has it)")
            elif ones[name] is not None and others[name] is not None and ones[name] != others[name]:
                self.say(f"option {name}: default {ones[name]!r} in {one}, {others[name]!r} in {other}")


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
    for problem in checker.problems:
        print(problem)
    print(f"check_docs: {len(etc)} options, {len(checker.problems)} problems")
    return 1 if checker.problems else 0


if __name__ == "__main__":
    sys.exit(main())
