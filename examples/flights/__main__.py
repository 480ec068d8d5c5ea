"""The command: arguments in, tables and an exit code out."""

import argparse
import sys
from itertools import islice
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from runtime import run
from runtime.errors import SinkError

from .data import DataError, count_flights, find_flights, read_flights
from .replay import Outcome, replay
from .report import complaints, print_report, write_summary

DATABASE: Final = "flights.db"
SUMMARY: Final = "summary.json"


class Options(argparse.Namespace):
    """What the command line says."""

    data: Path | None
    output: Path
    limit: int | None


def main() -> int:
    """Replay the flights and report. Return the exit code."""
    options = read_options()
    try:
        outcome = replay_file(options)
    except (DataError, SinkError) as error:
        return fail(str(error))
    except OSError as error:
        return fail(f"{error.filename or options.output}: {error.strerror}")
    except KeyboardInterrupt:
        return fail("interrupted")
    print_report(outcome, options.output)
    broken = complaints(outcome)
    return fail("; ".join(broken)) if broken else 0


def read_options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.flights", description="Replay a year of flights through the bus."
    )
    parser.add_argument("--data", type=Path, metavar="PATH", help="another flights.csv.zip")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        default=Path("build/flights"),
        help=f"where {DATABASE} and {SUMMARY} go (default: %(default)s)",
    )
    parser.add_argument("--limit", type=count, metavar="N", help="replay the first N rows only")
    return parser.parse_args(namespace=Options())


def count(text: str) -> int:
    """Read a number that is not negative."""
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def replay_file(options: Options) -> Outcome:
    """Replay the file into a fresh database, and write the summary beside it."""
    path = find_flights() if options.data is None else options.data
    total = count_flights(path)
    if options.limit is not None:
        total = min(total, options.limit)
    flights = islice(read_flights(path), options.limit)
    database = make_room(options.output)
    # Neither the bar nor its control characters belong in a file.
    columns = ("Replaying flights", BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("", total=total)
        outcome = run(replay(flights, database, lambda rows: bar.advance(task, rows)))
    write_summary(outcome, options.output / SUMMARY)
    return outcome


def make_room(output: Path) -> Path:
    """Return the path of the database, with nothing left of an earlier run."""
    output.mkdir(parents=True, exist_ok=True)
    for leftover in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", SUMMARY):
        (output / leftover).unlink(missing_ok=True)
    return output / DATABASE


def fail(problem: str) -> int:
    """Say in one line what is wrong, and return the exit code for it."""
    print(f"flights: {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
