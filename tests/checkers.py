"""What type checkers say about files, with the options that a test asks for."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import runtime

ROOT = Path(__file__).parents[1]
FOUND = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: (?P<text>.*?)  \[(?P<code>[\w-]+)\]$")


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


def run(*command: str, folder: Path, **environment: str) -> str:
    """Return what a checker prints. Modules of the folder are none of the checker's own."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", *command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


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


def mypy(path: Path, *options: str, cache: Path) -> list[Finding]:
    """Check a file with mypy's defaults and some options."""
    arguments = ["--config-file=", f"--cache-dir={cache}", "--python-version=3.11", *options]
    text = run("mypy", *arguments, path.name, folder=path.parent, MYPYPATH=str(stubs() or ""))
    return findings(text.splitlines())


def pyright(path: Path, mode: str, home: Path, **more: object) -> list[Finding]:
    """Check a file, or a folder, with basedpyright in one of pyright's own modes."""
    config = home / "pyrightconfig.json"
    settings: dict[str, object] = {
        "include": [str(path)],
        "typeCheckingMode": mode,
        "pythonVersion": "3.11",
        "enableTypeIgnoreComments": False,
        **more,
    }
    if (folder := stubs()) is not None:
        settings["stubPath"] = str(folder)
    config.write_text(json.dumps(settings), encoding="utf-8")
    options = ["--project", str(config), "--pythonpath", sys.executable, "--outputjson"]
    report = json.loads(run("basedpyright", *options, folder=home))
    files = list(path.glob("*.py")) if path.is_dir() else [path]
    assert report["summary"]["filesAnalyzed"] == len(files)
    return [
        Finding(
            Path(each["file"]).name,
            each["range"]["start"]["line"] + 1,
            each.get("rule", each["severity"]),
            each["message"],
        )
        for each in report["generalDiagnostics"]
    ]
