"""Golden files: what each line of a file must have, and what the checkers say about it.

A line ends in what it must have: ``# E: code`` is a finding of the plugin, ``# E: code: text`` one
whose message has the text, ``# E: code | code`` are two; ``# mypy: code`` is one of mypy itself,
``# P: rule, rule`` are pyright's (which would read ``# pyright:`` as meant for it). A line without
a mark must have nothing.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from checkers import ROOT, Finding, findings, run, stubs

GOLDEN = ROOT / "tests" / "typing" / "golden"
FILES = tuple(sorted(path.name for path in GOLDEN.glob("*.py")))
MARK = re.compile(r"# (E|mypy|P|raises): ([^#]*)")
MYPY = """\
[mypy]
strict = True
python_version = 3.11
enable_error_code = unused-awaitable
mypy_path = {path}
cache_dir = {cache}
plugins = {plugins}
"""


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
            ["mypy", *options]
            if daemon is None
            else ["mypy.dmypy", "--status-file", str(daemon), "run", "--", *options]
        )
        return findings(run(*command, folder=folder).splitlines())
