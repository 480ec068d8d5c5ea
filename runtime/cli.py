"""The command ``runtime``."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from importlib.metadata import version

from runtime.checking import command as check

__all__ = ("main",)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command with arguments, by default those of the process. Return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # The paths of findings have arrows in them, which not every terminal can show.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(prog="runtime", description="Tools for programs on runtime.")
    parser.add_argument(
        "--version", action="version", version=f"message-runtime {version('message-runtime')}"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    check.add_command(commands)
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code
