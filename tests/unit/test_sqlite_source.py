"""The source on the file of the SQLite sink: a queue that needs no server."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, ClassVar

import pytest
from unit.support import registry_with

from runtime import BusTerminal, Event, Record
from runtime.errors import SourceError
from runtime.sinks import SqliteSink
from runtime.sources import Received, SqliteSource


class Step(Event):
    __key__: ClassVar[str] = "order"
    order: str | None
    number: int = 0


class Stopped(Event):
    """What ends a test when it is handled."""


def execute(path: Path, *statements: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for each in statements[:-1]:
            db.execute(each)
        return db.execute(statements[-1]).fetchall()


async def sink(path: Path, *events: object) -> list[Record]:
    """Write events into the table, and return their records."""
    records = [each if isinstance(each, Record) else Record.of(each) for each in events]
    writer = SqliteSink(path)
    await writer.open()
    await writer.sink(records)
    await writer.close()
    return records


@asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncGenerator[SqliteSource]:
    source = SqliteSource(path, poll=0.001, **options)
    await source.open()
    try:
        yield source
    finally:
        await source.close()


def ids(found: Any) -> list[str]:
    return [each.id for each in found]


async def nothing(source: SqliteSource) -> bool:
    """Say whether a source has nothing to hand out now."""
    found = await source._run(lambda db: source._free(db, 10) or source._claim(db, 10))
    return not found


async def test_what_was_sunk_is_handed_out_in_order(tmp_path: Path) -> None:
    """Each event once to the group, with what was written; once to every other group."""
    path = tmp_path / "events.db"
    records = await sink(path, *(Step("a", n) for n in range(5)))
    async with opened(path) as source, opened(path, group="other") as other:
        first = await source.receive(2)
        assert ids(first) == ids(records[:2])
        assert (first[0].key, first[0].failures, first[0].losses) == ("a", 0, 0)
        assert ids(await source.receive(10)) == ids(records[2:])
        assert await nothing(source)
        assert ids(await other.receive(10)) == ids(records)


async def test_a_source_may_come_before_its_sink(tmp_path: Path) -> None:
    """It makes the table, and waits for the first event."""
    path = tmp_path / "events.db"
    async with opened(path) as source:
        waiting = asyncio.create_task(source.receive(1))
        records = await sink(path, Step("a"))
        assert ids(await waiting) == ids(records)


async def test_what_was_acknowledged_does_not_come_back(tmp_path: Path) -> None:
    """Also after a new start, and when its row has been deleted."""
    path = tmp_path / "events.db"
    await sink(path, Step("a"))
    async with opened(path) as source:
        await source.acknowledge(await source.receive(1))
    execute(path, "DELETE FROM events")
    records = await sink(path, Step("b"))
    async with opened(path) as source:
        assert ids(await source.receive(10)) == ids(records)


async def test_a_close_puts_back_what_was_not_settled(tmp_path: Path) -> None:
    """The next consumer need not wait for the lease, and it counts as no loss."""
    path = tmp_path / "events.db"
    records = await sink(path, Step("a"), Step("b"))
    async with opened(path) as source:
        first, _ = await source.receive(2)
        await source.acknowledge([first])
    async with opened(path) as source:
        (second,) = await source.receive(2)
        assert (second.id, second.losses) == (records[1].id, 0)


async def test_a_lease_that_has_ended_is_another_consumers(tmp_path: Path) -> None:
    """The event is handed out once more, as lost; the old receipt settles nothing."""
    path = tmp_path / "events.db"
    records = await sink(path, Step("a"), Step("b"))
    async with opened(path, lease=0.0) as dead, opened(path) as alive:
        old = await dead.receive(10)
        new = await alive.receive(10)
        assert ids(new) == ids(old) == ids(records)
        assert [each.losses for each in new] == [1, 1]
        await dead.acknowledge(old)
        await dead.put_back(old[0], delay=0, failed=True)
        await dead.bury(old[0], "failed", "late")
        await dead.extend(old)
        assert await dead.dead_letters() == []
        await alive.put_back(new[0], delay=0, failed=True)
        (again,) = await alive.receive(10)
        assert (again.id, again.failures, again.losses) == (records[0].id, 1, 1)


async def test_a_lease_that_is_extended_stays(tmp_path: Path) -> None:
    """Nobody else is given what is being handled."""
    path = tmp_path / "events.db"
    await sink(path, Step("a"))
    async with opened(path, lease=0.0) as source, opened(path) as other:
        held = await source.receive(1)
        source._lease = 60.0
        await source.extend(held)
        assert await nothing(other)


async def test_a_key_is_in_one_hand(tmp_path: Path) -> None:
    """What is behind an event is handed out to whoever has that, and to nobody else."""
    path = tmp_path / "events.db"
    a1, a2, b1, none1, none2 = await sink(
        path, Step("a", 1), Step("a", 2), Step("b", 1), Step(None, 1), Step(None, 2)
    )
    async with opened(path) as one, opened(path) as two:
        (first,) = await one.receive(1)
        assert first.id == a1.id
        assert ids(await two.receive(2)) == [b1.id, none1.id]
        (second, third) = await one.receive(9)
        assert (second.id, third.id) == (a2.id, none2.id)
        # Put back in their order, the first for later: the second waits for it.
        await one.put_back(first, delay=60, failed=True)
        await one.put_back(second, delay=0, failed=False)
        assert await nothing(one)
        assert await nothing(two)
        execute(path, "UPDATE events_deliveries SET due = 0 WHERE owner IS NULL")
        again = await two.receive(9)
        assert ids(again) == [a1.id, a2.id]
        assert [each.failures for each in again] == [1, 0]
        assert await nothing(one)


async def test_what_is_buried_is_kept_and_can_be_revived(tmp_path: Path) -> None:
    """With its bytes, its reason and its error; it comes back as if it were new."""
    path = tmp_path / "events.db"
    first, second, third = await sink(path, Step("a", 1), Step("a", 2), Step("b"))
    async with opened(path) as source:
        held = await source.receive(3)
        await source.bury(held[0], "failed", "Boom: no")
        await source.acknowledge(held[1:2])
        await source.bury(held[2], "undecodable", "what?")
        one, two = await source.dead_letters()
        assert (one.id, one.reason, one.error, one.failures) == (first.id, "failed", "Boom: no", 1)
        assert (two.id, one.raw, two.time >= third.time) == (third.id, held[0].raw, True)
    async with opened(path, group="other") as other:
        assert await other.dead_letters() == []
    execute(path, f"DELETE FROM events WHERE id = '{third.id}'")
    async with opened(path) as source:
        assert await nothing(source)
        assert await source.revive([first.id, second.id, third.id, "nobody"]) == 1
        (again,) = await source.receive(9)
        assert (again.id, again.key, again.failures) == (first.id, "a", 0)
        assert ids(await source.dead_letters()) == [third.id]


async def test_rows_that_are_deleted_are_forgotten(tmp_path: Path) -> None:
    """What is not there cannot be handled; it holds nothing up."""
    path = tmp_path / "events.db"
    records = await sink(path, Step("a", 1), Step("a", 2))
    async with opened(path) as source:
        for each in await source.receive(9):
            await source.put_back(each, delay=0, failed=False)
        execute(path, f"DELETE FROM events WHERE id = '{records[0].id}'")
        assert ids(await source.receive(9)) == ids(records[1:])
    assert execute(path, "SELECT count(*) FROM events_deliveries") == [(1,)]


async def test_a_key_that_waits_does_not_hold_up_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events are looked at beyond those that wait, as far as a limit."""
    monkeypatch.setattr("runtime.sources.sqlite.AHEAD", 50)
    path = tmp_path / "events.db"
    records = await sink(
        path,
        *(Step("a", n) for n in range(40)),
        Step("b"),
        *(Step("a", n) for n in range(40)),
        Step("c"),
    )
    async with opened(path) as source:
        (head,) = await source.receive(1)
        await source.put_back(head, delay=60, failed=True)
        (found,) = await source.receive(10)
        assert found.id == records[40].id
        assert await nothing(source)
        assert execute(path, "SELECT count(*) FROM events_deliveries") == [(50,)]


