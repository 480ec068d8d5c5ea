"""What a sink has confirmed is there, whatever happens to the process."""

import random
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest
from reliability.killing import PRELUDE, Victim

from runtime import Event
from runtime.names import TypeNames
from runtime.wire import CloudEvents

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

WRITERS = 8

WRITE = (
    PRELUDE
    + """
async def write(bus, writer, drawn):
    number = 0
    while True:
        batch = [
            Record.of(Noted(writer, number + each, "x" * drawn.randrange(3_000)))
            for each in range(drawn.choice([1, 1, 1, 7]))
        ]
        number += len(batch)
        await bus.sink(batch)
        for record in batch:
            say(record.id, record.event.writer, record.event.number, len(record.event.text))

async def main():
    async with BusTerminal(MessageRegistry(), sink=SqliteSink(sys.argv[1])) as terminal:
        await asyncio.gather(
            *(
                write(terminal.bus, writer, random.Random(int(sys.argv[2]) + writer))
                for writer in range(8)
            )
        )

run(main())
"""
)


class Noted(Event):
    __key__: ClassVar[str] = "writer"
    writer: int
    number: int
    text: str = ""


def read_events(path: Path) -> dict[str, Noted]:
    """Return the events of a database that is whole, by id."""
    names = TypeNames([Noted])
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found: dict[str, Noted] = {}
        for id_, payload in db.execute("SELECT id, payload FROM events"):
            record = CloudEvents().decode(payload.encode(), names.find)
            assert record.id == id_
            assert isinstance(record.event, Noted)
            found[id_] = record.event
    return found


def kill_writers(path: Path, points: int, seed: int) -> int:
    """Kill a process with 8 writers at so many moments; say how many events were confirmed."""
    drawn = random.Random(seed)
    confirmed: dict[str, tuple[int, int, int]] = {}
    for _ in range(points):
        victim = Victim(WRITE, path, drawn.randrange(1_000_000))
        victim.read_until(drawn.randrange(1, 120))
        for line in victim.kill():
            id_, *numbers = line.split()
            writer, number, length = map(int, numbers)
            confirmed[id_] = (writer, number, length)
        found = read_events(path)
        saved = {
            id_: (found[id_].writer, found[id_].number, len(found[id_].text))
            for id_ in confirmed
            if id_ in found
        }
        assert saved == confirmed, f"seed {seed}"
    return len(confirmed)


@posix
def test_g8_what_was_confirmed_survives_kills(tmp_path: Path) -> None:
    """Every confirmed event is readable, as it was, and the file is whole."""
    assert kill_writers(tmp_path / "events.db", 12, seed=6) > 12


@posix
@pytest.mark.stress
def test_g8_a_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    """The same at 100 points, which a new seed chooses."""
    seed = random.SystemRandom().randrange(1_000_000)
    count = kill_writers(tmp_path / "events.db", 100, seed)
    print(f"\n100 kills of {WRITERS} writers, seed {seed}: {count:,} confirmed events, none lost")
    assert count > 100
