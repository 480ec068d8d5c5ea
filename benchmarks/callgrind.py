"""Count the instructions of a program's functions with callgrind, of valgrind."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

NAME = re.compile(r"(?P<kind>ob|fn)=\((?P<number>\d+)\)(?: (?P<name>.+))?")
COST = re.compile(r"[+\-*]?\d* (?P<cost>\d+)$")
MISSING = "valgrind is needed to count instructions: install it (apt install valgrind)"

Functions = Counter[tuple[str, str]]
"""Instructions by function and by the file it was loaded from, without what it calls."""


class CallgrindError(Exception):
    """The program could not be counted."""


def parse(text: str) -> Functions:
    """Read what callgrind wrote, in its format of version 1."""
    functions: Functions = Counter()
    names: dict[tuple[str, str], str] = {}
    current = {"ob": "", "fn": ""}
    called = False
    for line in text.splitlines():
        if named := NAME.match(line):
            key = (named["kind"], named["number"])
            if named["name"] is not None:
                names[key] = named["name"]
            current[named["kind"]] = names[key]
        elif named := NAME.match(line.removeprefix("c")):
            # A name may be spelled out where it is called, and only numbered afterwards.
            if named["name"] is not None:
                names[named["kind"], named["number"]] = named["name"]
        elif line.startswith("calls="):
            called = True
        elif cost := COST.match(line):
            # The line after `calls=` is the cost of what was called.
            if not called:
                # A quote and a number tell how deep a function has called itself.
                function = current["fn"].partition("'")[0]
                functions[function, Path(current["ob"]).name] += int(cost["cost"])
            called = False
    return functions


def execute(command: Sequence[str], cache: Path) -> None:
    """Run a command in the environment in which a program is counted.

    Raises `CallgrindError` if it fails.
    """
    settings = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPYCACHEPREFIX": str(cache)}
    settings.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"
        raise CallgrindError(msg)


def prepare(arguments: Sequence[str], cache: Path) -> None:
    """Run Python with arguments once, uncounted: what it imports is then compiled, in a cache.

    Another process may compile a module for itself at any time, or not; only what is found
    compiled costs the same in each run.
    """
    execute([sys.executable, *arguments], cache)


def count(arguments: Sequence[str], cache: Path) -> Functions:
    """Run Python with arguments under callgrind and return what each function has cost.

    Raises `CallgrindError` if there is no valgrind, or if the program fails.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CallgrindError(MISSING)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "callgrind.out")
        command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={out}", sys.executable]
        execute([*command, *arguments], cache)
        return parse(out.read_text())
