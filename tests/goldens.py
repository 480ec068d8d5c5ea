"""Golden files: what each line of a file must have, and what the checkers say about it.

A line ends in what it must have: ``# E: code`` is a finding of the plugin, ``# E: code: text`` one
whose message has the text, ``# E: code | code`` are two; ``# mypy: code`` is one of mypy itself,
``# P: rule, rule`` are pyright's (which would read ``# pyright:`` as meant for it). A line without
a mark must have nothing.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import runtime

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "typing" / "golden"
FILES = tuple(sorted(path.name for path in GOLDEN.glob("*.py")))
MARK = re.compile(r"# (E|mypy|P|raises): ([^#]*)")
FOUND = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: (?P<text>.*?)  \[(?P<code>[\w-]+)\]$")
MYPY = """\
[mypy]
strict = True
python_version = 3.11
enable_error_code = unused-awaitable
mypy_path = {path}
cache_dir = {cache}
plugins = {plugins}
"""


class Finding(NamedTuple):
    """What a checker says about a line, or must say."""

    file: str
    line: int
    code: str
    text: str = ""


def stubs() -> Path | None:
    """Return where the stubs are, if they are not next to the compiled modules."""
    in_checkout = Path(runtime.__path__[0]).parent == ROOT
    return ROOT / "stubs" if in_checkout else None


def marked(file: str, text: str, *kinds: str) -> list[Finding]:
    """Return what the marks of some kinds say that a file must have."""
    found = list[Finding]()
    for number, line in enumerate(text.splitlines(), 1):
        for kind, body in MARK.findall(line):
            if kind not in kinds:
                continue
            for each in re.split(r"\s*\|\s*" if kind == "E" else r"\s*,\s*", body.strip()):
                code, _, part = each.partition(": ")
                found.append(Finding(file, number, code, part))
    return found


def expected(*kinds: str, folder: Path = GOLDEN) -> list[Finding]:
    """Return what the golden files of a folder must have, by marks of some kinds."""
    return [
        each
        for path in sorted(folder.glob("*.py"))
        for each in marked(path.name, path.read_text(encoding="utf-8"), *kinds)
    ]


def differences(wanted: Iterable[Finding], found: Iterable[Finding]) -> list[str]:
    """Say what was found and not wanted, and what was wanted and not found."""
    wanted, found = list(wanted), list(found)
    places = Counter(each[:3] for each in wanted)
    seen = Counter(each[:3] for each in found)
    texts = {(*each[:3], number): f": {each.text}" for number, each in enumerate(found)}
    lines = [
        f"{file}:{line}: {code} is {'missing' if count > 0 else 'too much'}"
        + "".join(
            text for key, text in texts.items() if count < 0 and key[:3] == (file, line, code)
        )
        for (file, line, code), count in sorted(
            {key: places[key] - seen[key] for key in places | seen}.items()
        )
        if count
    ]
    for each in wanted:
        said = [other.text for other in found if other[:3] == each[:3]]
        if said and not any(each.text in text for text in said):
            lines.append(f"{each.file}:{each.line}: {each.text!r} is not in {said}")
    return lines


class Mypy:
    """A way to run mypy: its configuration and its cache in a folder of their own."""

    def __init__(self, home: Path, *, plugin: bool = True, settings: str = "") -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.config = home / "mypy.ini"
        self.config.write_text(
            MYPY.format(
                path=stubs() or "",
                cache=home / "cache",
                plugins="runtime.mypy_plugin" if plugin else "",
            )
            + settings,
            encoding="utf-8",
        )

    def run(self, folder: Path, *targets: str, daemon: Path | None = None) -> list[Finding]:
        """Check files of a folder, and return what was found."""
        options = ["--config-file", str(self.config), "--show-traceback", *targets]
        command = (
            ["-m", "mypy", *options]
            if daemon is None
            else ["-m", "mypy.dmypy", "--status-file", str(daemon), "run", "--", *options]
        )
        # The folder is not where modules of the checker's own are looked for.
        done = subprocess.run(
            [sys.executable, "-P", *command],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return findings(done.stdout.splitlines())


def findings(lines: Sequence[str]) -> list[Finding]:
    """Return the findings in what mypy prints. Notes explain what is above them."""
    matches = [FOUND.match(line) for line in lines]
    unknown = [
        line
        for line, match in zip(lines, matches, strict=True)
        if match is None and not re.search(r": note: |^Found \d+ error|^Success: |^Daemon ", line)
    ]
    assert unknown == []
    return [
        Finding(each["file"], int(each["line"]), each["code"], each["text"])
        for each in matches
        if each is not None
    ]


def pyright(home: Path, folder: Path) -> list[Finding]:
    """Check a folder with basedpyright in strict mode, and return what was found."""
    config = home / "pyrightconfig.json"
    settings = {
        "include": [str(folder)],
        "extraPaths": [str(folder)],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "enableTypeIgnoreComments": False,
        "reportMissingModuleSource": False,
    }
    if (path := stubs()) is not None:
        settings["stubPath"] = str(path)
    config.write_text(json.dumps(settings), encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable, "-P", "-m", "basedpyright",
            "--project", str(config), "--pythonpath", sys.executable, "--outputjson",
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == len(list(folder.glob("*.py")))
    return [
        Finding(
            Path(each["file"]).name,
            each["range"]["start"]["line"] + 1,
            each.get("rule", each["severity"]),
            each["message"],
        )
        for each in report["generalDiagnostics"]
    ]
