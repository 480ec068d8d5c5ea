"""What type checkers say about one file, with the options that a test asks for."""

import json
import os
import subprocess
import sys
from pathlib import Path

from goldens import Finding, findings, stubs


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
    text = run("mypy", *arguments, path.name, folder=path.parent, MYPYPATH=str(stubs() or ""))
    return findings(text.splitlines())


def pyright(path: Path, mode: str, home: Path) -> list[Finding]:
    """Check a file with basedpyright, in one of pyright's own modes."""
    config = home / "pyrightconfig.json"
    settings: dict[str, object] = {
        "include": [str(path)],
        "typeCheckingMode": mode,
        "pythonVersion": "3.11",
        "enableTypeIgnoreComments": False,
    }
    if (folder := stubs()) is not None:
        settings["stubPath"] = str(folder)
    config.write_text(json.dumps(settings), encoding="utf-8")
    options = ["--project", str(config), "--pythonpath", sys.executable, "--outputjson"]
    report = json.loads(run("basedpyright", *options, folder=home))
    assert report["summary"]["filesAnalyzed"] == 1
    return [
        Finding(
            path.name, each["range"]["start"]["line"] + 1, each.get("rule", ""), each["message"]
        )
        for each in report["generalDiagnostics"]
        if each["severity"] in ("error", "warning")
    ]
