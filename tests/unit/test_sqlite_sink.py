"""What becomes of events when SQLite cannot save them: an error that says why, and no loss."""

import asyncio
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runtime import BusTerminal, Event, MessageRegistry, Record
from runtime.errors import SinkError
from runtime.sinks import SqliteSink


class Noted(Event):
    number: int
    text: str = ""


def terminal_with(sink: Any) -> BusTerminal[Event]:
    return BusTerminal(MessageRegistry(event_base=Event), sink=sink, name="shop")


def ids(path: Path) -> list[str]:
    """Return the ids that another connection reads, in order."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [each for (each,) in db.execute("SELECT id FROM events ORDER BY position")]


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for each in statements:
            db.execute(each)


async def turns(count: int) -> None:
    """Let the loop go round some times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def inside(sink: SqliteSink, statement: str) -> Any:
    """Run a statement on the sink's own connection."""
    return await sink._database.run(lambda db: db.execute(statement).fetchone())


async def test_what_durable_means_is_set(tmp_path: Path) -> None:
    """Each commit is synced to the disk before it is confirmed."""
    sink = SqliteSink(tmp_path / "events.db")
    async with terminal_with(sink):
        assert await inside(sink, "PRAGMA journal_mode") == ("wal",)
        assert await inside(sink, "PRAGMA synchronous") == (2,)
        assert await inside(sink, "PRAGMA fullfsync") == (1,)
        assert await inside(sink, "PRAGMA checkpoint_fullfsync") == (1,)


async def lock(sink: SqliteSink, path: Path) -> Callable[[], object]:
    """Have another connection hold the write lock."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other.close


async def fill(sink: SqliteSink, path: Path) -> Callable[[], object]:
    """Let the database take no more pages."""
    (pages,) = await inside(sink, "PRAGMA page_count")
    await inside(sink, f"PRAGMA max_page_count={pages}")

    def heal() -> object:
        return inside(sink, f"PRAGMA max_page_count={pages + 1000}")

    return heal


async def forbid(sink: SqliteSink, path: Path) -> Callable[[], object]:
    """Let the connection write nothing."""
    await inside(sink, "PRAGMA query_only=ON")
    return lambda: None


async def drop(sink: SqliteSink, path: Path) -> Callable[[], object]:
    """Drop the table; it comes back."""
    execute(path, "ALTER TABLE events RENAME TO away")
    return lambda: None


async def misuse(sink: SqliteSink, path: Path) -> Callable[[], object]:
    """Replace the table by one of somebody else."""
    execute(path, "ALTER TABLE events RENAME TO away", "CREATE TABLE events (id, other)")
    return lambda: execute(path, "DROP TABLE events")


async def remove(sink: SqliteSink, path: Path) -> Callable[[], object]:
    """Delete the file, with everything in it."""
    for each in path.parent.iterdir():
        each.unlink()
    return lambda: None


async def remove_folder(sink: SqliteSink, path: Path) -> Callable[[], object]:
    """Delete the folder."""
    shutil.rmtree(path.parent)
    return lambda: path.parent.mkdir()


async def replace(sink: SqliteSink, path: Path) -> Callable[[], object]:
    """Put another database in the place of the file."""
    execute(path.with_name("other.db"), "CREATE TABLE other (id)")
    path.with_name("other.db").replace(path)
    return lambda: None


TROUBLES = [
    (lock, "it is locked: another connection keeps its write lock"),
    (fill, r"it is full: make room .* \(database or disk is full\)"),
    (forbid, "it is read-only: let this process write to the file"),
    (drop, "no such table: events"),
    (misuse, "has no column named type"),
    (remove, "it is missing: the file, or its log, has been deleted while it was open"),
    (remove_folder, "it is missing: the file, or its log, has been deleted"),
    (replace, "it is missing: the file has been replaced by another"),
]


@pytest.mark.parametrize(("trouble", "text"), TROUBLES, ids=[each.__name__ for each, _ in TROUBLES])
async def test_trouble_is_an_error_that_says_which_and_heals(
    tmp_path: Path, trouble: Any, text: str
) -> None:
    """Nothing is confirmed that is not there; when it is over, the same records are saved once."""
    path = tmp_path / "data" / "events.db"
    path.parent.mkdir()
    sink = SqliteSink(path, timeout=0.05)
    async with terminal_with(sink) as terminal:
        await terminal.bus.sink(Noted(0))
        heal = await trouble(sink, path)
        records: tuple[Record, ...] = ()
        big = [Noted(number, "x" * 10_000) for number in range(1, 4)]
        for _ in range(2 if trouble is lock else 1):
            with pytest.raises(SinkError, match=text) as caught:
                await terminal.bus.sink(*big)
            records = caught.value.records
            assert [record.event for record in records] == big
            assert str(path) in str(caught.value)
            assert isinstance(caught.value.__cause__, (sqlite3.Error, OSError))
        assert terminal.stats().sunk == 1
        done = heal()
        if asyncio.iscoroutine(done):
            await done
        await terminal.bus.sink(*records)
        await terminal.bus.sink(*records)
        await terminal.bus.sink(Noted(9))
        assert terminal.stats().sunk == 8
    saved = ids(path)
    assert saved[-4:-1] == [record.id for record in records]
    assert len(saved) == len(set(saved))


DISK = """
import resource, signal, sys
from runtime import *
from runtime.errors import SinkError
from runtime.sinks import SqliteSink

