#!/usr/bin/env python3
"""Checks what doc/style.md §2, §5 and §6 say about who may include and call what, over every file under src/.

usage: check_layers.py SOURCE-ROOT
Prints FILE:LINE: what is wrong and by which rule; exit code 1 when there is anything.
"""

import pathlib
import re
import sys

# A file includes its own folder and the rows below its own.
ROWS = [
    ["util"],
    ["dns"],
    ["mail", "tls"],
    ["store"],
    ["intake"],
    ["smtp", "local", "sts", "tlsrpt", "dkim", "dsn", "queue"],
    ["delivery"],
    ["config", "admin"],
    ["control"],
    ["lab"],
    ["cmd"],
]
ROW_OF = {folder: row for row, folders in enumerate(ROWS) for folder in folders}

# What a folder does not include although the rows would allow it. The lab stands for the rest of the world, so it shares
# no code with what it judges; admin and control get their settings as values.
NEVER = {
    "lab": {"delivery", "queue", "sts", "tlsrpt", "admin"},
    "control": {"config"},
}

# The store's rooms: a file includes its own room and those before it. Others see the contract alone.
ROOMS = ["", "journal", "sqlite", "engine"]

# A library's header, and the only files that include it.
SOLE_USERS = [
    (r"sqlite3(ext)?\.h", r"src/store/sqlite/.*"),
    (r"curl/.*", r"src/util/https\.(h|cpp)"),
    (r"libpsl\.h", r"src/dns/organizational\.cpp"),
    (r"ldns/.*", r"src/dns/message\.cpp|src/lab/.*"),
]

# Headers that the files of a folder do not include, and why.
FOREIGN = [
    (r"src/admin/.*", r"boost/json.*", "admin has typed values: control/json.h makes JSON of them"),
]

# A call, what to say, and the files that may make it: the edge of the program, and for deadlines the shells that are on real
# sockets only. What the simulator runs too (delivery, sts, queue, store, the resolver) is in neither.
EDGE = r"src/(util|cmd|lab)/.*"
CLOCK_EDGE = EDGE + r"|src/(smtp/(session|listener)|tls/stream|local/(socket|maildrop)|control/(server|client))\.cpp"
BANS = [
    (r"(system_clock|steady_clock|high_resolution_clock|utc_clock|file_clock)::now\b", "a Clock is passed in", CLOCK_EDGE),
    (
        r"\b(gettimeofday|clock_gettime)\s*\(|(?<![\w.>:])(std)?(::)?time\s*\(\s*(nullptr|NULL|0|&)",
        "a Clock is passed in",
        CLOCK_EDGE,
    ),
    (r"\b(getrandom|arc4random\w*|getentropy)\s*\(|\brandom_device\b|\bmt19937\w*|(?<![\w.>:])(std::)?s?rand\s*\(", "a Random is passed in", EDGE),
    (r"\bstd::(unordered_)?(multi)?(map|set)\s*<\s*(const\s+)?[\w:]+\s*(const\s*)?\*", "no container is ordered by pointers: runs could not be replayed", EDGE),
    (r"\bdetached\b", "TaskGroup::spawn instead: a detached coroutine drops its exceptions", r"(?!)"),
    (r"\bthis_thread::sleep_|(?<![\w.>:])(u|nano)?sleep\s*\(", "waiting is Timer's", EDGE),
]

