"""Sinks: what `bus.sink` promises, and how SQLite keeps the promise."""

import asyncio
import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from runtime import BusTerminal, Event, EventBus, MessageContext, MessageRegistry, Record
from runtime.errors import SinkError, SinkUnset
from runtime.names import TypeNames
from runtime.sinks import Sink, SqliteSink
from runtime.wire import CloudEvents


class Ordered(Event):
    __key__: ClassVar[str] = "order_id"
    order_id: int | None
    note: str = ""


class Opaque(Event):
    thing: Any


def terminal_with(sink: Sink | None) -> BusTerminal[Event]:
    return BusTerminal(MessageRegistry(event_base=Event), sink=sink, name="shop")


def rows(
    path: Path, columns: str = "type, key, payload", table: str = "events"
) -> list[tuple[Any, ...]]:
    """Return columns of what another connection reads; payloads as the events in them."""
    with closing(sqlite3.connect(path)) as db:
        found = db.execute(f"SELECT {columns} FROM {table} ORDER BY position").fetchall()
    if not columns.endswith("payload"):
        return found
    return [(*rest, decoded(payload).event) for *rest, payload in found]


def decoded(payload: str) -> Record:
    return CloudEvents().decode(payload.encode(), TypeNames([Ordered]).find)


class ListSink:
    """A sink of a user's own."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.calls: list[str] = []

    async def open(self) -> None:
        self.calls.append("open")

    async def close(self) -> None:
        self.calls.append("close")

    async def sink(self, records: Sequence[Record], /) -> None:
        self.calls.append("sink")
        self.records += records


async def test_a_sink_needs_one_method_only() -> None:
    """Anything with `sink` will do; each event becomes a record of its own."""

    class Bare:
        async def sink(self, records: Sequence[Record], /) -> None:
            kept.extend(records)

    kept: list[Record] = []
    async with terminal_with(Bare()) as terminal:
        await terminal.bus.sink(Ordered(1), Ordered(None))
        await terminal.bus.sink([Ordered(2)], context=MessageContext(headers={"tenant": "north"}))
        assert terminal.stats().sunk == 3
    assert [(each.type, each.key, each.event) for each in kept] == [
        ("Ordered", "1", Ordered(1)),
        ("Ordered", None, Ordered(None)),
        ("Ordered", "2", Ordered(2)),
    ]
    assert [dict(each.headers) for each in kept] == [{}, {}, {"tenant": "north"}]
    assert len({each.id for each in kept}) == 3


class JsonLines:
    """Append each event to a file, as one line of JSON."""

    def __init__(self, path: Path) -> None:
        self.path, self.wire = path, CloudEvents("/shop")

    async def sink(self, records: Sequence[Record], /) -> None:
        lines = b"".join(self.wire.encode(record) + b"\n" for record in records)
        with open(self.path, "ab") as file:  # noqa: ASYNC230 -- word for word the documents' own
            file.write(lines)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())


async def test_a_sink_of_the_users_own_takes_a_few_lines(tmp_path: Path) -> None:
    """That of the documents keeps what is promised: confirmed after a sync, or an error."""
    path = tmp_path / "folder" / "events.jsonl"
    async with terminal_with(JsonLines(path)) as terminal:
        with pytest.raises(SinkError, match="No such file") as caught:
            await terminal.bus.sink(Ordered(1))
        path.parent.mkdir()
        await terminal.bus.sink(*caught.value.records, Ordered(2))
        lines = path.read_text().splitlines()
        assert [decoded(line).event for line in lines] == [Ordered(1), Ordered(2)]
        assert decoded(lines[0]) == caught.value.records[0]


async def test_one_context_for_many_events_gives_each_an_id() -> None:
    """A context given for several events lends them its headers, not its id."""
    sink = ListSink()
    context = MessageContext(headers={"tenant": "north"})
    async with terminal_with(sink) as terminal:
        await terminal.bus.sink(Ordered(1), Ordered(2), context=context)
        await terminal.bus.sink(Ordered(3), context=context)
    one, two, three = sink.records
    assert len({one.id, two.id, three.id}) == 3
    assert three.id == context.id
    assert one.headers == two.headers == three.headers == {"tenant": "north"}


async def test_a_sink_is_opened_once_and_closed_with_the_terminal() -> None:
    """The sink opens with the terminal, or before the first record, and closes at the end."""
    eager, lazy = ListSink(), ListSink()
    async with terminal_with(eager):
        assert eager.calls == ["open"]
    assert eager.calls == ["open", "close"]
    terminal = terminal_with(lazy)
    await asyncio.gather(*(terminal.bus.sink(Ordered(n)) for n in range(3)))
    await terminal.close()
    assert lazy.calls == ["open", "sink", "sink", "sink", "close"]


async def test_without_a_sink_the_verb_says_what_is_missing() -> None:
    """Sinking without a store is an error that shows how to configure one."""
    async with terminal_with(None) as terminal:
        with pytest.raises(SinkUnset, match="terminal 'shop' has no sink: give it one, as in"):
            await terminal.bus.sink(Ordered(1))


async def test_whatever_a_sink_raises_has_the_records() -> None:
    """What its store raises, or what is wrong with it, is the cause of a `SinkError`."""

    class Broken:
        async def sink(self, records: Sequence[Record], /) -> None:
            self.missing  # type: ignore[attr-defined] # noqa: B018  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]

    async with terminal_with(Broken()) as terminal:
        with pytest.raises(
            SinkError, match=r"Broken has failed, AttributeError: .* 'missing'"
        ) as raised:
            await terminal.bus.sink(Ordered(1))
        assert isinstance(raised.value.__cause__, AttributeError)
        assert [each.event for each in raised.value.records] == [Ordered(1)]
        assert terminal.stats().sunk == 0


async def test_what_a_handler_sinks_names_its_cause() -> None:
    """Records sunk through an injected bus carry the ids of the message handled."""
    sink = ListSink()
    contexts: list[MessageContext] = []
    registry = MessageRegistry(event_base=Event)

    @registry.register
    async def keep(event: Ordered, ctx: MessageContext, bus: EventBus[Event]) -> None:
        contexts.append(ctx)
        await bus.sink(event)

    async with BusTerminal(registry, sink=sink) as terminal:
        await terminal.bus.publish(Ordered(1))
    assert sink.records[0].headers == {
        "causation_id": contexts[0].id,
        "correlation_id": contexts[0].id,
    }


async def test_sqlite_confirms_after_commit(tmp_path: Path) -> None:
    """When `sink` returns, another connection reads the rows, in order."""
    path = tmp_path / "events.db"
    async with terminal_with(SqliteSink(path)) as terminal:
        await terminal.bus.sink(Ordered(1, "first"), Ordered(None))
        assert rows(path) == [
            ("Ordered", "1", Ordered(1, "first")),
            ("Ordered", None, Ordered(None)),
        ]
        context = MessageContext(headers={"tenant": "Zürich"})
        await terminal.bus.sink(Ordered(3), context=context)
        identity, moment, headers = rows(path, "id, time, headers")[2]
        assert identity == context.id
        assert datetime.fromisoformat(moment) == context.time
        assert json.loads(headers) == {"tenant": "Zürich"}
        ((payload,),) = rows(path, "payload AS text")[2:]
        assert decoded(payload) == Record(
            context.id, "Ordered", context.time, "3", context.headers, Ordered(3)
        )
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_sqlite_appends_to_what_is_there(tmp_path: Path) -> None:
    """A database outlives its terminals, and another table is another store."""
    path = tmp_path / "events.db"
    for number in range(2):
        async with terminal_with(SqliteSink(path)) as terminal:
            await terminal.bus.sink(Ordered(number))
    async with terminal_with(SqliteSink(path, table="other")) as terminal:
        await terminal.bus.sink(Ordered(9))
    assert [key for _, key, _ in rows(path)] == ["0", "1"]
    assert rows(path, "key", "other") == [("9",)]


@pytest.mark.parametrize("table", ['x"; DROP TABLE events; --', "", "1st", "a b"])
def test_sqlite_table_must_be_an_identifier(table: str) -> None:
    """A table name cannot carry SQL."""
    with pytest.raises(ValueError, match="table must be a plain identifier"):
        SqliteSink("events.db", table=table)


async def test_sqlite_keeps_an_id_once(tmp_path: Path) -> None:
    """Sinking a record again changes nothing."""
    path = tmp_path / "events.db"
    record = Record.of(Ordered(1))
    async with terminal_with(SqliteSink(path)) as terminal:
        await terminal.bus.sink(record)
        await terminal.bus.sink(record, Ordered(2))
    assert [key for _, key, _ in rows(path)] == ["1", "2"]
    assert rows(path, "id")[0] == (record.id,)


async def test_sqlite_serves_concurrent_callers(tmp_path: Path) -> None:
    """Many callers at once are all confirmed, each batch whole and in its order."""
    path = tmp_path / "events.db"
    async with terminal_with(SqliteSink(path)) as terminal:

        async def batch(number: int) -> None:
            await terminal.bus.sink([Ordered(number, str(place)) for place in range(5)])
            mine = [each for each in rows(path, "key, payload") if each[0] == str(number)]
            assert [event.note for _, event in mine] == list("01234")

        await asyncio.gather(*(batch(number) for number in range(50)))
        assert terminal.stats().sunk == 250


@pytest.mark.parametrize("thing", [object(), "\ud800", float("inf")])
async def test_sqlite_refuses_what_has_no_json_form(tmp_path: Path, thing: object) -> None:
    """An event that cannot be encoded fails its call, with its records, and nothing else."""
    path = tmp_path / "events.db"
    async with terminal_with(SqliteSink(path)) as terminal:
        with pytest.raises(SinkError, match="an event has no JSON form: ") as caught:
            await terminal.bus.sink(Ordered(1), Opaque(thing))
        assert next(record.event for record in caught.value.records) == Ordered(1)
        await terminal.bus.sink(Ordered(2))
    assert [key for _, key, _ in rows(path)] == ["2"]


async def test_sqlite_one_bad_batch_does_not_fail_its_group(tmp_path: Path) -> None:
    """Calls that shared a transaction with a bad one are committed by themselves."""
    path = tmp_path / "events.db"
    async with terminal_with(SqliteSink(path)) as terminal:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(
                "CREATE TRIGGER picky BEFORE INSERT ON events WHEN NEW.key = '13' "
                "BEGIN SELECT RAISE(ABORT, 'not thirteen'); END"
            )
        results = await asyncio.gather(
            *(terminal.bus.sink(Ordered(number)) for number in range(10, 20)),
            return_exceptions=True,
        )
    assert [index for index, result in enumerate(results) if result is not None] == [3]
    assert isinstance(results[3], SinkError)
    assert "not thirteen" in str(results[3])
    assert sorted(key for _, key, _ in rows(path)) == [str(n) for n in range(10, 20) if n != 13]


async def test_sqlite_cancelled_call_leaves_the_writer_at_work(tmp_path: Path) -> None:
    """Giving up on a confirmation does not hurt the next caller."""
    path = tmp_path / "events.db"
    async with terminal_with(SqliteSink(path)) as terminal:
        call = asyncio.create_task(terminal.bus.sink(Ordered(1)))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await terminal.bus.sink(Ordered(2))
    # The rows had been handed over, so they are there; the promise is only about confirmed ones.
    assert [key for _, key, _ in rows(path)] == ["1", "2"]


async def test_sqlite_unopened_says_who_opens_it(tmp_path: Path) -> None:
    """Using the sink by itself, before a terminal has opened it, is a clear error."""
    with pytest.raises(SinkError, match="it is not open; its terminal opens it"):
        await SqliteSink(tmp_path / "events.db").sink([Record.of(Ordered(1))])