class Noted(Event):
    number: int
    text: str

async def main():
    confirmed = []
    async with BusTerminal(MessageRegistry(), sink=SqliteSink(sys.argv[1])) as terminal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        try:
            while True:
                event = Noted(len(confirmed), "x" * 5_000)
                await terminal.bus.sink(event)
                confirmed.append(event.number)
        except SinkError as error:
            print(error)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            await terminal.bus.sink(*error.records)
    print(len(confirmed) + 1)

run(main())
"""


def test_a_quota_is_an_error_and_heals(tmp_path: Path) -> None:
    """A limit that the system sets to the size of files is met in the middle of a write."""
    path = tmp_path / "events.db"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DISK, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    text, count = done.stdout.splitlines()
    assert "SQLite did not save the events: the disk fails, is full, or a limit to the size" in text
    assert len(ids(path)) == int(count) > 10
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def break_table(path: Path) -> None:
    """Write nonsense over the pages behind the first."""
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)


async def test_a_corrupt_database_is_an_error_and_heals(tmp_path: Path) -> None:
    """A page that is damaged is met by a write; a copy that is put back is taken."""
    path, copy = tmp_path / "events.db", tmp_path / "copy.db"
    async with terminal_with(SqliteSink(path)) as terminal:
        await terminal.bus.sink(Noted(0))
    shutil.copy(path, copy)
    break_table(path)
    async with terminal_with(SqliteSink(path)) as terminal:
        with pytest.raises(SinkError, match="it is corrupt: put it aside, and restore it") as one:
            await terminal.bus.sink(Noted(1))
        path.unlink()
        shutil.copy(copy, path)
        await terminal.bus.sink(*one.value.records)
    assert ids(path)[1:] == [record.id for record in one.value.records]


OPENINGS: list[tuple[Callable[[Path], object], Callable[[Path], object], str]] = [
    (lambda path: path.mkdir(), lambda path: path.rmdir(), "it is missing or out of reach"),
    (lambda path: path.write_text("no database " * 99), Path.unlink, "no SQLite database"),
    (
        lambda path: path.parent.rmdir(),
        lambda path: path.parent.mkdir(),
        "it is missing or out of reach: make its folder",
    ),
    (
        lambda path: execute(path, "CREATE TABLE events (id, other)"),
        lambda path: execute(path, "DROP TABLE events"),
        "its table 'events' is another's: .*; choose another with table=",
    ),
    (
        lambda path: execute(
            path, "CREATE TABLE events (position, id, type, time, key, headers, payload)"
        ),
        lambda path: execute(path, "DROP TABLE events"),
        "its table 'events' is another's: ON CONFLICT clause does not match",
    ),
]


@pytest.mark.parametrize(
    ("damage", "repair", "text"), OPENINGS, ids=["folder", "text", "missing", "table", "unique"]
)
async def test_what_cannot_be_opened_says_why_and_heals(
    tmp_path: Path,
    damage: Callable[[Path], object],
    repair: Callable[[Path], object],
    text: str,
) -> None:
    """The terminal does not open; each sink tries again, until it can."""
    path = tmp_path / "data" / "events.db"
    path.parent.mkdir()
    damage(path)
    terminal = terminal_with(SqliteSink(path, timeout=0))
    with pytest.raises(
        SinkError, match=f"events.db cannot be opened as an SQLite database: .*{text}"
    ) as caught:
        await terminal.open()
    assert caught.value.records == ()
    with pytest.raises(SinkError, match=text) as caught:
        await terminal.bus.sink(Noted(1), Noted(2))
    assert [record.event for record in caught.value.records] == [Noted(1), Noted(2)]
    repair(path)
    await terminal.bus.sink(*caught.value.records)
    await terminal.close()
    assert ids(path) == [record.id for record in caught.value.records]


async def test_memory_is_refused() -> None:
    """What nothing keeps is no place to persist events."""
    with pytest.raises(SinkError, match="it keeps no write-ahead log but 'memory'"):
        await terminal_with(SqliteSink(":memory:")).open()


async def test_one_sink_serves_one_terminal(tmp_path: Path) -> None:
    """A second terminal is told so, and the first goes on."""
    sink = SqliteSink(tmp_path / "events.db")
    async with terminal_with(sink) as terminal:
        with pytest.raises(SinkError, match="it is open already; give each terminal one"):
            await terminal_with(sink).open()
        await terminal.bus.sink(Noted(1))


async def test_a_sink_can_be_opened_again(tmp_path: Path) -> None:
    """After its terminal has closed, another may have it; no thread is left behind."""
    before = threading.active_count()
    sink = SqliteSink(tmp_path / "events.db")
    for number in range(2):
        async with terminal_with(sink) as terminal:
            await terminal.bus.sink(Noted(number))
    assert threading.active_count() == before
    assert len(ids(tmp_path / "events.db")) == 2


async def test_g6_a_batch_that_fails_in_the_middle_is_written_whole_the_next_time(
    tmp_path: Path,
) -> None:
    """Nothing of it is there before, and each row once after."""
    path = tmp_path / "events.db"
    async with terminal_with(SqliteSink(path)) as terminal:
        execute(
            path,
            "CREATE TRIGGER busy BEFORE INSERT ON events WHEN NEW.payload LIKE '%\"number\":4,%' "
            "BEGIN SELECT RAISE(ABORT, 'not now'); END",
        )
        with pytest.raises(SinkError, match="not now") as caught:
            await terminal.bus.sink([Noted(number) for number in range(1, 7)])
        assert len(caught.value.records) == 6
        assert ids(path) == []
        execute(path, "DROP TRIGGER busy")
        await terminal.bus.sink(*caught.value.records)
    assert ids(path) == [record.id for record in caught.value.records]


async def test_g7_a_bad_call_costs_the_others_no_commit(tmp_path: Path) -> None:
    """Calls that share a transaction with a bad one are committed by it all the same."""
    path = tmp_path / "events.db"
    sink = SqliteSink(path)
    async with terminal_with(sink) as terminal:
        execute(
            path,
            "CREATE TRIGGER picky BEFORE INSERT ON events WHEN NEW.payload LIKE '%\"number\":4,%' "
            "BEGIN SELECT RAISE(ABORT, 'never'); END",
        )
        statements: list[str] = []
        await sink._database.run(lambda db: db.set_trace_callback(statements.append))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            # They all wait, and are taken together.
            other.execute("BEGIN IMMEDIATE")
            first = asyncio.create_task(terminal.bus.sink(Noted(0)))
            while "BEGIN IMMEDIATE" not in statements:  # noqa: ASYNC110 -- a thread's doing
                await asyncio.sleep(0)
            calls = [
                asyncio.create_task(terminal.bus.sink(Noted(number))) for number in range(1, 7)
            ]
            await asyncio.sleep(0)
        await first
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [number for number, result in enumerate(results, 1) if result is not None] == [4]
        assert isinstance(results[3], SinkError)
        assert statements.count("COMMIT") == 3  # of the trace itself, the first, and these six
    assert len(ids(path)) == 6


async def test_g2_room_is_bounded_and_waited_for(tmp_path: Path) -> None:
    """While the database is locked, calls wait in order; one that gives up has written nothing."""
    path = tmp_path / "events.db"
    sink = SqliteSink(path, capacity=3, timeout=30)
    async with terminal_with(sink) as terminal:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        calls = [asyncio.create_task(terminal.bus.sink(Noted(number))) for number in range(8)]
        await turns(10)
        assert sink._database._waiting == 3
        calls[5].cancel()
        await asyncio.wait([calls[5]])
        assert calls[5].cancelled()
        other.close()
        await asyncio.gather(*calls[:5], *calls[6:])
        assert terminal.stats().sunk == 7
        assert sink._database._waiting == 0
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT payload ->> '$.data.number' FROM events ORDER BY position")
        assert [number for (number,) in found] == [0, 1, 2, 3, 4, 6, 7]


async def test_a_batch_above_the_capacity_is_written_alone(tmp_path: Path) -> None:
    """It waits for no room that cannot come."""
    path = tmp_path / "events.db"
    async with terminal_with(SqliteSink(path, capacity=3)) as terminal:
        await asyncio.gather(*(terminal.bus.sink([Noted(n)] * 10) for n in range(3)))
    assert len(ids(path)) == 30


async def test_a_close_writes_what_was_accepted(tmp_path: Path) -> None:
    """Calls that are under way when the terminal closes are confirmed."""
    path = tmp_path / "events.db"
    terminal = terminal_with(SqliteSink(path))
    await terminal.open()
    calls = [asyncio.create_task(terminal.bus.sink(Noted(number))) for number in range(100)]
    await asyncio.sleep(0)
    await terminal.close()
    assert await asyncio.gather(*calls) == [None] * 100
    assert len(ids(path)) == 100


async def test_a_close_ends_though_the_database_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its time is over, the calls that were not written are told so."""
    monkeypatch.setattr("runtime.closing.UNWIND_SECONDS", 0.01)
    monkeypatch.setattr("runtime.outlet.UNWIND_SECONDS", 0.01)
    path = tmp_path / "events.db"
    terminal = terminal_with(SqliteSink(path, timeout=600))
    await terminal.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        calls = [asyncio.create_task(terminal.bus.sink(Noted(number))) for number in range(100)]
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError, match="the sink of terminal 'shop' has not closed within"):
            await terminal.close(timeout=0)
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(each, SinkError) for each in results)
    texts = {str(each).partition("events: ")[2] for each in results}
    assert any(text.startswith("it is locked") for text in texts)
    assert "the time of the close was over before it was begun" in texts
    assert ids(path) == []


@pytest.mark.parametrize(
    "options", [{"timeout": -1}, {"timeout": "5"}, {"capacity": 0}, {"capacity": 1.5}]
)
def test_options_are_checked(options: Any) -> None:
    """A mistake is found when the sink is made."""
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        SqliteSink("events.db", **options)


async def test_a_record_of_the_callers_own_keeps_its_fields(tmp_path: Path) -> None:
    """A `Record` that is sunk is written as it is."""
    path = tmp_path / "events.db"
    made = Record.of(Noted(1))
    async with terminal_with(SqliteSink(path)) as terminal:
        await terminal.bus.sink(made)
    assert ids(path) == [made.id]
