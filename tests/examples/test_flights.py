"""The flights example, run as a user runs it, on small files made here."""

import csv
import io
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

HEADER = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,"
    "carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour"
)
COLUMNS = HEADER.split(",")

CANCELLED = {"dep_time": "NA", "dep_delay": "NA", "arr_time": "NA", "arr_delay": "NA"}
LOST = {"arr_time": "", "arr_delay": "", "air_time": ""}
DIVERTED = {"arr_delay": "NA", "air_time": "NA"}
UNKNOWN_AIRCRAFT = {"tailnum": ""}


def make_row(**values: str) -> dict[str, str]:
    """Return a row of a flight that went well, but for the given values."""
    row = dict.fromkeys(COLUMNS, "1") | {
        "year": "2013",
        "dep_time": "517",
        "sched_dep_time": "515",
        "dep_delay": "2",
        "arr_time": "830",
        "arr_delay": "-11",
        "carrier": "UA",
        "tailnum": "N14228",
        "origin": "EWR",
        "dest": "IAH",
        "time_hour": "2013-01-01T10:00:00Z",
    }
    return row | values


def make_rows(number: int) -> list[dict[str, str]]:
    """Return rows of few carriers and aircraft, with every kind of gap among them."""
    chance = random.Random(2013)
    gaps = [CANCELLED, LOST, DIVERTED, UNKNOWN_AIRCRAFT, CANCELLED | UNKNOWN_AIRCRAFT]
    rows: list[dict[str, str]] = []
    for index in range(number):
        row = make_row(
            carrier=chance.choice(["UA", "DL", "XX"]),
            tailnum=chance.choice(["N1", "N2", "N3", "N4"]),
            dep_delay=str(chance.randint(-9, 90)),
        )
        if index % 3 == 0:
            row |= gaps[index // 3 % len(gaps)]
        rows.append(row)
    return rows


def write_csv(rows: list[dict[str, str]]) -> str:
    """Return rows as the text of the file."""
    text = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_zip(
    path: Path,
    content: str | bytes,
    *,
    member: str = "flights.csv",
    compression: int = zipfile.ZIP_DEFLATED,
) -> Path:
    """Write a zip with one member."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(member, content)
    return path


@pytest.fixture(scope="module")
def program_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the examples and nothing else.

    Run from there, they import the `runtime` under test, not one that lies beside them.
    """
    folder = tmp_path_factory.mktemp("program")
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


Result = subprocess.CompletedProcess[str]
Program = Callable[..., Result]


@pytest.fixture
def run(program_folder: Path) -> Program:
    """Return what runs the program with the given arguments."""
    unwanted = {"PYTHONPATH", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"}
    env = {name: value for name, value in os.environ.items() if name not in unwanted}

    def run(*arguments: object, wrapper: Sequence[str] = ()) -> Result:
        program = (sys.executable, "-W", "error", "-m", "examples.flights")
        return subprocess.run(
            [*wrapper, *program, *map(str, arguments)],
            cwd=program_folder,
            env=env | {"PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            timeout=50,
            check=False,
        )

    return run


def expect(rows: list[dict[str, str]]) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    """Count by hand: the summary without its times, and the type and row of every event."""
    missing = {"", "NA"}
    events: list[tuple[str, int]] = []
    departures: Counter[str] = Counter()
    delays: dict[str, list[int]] = defaultdict(list)
    logged: Counter[str] = Counter()
    for number, row in enumerate(rows, 1):
        if row["dep_time"] in missing:
            kinds = ["FlightCancelled"]
        else:
            kinds = ["FlightDeparted", "FlightArrived"][: 1 + (row["arr_time"] not in missing)]
            departures[row["carrier"]] += 1
            if row["dep_delay"] not in missing:
                delays[row["carrier"]].append(int(row["dep_delay"]))
        if row["tailnum"] not in missing:
            logged[row["tailnum"]] += len(kinds)
        events += [(kind, number) for kind in kinds]
    summary: dict[str, object] = {
        "events": dict(Counter(kind for kind, _ in events)),
        "carriers": {
            carrier: {"departures": count, "mean_dep_delay": pytest.approx(fmean(delays[carrier]))}
            for carrier, count in departures.items()
        },
        "aircraft": len(logged),
        "out_of_order": 0,
        "busiest": dict(logged),
        "ledger": {
            "emitted": logged.total(),
            "handled": logged.total(),
            "pending": 0,
            "failed": 0,
            "dead_letters": 0,
            "published": len(events),
            "sunk": len(events),
        },
    }
    return summary, events


def check_results(output: Path, rows: list[dict[str, str]]) -> None:
    """Compare what the program has written with a count by hand."""
    expected, events = expect(rows)
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    assert summary.pop("seconds") > 0
    assert set(summary.pop("rates")) == {"publish", "emit", "sink"}
    # The terminal may count more than concerns this program.
    summary["ledger"] = {name: summary["ledger"][name] for name in expected["ledger"]}
    assert summary == expected
    assert not (output / "flights.db-wal").exists()
    with closing(sqlite3.connect(output / "flights.db")) as db:
        saved = db.execute("SELECT type, payload FROM events ORDER BY position").fetchall()
    payloads: list[dict[str, Any]] = [json.loads(payload)["data"] for _, payload in saved]
    assert [(kind, each["row"]) for (kind, _), each in zip(saved, payloads, strict=True)] == events
    for payload in payloads:
        number: int = payload["row"]
        row = rows[number - 1]
        assert payload["carrier"] == row["carrier"]
        assert (payload["tailnum"] or "") == row["tailnum"]


def test_every_row_is_told_and_counted(run: Program, tmp_path: Path) -> None:
    rows = make_rows(90)
    data = write_zip(tmp_path / "small.zip", write_csv(rows))
    result = run("--data", data, "--output", tmp_path / "new" / "folder")
    assert (result.returncode, result.stderr) == (0, "")
    check_results(tmp_path / "new" / "folder", rows)
    for word in ("FlightDeparted", "UA United", "XX", "N3", "publish", "rejected at close"):
        assert word in result.stdout


def test_piped_output_is_plain_text(run: Program, tmp_path: Path) -> None:
    data = write_zip(tmp_path / "small.zip", write_csv(make_rows(30)))
    result = run("--data", data, "--output", tmp_path)
    assert result.stderr == ""
    assert [char for char in result.stdout if not char.isprintable() and char != "\n"] == []


def test_unexpected_text_is_shown_as_it_is(run: Program, tmp_path: Path) -> None:
    rows = [make_row(carrier="[/b]", tailnum="[red]"), make_row(dep_delay="NA")]
    rows.append(make_row())
    data = write_zip(tmp_path / "small.zip", write_csv(rows))
    result = run("--data", data, "--output", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "[/b]" in result.stdout
    assert "[red]" in result.stdout
    check_results(tmp_path, rows)


def test_limit_ends_after_so_many_rows(run: Program, tmp_path: Path) -> None:
    rows = make_rows(40)
    data = write_zip(tmp_path / "small.zip", write_csv(rows))
    result = run("--data", data, "--output", tmp_path, "--limit", 17)
    assert (result.returncode, result.stderr) == (0, "")
    check_results(tmp_path, rows[:17])


def test_a_limit_that_is_no_count_is_refused(run: Program, tmp_path: Path) -> None:
    for limit in ("-1", "many"):
        result = run("--output", tmp_path, "--limit", limit)
        assert result.returncode == 2
        assert limit in result.stderr.splitlines()[-1]


def test_every_run_starts_afresh(run: Program, tmp_path: Path) -> None:
    for rows in (make_rows(40), make_rows(10)):
        data = write_zip(tmp_path / "small.zip", write_csv(rows))
        for leftover in ("flights.db-wal", "flights.db-shm"):
            (tmp_path / leftover).write_bytes(b"of another database")
        assert run("--data", data, "--output", tmp_path).returncode == 0
        check_results(tmp_path, rows)


def test_one_aircraft_may_have_more_events_than_a_mailbox_holds(
    run: Program, tmp_path: Path
) -> None:
    rows = [make_row()] * 1700
    data = write_zip(tmp_path / "small.zip", write_csv(rows))
    result = run("--data", data, "--output", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    check_results(tmp_path, rows)


def test_a_file_with_no_rows_is_no_mistake(run: Program, tmp_path: Path) -> None:
    data = write_zip(tmp_path / "small.zip", write_csv([]))
    result = run("--data", data, "--output", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    check_results(tmp_path, [])


def check_complaint(result: Result, *words: str) -> None:
    """Expect one clear line on stderr, nothing else, and an exit code for it."""
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


CONTENT = write_csv(make_rows(20))


def with_row(number: int, text: str) -> str:
    """Return the text of the file with one row replaced, counted from 1."""
    lines = CONTENT.splitlines()
    lines[number] = text
    return "\n".join(lines) + "\n"


def not_a_zip(path: Path) -> None:
    path.write_text(CONTENT)


def empty(path: Path) -> None:
    path.touch()


def folder(path: Path) -> None:
    path.mkdir()


def truncated(path: Path) -> None:
    data = write_zip(path, CONTENT).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def bad_crc(path: Path) -> None:
    data = write_zip(path, CONTENT, compression=zipfile.ZIP_STORED).read_bytes()
    path.write_bytes(data.replace(b"2013,1,1,517,515", b"2013,1,1,518,515", 1))


def garbled(path: Path) -> None:
    data = bytearray(write_zip(path, CONTENT).read_bytes())
    data[80:120] = bytes(40)
    path.write_bytes(data)


def bytes_missing_inside(path: Path) -> None:
    data = write_zip(path, CONTENT).read_bytes()
    path.write_bytes(data[:100] + data[150:])


def wrong_member(path: Path) -> None:
    write_zip(path, CONTENT, member="planes.csv")


def no_header(path: Path) -> None:
    write_zip(path, "")


def wrong_header(path: Path) -> None:
    write_zip(path, CONTENT.replace("tailnum", "tail", 1))


def columns_swapped(path: Path) -> None:
    write_zip(path, CONTENT.replace("year,month", "month,year", 1))


def missing_column(path: Path) -> None:
    write_zip(path, with_row(7, ",".join(["1"] * 18)))


def extra_column(path: Path) -> None:
    write_zip(path, with_row(7, ",".join(["1"] * 20)))


def not_a_number(path: Path) -> None:
    write_zip(path, with_row(7, write_csv([make_row(dep_delay="late")]).splitlines()[1]))


def unused_number(path: Path) -> None:
    write_zip(path, with_row(7, write_csv([make_row(distance="far")]).splitlines()[1]))


def not_text(path: Path) -> None:
    write_zip(path, CONTENT.encode().replace(b"N1", b"\xff1"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (not_a_zip, ["damaged"]),
        (empty, ["damaged"]),
        (folder, ["directory"]),
        (truncated, ["damaged"]),
        (bad_crc, ["damaged", "CRC"]),
        (garbled, ["damaged"]),
        (bytes_missing_inside, ["damaged"]),
        (wrong_member, ["no flights.csv"]),
        (no_header, ["header"]),
        (wrong_header, ["header", "tailnum,"]),
        (columns_swapped, ["header"]),
        (missing_column, ["row 7", "18 columns"]),
        (extra_column, ["row 7", "20 columns"]),
        (not_a_number, ["row 7", "dep_delay"]),
        (unused_number, ["row 7", "distance"]),
        (not_text, ["damaged"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_damaged_file_is_one_line(
    run: Program, tmp_path: Path, damage: Callable[[Path], None], words: list[str]
) -> None:
    data = tmp_path / "damaged.zip"
    damage(data)
    output = tmp_path / "output"
    check_complaint(run("--data", data, "--output", output), "damaged.zip", *words)
    assert not (output / "summary.json").exists()


def test_a_missing_file_is_one_line(run: Program, tmp_path: Path) -> None:
    check_complaint(
        run("--data", tmp_path / "none.zip", "--output", tmp_path), "none.zip", "No such"
    )


def test_a_file_that_is_not_there_costs_no_earlier_results(run: Program, tmp_path: Path) -> None:
    rows = make_rows(20)
    data = write_zip(tmp_path / "small.zip", write_csv(rows))
    assert run("--data", data, "--output", tmp_path).returncode == 0
    check_complaint(run("--data", tmp_path / "none.zip", "--output", tmp_path))
    check_results(tmp_path, rows)


def test_a_database_that_cannot_be_replaced_is_one_line(run: Program, tmp_path: Path) -> None:
    data = write_zip(tmp_path / "small.zip", CONTENT)
    (tmp_path / "flights.db").mkdir()
    check_complaint(run("--data", data, "--output", tmp_path), "flights.db")


def test_an_output_that_is_no_folder_is_one_line(run: Program, tmp_path: Path) -> None:
    data = write_zip(tmp_path / "small.zip", CONTENT)
    for output in (data, data / "below"):
        check_complaint(run("--data", data, "--output", output), "small.zip")


@pytest.mark.skipif(os.name == "nt", reason="needs ulimit")
@pytest.mark.parametrize("blocks", [8, 200], ids=["at the start", "on the way"])
def test_a_database_that_cannot_be_written_is_one_line(
    run: Program, tmp_path: Path, blocks: int
) -> None:
    data = write_zip(tmp_path / "small.zip", write_csv(make_rows(2000)))
    limited = ("sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh")
    result = run("--data", data, "--output", tmp_path / "output", wrapper=limited)
    check_complaint(result, "flights.db", "SQLite")
    assert not (tmp_path / "output" / "summary.json").exists()