# String literals that only some files of some folders may have: (what is matched, folders, files that may, what to say).
LITERALS = [
    (r'"[245]\.\d{1,2}\.\d{1,3}"', r"src/(delivery|queue)/.*", r"src/delivery/outcome.*", "what a failure means is decided in delivery/outcome"),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')


def code_only(text: str) -> str:
    """The text without comments and string literals; line numbers stay."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match.group(0))

    pattern = r'R"(\w*)\((?:.|\n)*?\)\1"|//[^\n]*|/\*(?:.|\n)*?\*/|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\''
    return re.sub(pattern, blank, text)


class Tree:
    def __init__(self, root: pathlib.Path):
        self.root = root
        self.texts = {
            str(path.relative_to(root)): path.read_text(encoding="utf-8")
            for path in sorted((root / "src").rglob("*"))
            if path.suffix in {".h", ".cpp"}
        }
        self.meson = {
            path.parent.relative_to(root): path.read_text(encoding="utf-8") for path in sorted((root / "src").rglob("meson.build"))
        }
        self.problems: list[str] = []

    def say(self, file: str, line: int, what: str) -> None:
        self.problems.append(f"{file}:{line}: {what}")

    def includes(self, file: str):
        """(line, header, whether it is one of ours)."""
        for number, line in enumerate(self.texts[file].splitlines(), 1):
            if match := INCLUDE.match(line):
                yield number, match.group(2), match.group(1) == '"'

    def sources(self, kind: str) -> list[str]:
        """The files of the `KIND_sources += files(…)` blocks in the folders' meson.build."""
        return [
            str(folder / name)
            for folder, text in self.meson.items()
            for block in re.findall(rf"\b{kind}_sources\s*\+=\s*files\((.*?)\)", text, re.DOTALL)
            for name in re.findall(r"'([^']+)'", block)
        ]

    def check_rows(self) -> None:
        for file in self.texts:
            folder = file.split("/")[1]
            if folder not in ROW_OF:
                self.say(file, 1, f"src/{folder} has no row in tools/check_layers.py and doc/style.md §2")
                continue
            for line, header, ours in self.includes(file):
                if not ours:
                    continue
                if f"src/{header}" not in self.texts:
                    self.say(file, line, f'"{header}" is not under src/: ours are included as "folder/name.h", others as <…>')
                    continue
                other = header.split("/")[0]
                if other == folder:
                    continue
                if ROW_OF.get(other, 99) >= ROW_OF[folder] or other in NEVER.get(folder, set()):
                    self.say(file, line, f"{folder} includes {other} (doc/style.md §2: own folder and lower rows)")

    def check_rooms(self) -> None:
        def room(path: str) -> int:
            parts = path.split("/")
            return ROOMS.index(parts[1] if len(parts) > 2 else "")

        for file in self.texts:
            for line, header, ours in self.includes(file):
                if not ours or not header.startswith("store/"):
                    continue
                if file.startswith("src/store/"):
                    if room(header) > room(file.removeprefix("src/")):
                        self.say(file, line, f"{header}: a room of the store includes those before it: {', '.join(ROOMS[1:])} (doc/style.md §2)")
                elif room(header) > 0:
                    self.say(file, line, f"{header}: others see the store's contract alone (doc/style.md §2)")

    def check_libraries(self) -> None:
        for file in self.texts:
            for line, header, _ in self.includes(file):
                for library, users in SOLE_USERS:
                    if re.fullmatch(library, header) and not re.fullmatch(users, file):
                        self.say(file, line, f"<{header}> belongs to {users} alone")
                for files, foreign, why in FOREIGN:
                    if re.fullmatch(files, file) and re.fullmatch(foreign, header):
                        self.say(file, line, f"<{header}>: {why}")

    def check_reach(self, sources: list[str], library: str, why: str) -> None:
        """No file of `sources`, nor any header of ours that it leads to, includes what matches `library`."""
        for source in sources:
            if source not in self.texts:
                self.say("src/meson.build", 1, f"{source} is not there")
                continue
            way = {source: source}
            todo = [source]
            while todo:
                file = todo.pop()
                for line, header, ours in self.includes(file):
                    if re.match(library, header):
                        self.say(file, line, f"<{header}> reaches {why} by {way[file]}")
                    name = f"src/{header}"
                    if ours and name in self.texts and name not in way:
                        way[name] = f"{way[file]} → {header}"
                        todo.append(name)

    def check_bans(self) -> None:
        for file, text in self.texts.items():
            for number, line in enumerate(code_only(text).splitlines(), 1):
                for pattern, what, allowed in BANS:
                    if re.search(pattern, line) and not re.fullmatch(allowed, file):
                        self.say(file, number, f"{line.strip()[:60]}: {what} (doc/style.md §5, §6)")

    def check_literals(self) -> None:
        for file, text in self.texts.items():
            for number, line in enumerate(text.splitlines(), 1):
                for pattern, folders, allowed, what in LITERALS:
                    literal = re.search(pattern, line.partition("//")[0])
                    if literal and re.fullmatch(folders, file) and not re.fullmatch(allowed, file):
                        self.say(file, number, f"{literal[0]}: {what}")

    def check_form(self) -> None:
        named = set(self.sources(r"\w+"))
        for file, text in self.texts.items():
            folder = file.split("/")[1]
            lines = text.splitlines() + ["", ""]
            if file.endswith(".cpp") and file not in named:
                self.say(file, 1, "is in no list of its folder's meson.build")
            if not file.endswith(".h"):
                continue
            if not lines[0].startswith("// "):
                self.say(file, 1, "a header opens with a sentence on its job (doc/style.md §8)")
            if not file.endswith("pch.h") and not re.search(r"^#pragma once$", text, re.MULTILINE):
                self.say(file, 1, "#pragma once is missing")
            if folder != "util" and "namespace" in text and not re.search(rf"\bnamespace sternpost::{folder}\b", text):
                self.say(file, 1, f"the namespace is the folder's: sternpost::{folder} (doc/style.md §3)")


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 64
    tree = Tree(pathlib.Path(sys.argv[1]))
    core = tree.sources("(?:base|core)")
    if not core:
        tree.say("src/meson.build", 1, "no core_sources += files(…) found")
    tree.check_rows()
    tree.check_rooms()
    tree.check_libraries()
    tree.check_reach(core, r"boost/(asio|beast)|asio", "a core")
    sendmail = [file for file in tree.texts if file == "src/cmd/sendmail.cpp"]
    tree.check_reach(sendmail, r"boost/asio|openssl/|curl/|ldns/|sqlite3|toml", "sendmail, which starts quickly,")
    tree.check_bans()
    tree.check_literals()
    tree.check_form()
    for problem in sorted(set(tree.problems)):
        print(problem)
    print(f"check_layers: {len(tree.texts)} files, {len(core)} core sources, {len(set(tree.problems))} problems")
    return 1 if tree.problems else 0


if __name__ == "__main__":
    sys.exit(main())
