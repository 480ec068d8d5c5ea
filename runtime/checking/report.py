"""Findings as they are shown: each once, with files, lines and what is related, in their order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from runtime.checking.lines import Lines
from runtime.checking.program import Libraries
from runtime.findings import Code, Finding, Place, Severity

__all__ = ("Entry", "Note", "Report", "make_report")


ADVICE: Final[Mapping[Code, str]] = {
    "bus-cycle": "let one of them ask for the other when it needs it, with `scope.resolve`",
}
"""What to do about a finding whose error does not say it."""


class Note(msgspec.Struct, frozen=True):
    """A line that a finding has to do with, besides its own."""

    file: str
    line: int | None
    message: str


class Entry(msgspec.Struct, frozen=True):
    """A finding with its place in the source."""

    code: Code
    severity: Severity
    subject: str
    """The qualified name of the handler, or of the message or the factory."""
    file: str | None
    """Relative to the current folder if it is below it; null if nobody knows."""
    line: int | None
    path: tuple[str, ...]
    """From the handler to the dependency that is wrong; empty for what is none."""
    message: str
    """What is wrong."""
    advice: str
    """What to do."""
    related: tuple[Note, ...]
    targets: tuple[str, ...]
    """The terminals that it was found in."""

    @property
    def text(self) -> str:
        """All of it in one line."""
        head = " → ".join(self.path) if self.path else self.subject
        text = f"{head}: {self.message}{'; ' if self.advice else ''}{self.advice}"
        return " ".join(text.split())


class Report(msgspec.Struct, frozen=True):
    """All that was found."""

    version: int
    """Of this form; it changes when a key is renamed or goes away."""
    targets: tuple[str, ...]
    errors: int
    warnings: int
    findings: tuple[Entry, ...]


def make_report(
    targets: Sequence[str],
    found: Mapping[str, Iterable[Finding]],
    *,
    ignored: Iterable[str] = (),
    registered: Mapping[str, Place] = {},
    base: Path | None = None,
) -> Report:
    """Return the report of what was found in each target, ordered by file and line.

    `ignored` are codes that are left out, `registered` the calls at which the import of a target
    has ended, and paths are shown relative to `base`, by default the current folder.
    """
    lines, libraries = Lines(), Libraries()
    base = Path.cwd() if base is None else base
    places: dict[Finding, list[str]] = {}
    for target, findings in found.items():
        for each in findings:
            if each.code not in ignored:
                places.setdefault(each, []).append(target)

    def note(place: Place, message: str) -> Note | None:
        if place.file is None:
            return None
        return Note(shown(place.file, base), lines.of(place), message)

    entries: list[Entry] = []
    for finding, owners in places.items():
        main = main_place(finding.places, libraries)
        notes = [note(place, said_of(finding, place)) for place in others(finding, main)]
        notes += [
            note(registered[each], "the import has ended here: what follows was not checked")
            for each in owners
            if each in registered
        ]
        entries.append(
            Entry(
                finding.code,
                finding.severity,
                finding.subject,
                None if main is None or main.file is None else shown(main.file, base),
                None if main is None else lines.of(main),
                finding.path,
                finding.what,
                finding.advice or ADVICE.get(finding.code, ""),
                tuple(dict.fromkeys(each for each in notes if each is not None)),
                tuple(owners),
            )
        )
    entries.sort(key=lambda each: (each.file or "", each.line or 0, each.code, each.text))
    warnings = sum(each.severity == "warning" for each in entries)
    return Report(1, tuple(targets), len(entries) - warnings, warnings, tuple(entries))


def main_place(places: Sequence[Place], libraries: Libraries) -> Place | None:
    """Return what is shown of the places that lead to what is wrong: the last in the program.

    Nobody can change what is installed; whoever needs it can.
    """
    written = [each for each in places if each.file is not None]
    for each in reversed(written):
        if each.file is not None and not libraries.have(each.file):
            return each
    return written[0] if written else None


def others(finding: Finding, main: Place | None) -> Sequence[Place]:
    """Return the places that are shown besides the main one: of a path only its beginning."""
    several = finding.places[:1] if finding.path else finding.places
    return [each for each in several if each != main]


def said_of(finding: Finding, place: Place) -> str:
    """Say what a place has to do with a finding."""
    if finding.path:
        return f"{finding.subject} needs it"
    return f"`{place.name}` handles it, too"


def shown(file: str, base: Path) -> str:
    """Return a path as short as it can be said."""
    path = Path(os.path.abspath(file))
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
