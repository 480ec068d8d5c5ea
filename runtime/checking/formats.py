"""A report as text, as JSON, and as commands for GitHub Actions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Final

import msgspec

from runtime.checking.report import Entry, Report

__all__ = ("FORMATS",)


def as_text(report: Report) -> Iterator[str]:
    """Write a line for each finding, as compilers do, and one for all."""
    for each in report.findings:
        yield f"{position(each)}: {each.severity}: {each.text} [{each.code}]"
        yield from notes(each)
    yield summary(report)


def as_json(report: Report) -> Iterator[str]:
    """Write one document."""
    yield msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def as_github(report: Report) -> Iterator[str]:
    """Write a command for each finding, which becomes an annotation of its line."""
    for each in report.findings:
        properties: dict[str, str] = {}
        if each.file is not None:
            properties["file"] = PurePath(each.file).as_posix()
        if each.line is not None:
            properties["line"] = str(each.line)
        properties["title"] = each.code
        given = ",".join(f"{key}={escape_property(value)}" for key, value in properties.items())
        message = "\n".join([each.text, *notes(each)])
        yield f"::{each.severity} {given}::{escape(message)}"
    yield summary(report)


FORMATS: Final[Mapping[str, Callable[[Report], Iterator[str]]]] = {
    "text": as_text,
    "json": as_json,
    "github": as_github,
}


def notes(entry: Entry) -> Iterator[str]:
    """Write a line for each place that a finding has to do with, besides its own."""
    for note in entry.related:
        where = note.file if note.line is None else f"{note.file}:{note.line}"
        yield f"{where}: note: {note.message}"


def position(entry: Entry) -> str:
    """Return where a finding is: at best a file and a line."""
    if entry.file is None:
        return ", ".join(entry.targets)
    return entry.file if entry.line is None else f"{entry.file}:{entry.line}"


def summary(report: Report) -> str:
    """Return the line that says how it went."""
    where = count(len(report.targets), "terminal")
    if not report.findings:
        return f"no problems found in {where}"
    errors, warnings = count(report.errors, "error"), count(report.warnings, "warning")
    return f"found {errors} and {warnings} in {where}"


def count(number: int, noun: str) -> str:
    """Return a number of things."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def escape(text: str) -> str:
    """Escape the message of a workflow command; percent signs first, since they do the escaping."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Escape a property of a workflow command, where colons and commas have a meaning, too."""
    return escape(text).replace(":", "%3A").replace(",", "%2C")
