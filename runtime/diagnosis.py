"""What is wrong with an SQLite database, and what to do about it."""

from __future__ import annotations

import sqlite3
from typing import Final, cast

__all__ = ("BUSY", "HARMLESS", "Misplaced", "describe", "primary")

BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
HARMLESS: Final = (*BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CONSTRAINT)
"""Primary codes of errors after which a connection is as good as before."""


class Misplaced(OSError):
    """The file that is open is not the one that its path leads to."""


def primary(error: BaseException) -> int | None:
    """Return SQLite's primary code of an error, if it is one of SQLite's."""
    code = cast("int | None", getattr(error, "sqlite_errorcode", None))
    return None if code is None else code & 0xFF


ADVICE: Final = {
    sqlite3.SQLITE_BUSY: "it is locked: another connection keeps its write lock; end that "
    "connection's transaction, or wait longer with timeout=",
    sqlite3.SQLITE_FULL: "it is full: make room on the disk, or raise the quota",
    sqlite3.SQLITE_READONLY: "it is read-only: let this process write to the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it is missing or out of reach: make its folder, and let this process "
    "write to that",
    sqlite3.SQLITE_CORRUPT: "it is corrupt: put it aside, and restore it from a copy",
    sqlite3.SQLITE_NOTADB: "it is corrupt, or no SQLite database: put it aside, or choose another "
    "path",
    sqlite3.SQLITE_IOERR: "the disk fails, is full, or a limit to the size of files is reached",
    sqlite3.SQLITE_CONSTRAINT: "a constraint or a trigger refuses it",
}
ADVICE[sqlite3.SQLITE_LOCKED] = ADVICE[sqlite3.SQLITE_BUSY]
ADVICE[sqlite3.SQLITE_PERM] = ADVICE[sqlite3.SQLITE_READONLY]


def describe(error: BaseException) -> str:
    """Say what is wrong with a database, and what to do about it."""
    code = primary(error)
    if isinstance(error, Misplaced):
        return f"it is missing: {error}; the next call makes it anew"
    advice = None if code is None else ADVICE.get(code)
    return str(error) if advice is None else f"{advice} ({error})"
