"""``runtime check``: arguments in, a report and an exit code out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from runtime.checking.examination import examine
from runtime.checking.formats import FORMATS
from runtime.checking.report import Report, make_report
from runtime.checking.targets import TargetError, attempt, load, registration, top_package
from runtime.errors import BusError
from runtime.findings import Code, Finding, Place
from runtime.terminal import BusTerminal

if TYPE_CHECKING:
    # What `add_subparsers` returns has no public name.
    from argparse import _SubParsersAction  # pyright: ignore[reportPrivateUsage]

__all__ = ("add_command",)

FOUND: Final = 1
WRONG_TARGET: Final = 2


class Options(argparse.Namespace):
    """What the command line says."""

    targets: list[str]
    format: str
    ignore: list[str]
    strict: bool


def add_command(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``check`` to the commands."""
    parser = commands.add_parser(
        "check",
        help="find mistakes in the wiring of terminals, without opening them",
        description="Import terminals, freeze them without opening them, and print every problem "
        "at once. Exit code 0: no errors; 1: errors; 2: a target leads to no terminal.",
    )
    parser.add_argument(
        "targets",
        nargs="+",
        metavar="package.module:terminal",
        help="a terminal, or a function without arguments that returns one; the current folder is "
        "searched first",
    )
    parser.add_argument(
        "--format", choices=list(FORMATS), default="text", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        choices=get_args(Code),
        metavar="CODE",
        help="leave out findings of a code, as in --ignore bus-unheard; may be repeated",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 on warnings, too")
    parser.set_defaults(run=run)


def run(options: Options) -> int:
    """Check the targets, print the report, and return the exit code."""
    targets = list(dict.fromkeys(options.targets))
    terminals: dict[str, BusTerminal[Any]] = {}
    found: dict[str, list[Finding]] = {}
    registered: dict[str, Place] = {}
    wrong: list[str] = []
    for target in targets:
        try:
            terminals[target] = load(target)
        except TargetError as error:
            wrong.append(str(error))
        except BusError as error:
            found[target] = list(error.findings)
            place = registration(error)
            if place is not None:
                registered[target] = place
    packages = {top_package(each) for each in targets}
    try:
        found |= attempt("the check has failed", lambda: examine(terminals, packages))
    except (TargetError, BusError) as error:
        wrong.append(str(error))
    sys.stderr.writelines(f"runtime check: {each}\n" for each in wrong)
    if found:
        report = make_report(
            list(found),
            found,
            ignored=options.ignore,
            registered=registered,
            base=base_of(options.format, os.environ),
        )
        sys.stdout.writelines(f"{line}\n" for line in FORMATS[options.format](report))
        return WRONG_TARGET if wrong else exit_code(report, strict=options.strict)
    return WRONG_TARGET


def exit_code(report: Report, *, strict: bool) -> int:
    """Return how it went."""
    return FOUND if report.errors or (strict and report.warnings) else 0


def base_of(name: str, environment: Mapping[str, str]) -> Path | None:
    """Return the folder that paths are shown relative to, if it is not the current one."""
    workspace = environment.get("GITHUB_WORKSPACE")
    return Path(workspace) if name == "github" and workspace else None
