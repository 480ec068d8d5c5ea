"""What tests of ``runtime check`` run it with: programs in a folder, in a process of their own."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARK = re.compile(r"#\s*E: ([a-z| -]+)$")


@dataclass(frozen=True)
class Checked:
    """How a run of the command has ended."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> Any:
        """The document of ``--format json``."""
        return json.loads(self.out)

    @property
    def found(self) -> list[tuple[str, int, str]]:
        """File, line and code of each finding of the document."""
        return [(each["file"], each["line"], each["code"]) for each in self.report["findings"]]

    def of(self, code: str) -> list[Any]:
        """Return the findings of a code."""
        return [each for each in self.report["findings"] if each["code"] == code]


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files into a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def check(folder: Path, *arguments: str, **environment: str) -> Checked:
    """Run the command as a module in a folder, without a warning."""
    return run(folder, [sys.executable, "-W", "error", "-m", "runtime"], arguments, environment)


def run(
    folder: Path, command: list[str], arguments: tuple[str, ...], environment: dict[str, str]
) -> Checked:
    """Run a command that checks in a folder."""
    without = {"GITHUB_WORKSPACE", "PYTHONPATH"}
    inherited = {key: value for key, value in os.environ.items() if key not in without}
    done = subprocess.run(
        [*command, "check", *arguments],
        cwd=folder,
        env={**inherited, "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    return Checked(done.returncode, done.stdout, done.stderr)


def marked(files: dict[str, str]) -> list[tuple[str, int, str]]:
    """Return file, line and code of every mark ``# E: code``."""
    return sorted(
        (name, number, code.strip())
        for name, text in files.items()
        for number, line in enumerate(text.splitlines(), 1)
        if (mark := MARK.search(line)) is not None
        for code in mark[1].split("|")
    )