async def test_any_bytes_can_be_read(tmp_path: Path) -> None:
    """What somebody else has written into the table is handed out as it is."""
    path = tmp_path / "events.db"
    await sink(path)
    execute(
        path,
        "INSERT INTO events (id, type, time, key, headers, payload) VALUES "
        "(CAST(x'ff' AS TEXT), 'x', 'x', CAST(x'fe' AS TEXT), 'x', CAST(x'fdfc' AS TEXT)), "
        "('two', 'x', 'x', 7, 'x', 12)",
    )
    async with opened(path) as source:
        one, two = await source.receive(9)
        assert (one.raw, one.key, one.id) == (b"\xfd\xfc", "\\xfe", "\\xff")
        assert (two.raw, two.key) == (b"12", "7")


async def test_trouble_is_a_source_error_and_heals(tmp_path: Path) -> None:
    """What is wrong with the database is said as for the sink."""
    path = tmp_path / "events.db"
    records = await sink(path, Step("a"))
    async with opened(path, timeout=0.0) as source:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(SourceError, match=r"events.db: it is locked: another connection"):
                await source.receive(1)
        assert ids(await source.receive(1)) == ids(records)
    with pytest.raises(SourceError, match="it is not open"):
        await source.receive(1)
    with pytest.raises(SourceError, match="cannot be opened as an SQLite database: it is missing"):
        await SqliteSource(tmp_path / "nowhere" / "events.db").open()


