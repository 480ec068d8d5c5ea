"""The sink and the source on one file are a queue that loses nothing, whoever is killed."""

import asyncio
import random
import sqlite3
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest
from memory_source import MemorySource
from reliability.killing import PRELUDE, Victim
from reliability.support import Boom, Work, assert_ledger, make_terminal

from runtime import Record, Stats

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

LEASE = 0.2

PRODUCE = (
    PRELUDE
    + """
async def write(bus, writer, first):
    for number in range(first, 1_000_000):
        record = Record.of(Noted(writer, number))
        say("sinking", record.id, writer, number)
        await bus.sink(record)
        say("sunk", record.id, writer, number)

async def main():
    async with BusTerminal(MessageRegistry(), sink=SqliteSink(sys.argv[1])) as terminal:
        await asyncio.gather(*(write(terminal.bus, each, int(sys.argv[2])) for each in range(8)))

run(main())
"""
)

CONSUME = (
    PRELUDE
    + """
from runtime.sources import SqliteSource

path, lease, last = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
registry = MessageRegistry()
ended = None

@registry.register
async def handle(event: Noted, ctx: MessageContext) -> None:
    say("start", ctx.id, event.writer, event.number)
    await asyncio.sleep(0)
    say("end", ctx.id, event.writer, event.number)

class Watched(SqliteSource):
    async def acknowledge(self, received, /):
        await super().acknowledge(received)
        for each in received:
            say("acknowledged", each.id)
        if last and not await self._run(self._is_empty):
            ended.set()

    def _is_empty(self, db):
        ((left,),) = db.execute(
            "SELECT (SELECT count(*) FROM events_deliveries) + (SELECT count(*) FROM events"
            " WHERE position > (SELECT position FROM events_groups))"
        )
        return left

async def main():
    global ended
    ended = asyncio.Event()
    async with BusTerminal(registry) as terminal:
        consuming = asyncio.create_task(
            terminal.consume(Watched(path, lease=lease, poll=0.01), concurrency=20)
        )
        await ended.wait()
    await consuming

run(main())
"""
)


SERVE = (
    PRELUDE
    + """
from runtime.sources import SqliteSource

registry = MessageRegistry()

@registry.register
async def handle(event: Noted, ctx: MessageContext) -> None:
    say("start", ctx.id, event.writer, event.number)
    await asyncio.sleep(0.001)
    say("end", ctx.id, event.writer, event.number)

async def write(bus, writer):
    for number in range(int(sys.argv[2]), 1_000_000):
        record = Record.of(Noted(writer, number))
        say("sinking", record.id)
        await bus.sink(record)
        say("sunk", record.id)

async def main():
    path = sys.argv[1]
    async with BusTerminal(registry, sink=SqliteSink(path)) as terminal:
        async with asyncio.TaskGroup() as group:
            for each in range(8):
                group.create_task(write(terminal.bus, each))
            group.create_task(terminal.consume(SqliteSource(path, poll=0.01)))

run(main())
"""
)


