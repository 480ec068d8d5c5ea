"""What type checkers say about some text, with the options that a test asks for."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import runtime

ROOT = Path(__file__).parents[1]
FOUND = re.compile(r"^[^:]+:(?P<line>\d+): error: (?P<text>.*?)  \[(?P<code>[\w-]+)\]$")
ENDED = re.compile(r"^[^:]+:\d+: note: |^Found \d+ error|^Success: ")


class Finding(NamedTuple):
    """What a checker says about a line."""

    line: int
    code: str
    text: str


def stubs() -> str:
    """Return where the stubs are; empty if they are next to the compiled modules."""
    in_checkout = Path(runtime.__path__[0]).parent == ROOT
    return str(ROOT / "stubs") if in_checkout else ""


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
    return done.stdout


def mypy(path: Path, *options: str, cache: Path) -> list[Finding]:
    """Check a file with mypy's defaults and some options."""
    arguments = ["--config-file=", f"--cache-dir={cache}", "--python-version=3.11", *options]
    lines = run("mypy", *arguments, path.name, folder=path.parent, MYPYPATH=stubs()).splitlines()
    matches = [(line, FOUND.match(line)) for line in lines]
    assert [line for line, match in matches if match is None and not ENDED.match(line)] == []
    return [
        Finding(int(match["line"]), match["code"], match["text"])
        for _, match in matches
        if match is not None
    ]


def pyright(path: Path, mode: str, home: Path) -> list[Finding]:
    """Check a file with basedpyright, in one of pyright's own modes."""
    config = home / "pyrightconfig.json"
    settings: dict[str, object] = {
        "include": [str(path)],
        "typeCheckingMode": mode,
        "pythonVersion": "3.11",
        "enableTypeIgnoreComments": False,
    }
    if stubs():
        settings["stubPath"] = stubs()
    config.write_text(json.dumps(settings), encoding="utf-8")
    options = ["--project", str(config), "--pythonpath", sys.executable, "--outputjson"]
    report = json.loads(run("basedpyright", *options, folder=home))
    assert report["summary"]["filesAnalyzed"] == 1
    return [
        Finding(each["range"]["start"]["line"] + 1, each.get("rule", ""), each["message"])
        for each in report["generalDiagnostics"]
        if each["severity"] in ("error", "warning")
    ]