@pytest.mark.parametrize(
    ("options", "error"),
    [({"table": "a b"}, ValueError), ({"lease": -1}, ValueError), ({"poll": "1"}, TypeError)],
)
def test_options_are_checked(options: Any, error: type[Exception]) -> None:
    """A mistake is found when the source is made."""
    with pytest.raises(error, match=next(iter(options))):
        SqliteSource("events.db", **options)


async def test_a_terminal_consumes_what_another_sinks(tmp_path: Path) -> None:
    """The sink and the source make a queue: in order for each key, each event once."""
    path = tmp_path / "events.db"
    before = threading.active_count()
    seen: list[Event] = []
    all_seen = asyncio.Event()

    async def handle(event: Step) -> None:
        seen.append(event)
        if len(seen) == 300:
            all_seen.set()

    async with BusTerminal(registry_with(handle), sink=SqliteSink(path)) as terminal:
        tasks = [
            asyncio.create_task(terminal.consume(SqliteSource(path, poll=0.001))) for _ in range(2)
        ]

        async def produce(order: str) -> None:
            for number in range(100):
                await terminal.bus.sink(Step(order, number))

        await asyncio.gather(*(produce(order) for order in "abc"))
        await all_seen.wait()
    await asyncio.gather(*tasks)
    for order in "abc":
        assert [each for each in seen if each.order == order] == [  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
            Step(order, number) for number in range(100)
        ]
    assert execute(path, "SELECT count(*) FROM events_deliveries") == [(0,)]
    assert threading.active_count() == before


async def test_failures_are_remembered_in_the_file(tmp_path: Path) -> None:
    """A new start goes on counting, and what was given up stays so."""
    path = tmp_path / "events.db"
    (bad, _) = await sink(path, Step("a"), Stopped())
    calls: list[str] = []

    async def handle(event: Step) -> None:
        calls.append("step")
        raise LookupError("no")  # noqa: EM101

    for start in range(4):
        stopped = asyncio.Event()
        if start == 3:
            await sink(path, Stopped())

        async def stop(event: Stopped, stopped: asyncio.Event = stopped) -> None:
            stopped.set()

        source = SqliteSource(path, poll=0.001)
        async with BusTerminal(registry_with(handle, stop)) as terminal:
            task = asyncio.create_task(
                terminal.consume(source, max_attempts=3, backoff=0.0, concurrency=1)
            )
            while len(calls) <= min(start, 2):  # noqa: ASYNC110 -- the file's doing
                await asyncio.sleep(0)
            if start == 3:
                await stopped.wait()
                assert ids(await source.dead_letters()) == [bad.id]
        await task
    assert len(calls) == 3


def test_received_tells_what_it_is() -> None:
    """What a source hands out is data."""
    assert Received("1", b"{}") == Received("1", b"{}", None, 0, 0, None)