class Ledger:
    """What producers and consumers have said, over all of their lives."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.sunk: set[str] = set()
        self.attempted: set[str] = set()
        self.acknowledged: set[str] = set()
        self.ended: set[str] = set()
        self.starts: dict[str, int] = defaultdict(int)
        self.order: dict[str, list[int]] = defaultdict(list)

    def add_producer(self, lines: list[str]) -> None:
        """Note what a producer has said."""
        for line in lines:
            verb, id_, *_ = line.split()
            (self.sunk if verb == "sunk" else self.attempted).add(id_)

    def add_consumer(self, lines: list[str]) -> None:
        """Note what a consumer has said; nothing starts that was acknowledged before."""
        running: dict[str, str] = {}
        for line in lines:
            verb, id_, *rest = line.split()
            if verb == "start":
                assert id_ not in self.acknowledged, f"seed {self.seed}"
                assert rest[0] not in running, f"seed {self.seed}: two of one key at once"
                running[rest[0]] = id_
                self.starts[id_] += 1
                self.order[rest[0]].append(int(rest[1]))
            elif verb == "end":
                del running[rest[0]]
                self.ended.add(id_)
            else:
                self.acknowledged.add(id_)

    def check(self, path: Path) -> None:
        """Everything confirmed was handled, in the order of its key, and the file is whole."""
        assert self.ended >= self.sunk, f"seed {self.seed}"
        assert self.ended <= self.attempted, f"seed {self.seed}"
        for numbers in self.order.values():
            firsts = list(dict.fromkeys(numbers))
            assert firsts == sorted(firsts), f"seed {self.seed}"
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert db.execute("SELECT count(*) FROM events_dead_letters").fetchone() == (0,)
            stored = {id_ for (id_,) in db.execute("SELECT id FROM events")}
        assert self.sunk <= stored == self.ended, f"seed {self.seed}"


def kill_both(path: Path, points: int, seed: int) -> Ledger:
    """Kill a producer and a consumer at so many moments each; then let one finish the rest."""
    drawn = random.Random(seed)
    ledger = Ledger(seed)
    for point in range(points):
        producer = Victim(PRODUCE, path, 1_000_000 // points * point)
        producer.read_until(drawn.randrange(1, 100))
        consumer = Victim(CONSUME, path, LEASE, 0)
        consumer.read_until(drawn.randrange(1, 150))
        first, second = (producer, consumer) if drawn.random() < 0.5 else (consumer, producer)
        first_lines, second_lines = first.kill(), second.kill()
        ledger.add_producer(first_lines if first is producer else second_lines)
        ledger.add_consumer(first_lines if first is consumer else second_lines)
    ledger.add_consumer(Victim(CONSUME, path, LEASE, 1).end())
    ledger.check(path)
    return ledger


@posix
def test_g8_a_queue_loses_nothing_when_both_ends_are_killed(tmp_path: Path) -> None:
    """All that was confirmed is handled, and nothing again after its acknowledgement."""
    ledger = kill_both(tmp_path / "events.db", 4, seed=4)
    assert len(ledger.sunk) > 4


@posix
@pytest.mark.stress
def test_g8_a_hundred_kills_of_both_ends_lose_nothing(tmp_path: Path) -> None:
    """The same at 100 points, which a new seed chooses."""
    seed = random.SystemRandom().randrange(1_000_000)
    ledger = kill_both(tmp_path / "events.db", 100, seed)
    again = sum(count - 1 for count in ledger.starts.values())
    print(
        f"\n100 kills of producer and consumer, seed {seed}: {len(ledger.sunk):,} events "
        f"confirmed, all handled, {again:,} of them begun again"
    )


@posix
def test_f7_a_service_that_is_told_to_end_leaves_nothing_half_done(tmp_path: Path) -> None:
    """At SIGTERM what runs is finished and acknowledged: nothing is begun twice, or lost."""
    path = tmp_path / "events.db"
    drawn = random.Random(7)
    ledger = Ledger(7)
    for life in range(4):
        service = Victim(SERVE, path, 100_000 * life)
        service.read_until(drawn.randrange(50, 400))
        lines = service.terminate()
        ledger.add_producer(
            [line for line in lines if line.startswith("s") and "start" not in line]
        )
        ledger.add_consumer([line for line in lines if line.startswith(("start", "end"))])
    ledger.add_consumer(Victim(CONSUME, path, 30.0, 1).end())
    ledger.check(path)
    assert set(ledger.starts.values()) == {1}


KEYS = 5
EVENTS = 200


@pytest.fixture
def expected_logs() -> list[str]:
    """Return what a consumer says whose source fails now and then."""
    return ["trying again"]


async def test_g15_everything_is_handled_though_everybody_fails(runtime_seed: int) -> None:
    """Handlers and the source fail at random, consumers come and go: each event in its order."""
    drawn = random.Random(runtime_seed)
    seen: dict[int, list[int]] = defaultdict(list)
    running: set[int] = set()

    async def handle(work: Work) -> None:
        assert work.producer not in running
        running.add(work.producer)
        try:
            await asyncio.sleep(drawn.random())
            if drawn.random() < 0.2:
                raise Boom
            seen[work.producer].append(work.number)
        finally:
            running.discard(work.producer)

    source = MemorySource(lease=30.0)
    for number in range(EVENTS):
        made = Record.of(Work(number, number % KEYS))
        source.add(Record(made.id, made.type, made.time, str(number % KEYS), {}, made.event))
    total = Stats(**dict.fromkeys(Stats.__dataclass_fields__, 0))
    while "free" in source.states():
        for method in ("receive", "acknowledge", "put_back", "extend"):
            source.failing[method] = drawn.randrange(3)
        terminal = make_terminal(handle)
        async with terminal:
            task = asyncio.create_task(
                terminal.consume(source, max_attempts=1_000, backoff=0.1, concurrency=7)
            )
            ended = asyncio.create_task(source.settled())
            await asyncio.wait([ended], timeout=drawn.uniform(1, 20))
            ended.cancel()
            if drawn.random() < 0.5:
                task.cancel()
        await asyncio.wait([task])
        assert_ledger(terminal.stats(), pending=0, dead_letters=0)
        assert "held" not in source.states()
        total = Stats(
            **{
                name: getattr(total, name) + getattr(terminal.stats(), name)
                for name in Stats.__dataclass_fields__
            }
        )
    assert source.states() == ["done"] * EVENTS
    assert total.handled == EVENTS
    for key in range(KEYS):
        assert seen[key] == list(range(key, EVENTS, KEYS))
