"""The order in which a mailbox and the pool handle their messages, and what each handler sees."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest
from contract.support import Boom, MakeTerminal, RunAsync, Stage, Work, ledger, settle
from hypothesis import given
from hypothesis import strategies as st
from reference import Ledger

from runtime import Event, EventBus
from runtime.errors import ScopeClosed


class Letter(Event):
    """An event that is told apart from `Work`."""


@given(
    way=st.sampled_from(["key", "named", "anonymous"]),
    messages=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=20),
)
def test_mailbox_handles_one_message_after_the_other(
    make_terminal: MakeTerminal, run_async: RunAsync, way: str, messages: list[tuple[int, int]]
) -> None:
    """Strictly in the order of emission, however often handlers suspend in between."""
    log: list[tuple[str, int]] = []

    async def work(work: Work) -> None:
        log.append(("start", work.number))
        for _ in range(messages[work.number][0]):
            await asyncio.sleep(0)
        log.append(("end", work.number))

    async def main() -> None:
        async with make_terminal([work]) as terminal:
            async with terminal.scope("box" if way == "named" else None) as scope:
                bus, options = (terminal.bus, {"key": "box"}) if way == "key" else (scope.bus, {})
                for number, (_, pause) in enumerate(messages):
                    bus.emit(Work(number), **options)
                    for _ in range(pause):
                        await asyncio.sleep(0)
            await terminal.drain()
            assert log == [
                (step, number) for number in range(len(messages)) for step in ("start", "end")
            ]
            assert ledger(terminal) == Ledger(len(messages), handled=len(messages))

    run_async(main())


async def test_mailboxes_do_not_wait_for_each_other(make_terminal: MakeTerminal) -> None:
    """While one key's handler is suspended, the others' messages are handled."""
    stage = Stage(hold={0, 2})
    async with make_terminal([stage.work]) as terminal:
        for number, key in enumerate(["a", "a", "b", "b", "c"]):
            terminal.bus.emit(Work(number), key=key)
        await settle()
        assert sorted(stage.started) == [0, 2, 4]
        assert ledger(terminal) == Ledger(5, handled=1, pending=4)
        stage.release(2)
        await settle()
        assert stage.finished == [4, 2, 3]
        stage.release(0)
        await terminal.drain()
        assert stage.finished == [4, 2, 3, 0, 1]
        assert ledger(terminal) == Ledger(5, handled=5)


@given(
    total=st.integers(1, 12),
    concurrency=st.integers(1, 5),
    releases=st.lists(st.integers(0, 4), min_size=12, max_size=12),
)
def test_pool_starts_in_order_and_finishes_in_any(
    make_terminal: MakeTerminal,
    run_async: RunAsync,
    total: int,
    concurrency: int,
    releases: list[int],
) -> None:
    """At any moment the first messages emitted have started, and `concurrency` are in flight."""
    stage = Stage(hold=range(total))

    async def main() -> None:
        async with make_terminal([stage.work], concurrency=concurrency) as terminal:
            for number in range(total):
                terminal.bus.emit(Work(number))
            for finished, choice in enumerate(releases[:total]):
                await settle()
                assert stage.started == list(range(min(total, concurrency + finished)))
                stage.release(stage.running[choice % len(stage.running)])
            await terminal.drain()
            assert sorted(stage.finished) == list(range(total))
            assert ledger(terminal) == Ledger(total, handled=total)

    run_async(main())


async def test_named_scope_is_the_mailbox_of_its_name(make_terminal: MakeTerminal) -> None:
    """What two blocks of one name emit, and what goes to that key, stands in one queue."""
    stage = Stage(hold={0})
    async with make_terminal([stage.work]) as terminal:
        async with terminal.scope("a") as first:
            first.bus.emit(Work(0))
        terminal.bus.emit(Work(1), key="a")
        async with terminal.scope("a") as second, terminal.scope() as anonymous:
            second.bus.emit(Work(2))
            anonymous.bus.emit(Work(3))
        await settle()
        assert stage.started == [0, 3]
        stage.release(0)
        await terminal.drain()
        assert stage.started == [0, 3, 1, 2]
        assert ledger(terminal) == Ledger(4, handled=4)


async def test_scope_stays_with_the_mailbox_of_its_name(make_terminal: MakeTerminal) -> None:
    """However often that mailbox has been empty, a bus made before finds the same queue."""
    stage = Stage(hold={1})
    async with make_terminal([stage.work]) as terminal, terminal.scope("a") as scope:
        await scope.bus.emit(Work(0)).wait()
        await terminal.drain()
        terminal.bus.emit(Work(1), key="a")
        scope.bus.emit(Work(2))
        await settle()
        assert stage.started == [0, 1]
        stage.release(1)
        await terminal.drain()
        assert stage.started == [0, 1, 2]
        assert ledger(terminal) == Ledger(3, handled=3)


async def test_anonymous_scopes_have_mailboxes_of_their_own(make_terminal: MakeTerminal) -> None:
    """Each orders its own emits, and none waits for another."""
    stage = Stage(hold={0})
    async with make_terminal([stage.work]) as terminal:
        async with terminal.scope() as first, terminal.scope() as second:
            first.bus.emit(Work(0))
            first.bus.emit(Work(1))
            second.bus.emit(Work(2))
        await settle()
        assert stage.started == [0, 2]
        stage.release(0)
        await terminal.drain()
        assert stage.started == [0, 2, 1]
        assert ledger(terminal) == Ledger(3, handled=3)


async def test_emits_outlive_their_scope(make_terminal: MakeTerminal) -> None:
    """Leaving a scope ends its bus; what it has emitted is handled all the same."""
    stage = Stage(hold={0})
    async with make_terminal([stage.work]) as terminal:
        async with terminal.scope("a") as scope:
            delivery = scope.bus.emit(Work(0))
        with pytest.raises(ScopeClosed, match="'a'"):
            scope.bus.emit(Work(1))
        with pytest.raises(ScopeClosed, match="'a'"):
            await scope.bus.publish(Work(1))
        with pytest.raises(ScopeClosed, match="'a'"):
            await scope.bus.offer(Work(1))
        await settle()
        stage.release(0)
        await delivery.wait()
        assert stage.finished == [0]
        assert ledger(terminal) == Ledger(1, handled=1)


async def forward(letter: Letter, bus: EventBus[Any]) -> None:
    """Emit three messages and take a while to return."""
    for number in range(3):
        bus.emit(Work(number))
    await asyncio.sleep(0)


@pytest.mark.parametrize("verb", ["emit", "publish"])
@pytest.mark.parametrize(("name", "together"), [("a", 1), (None, 3)])
async def test_injected_bus_emits_where_its_message_came_from(
    make_terminal: MakeTerminal, verb: str, name: str | None, together: int
) -> None:
    """From a mailbox to the same mailbox, in order; from the root bus to the pool."""
    stage = Stage(hold=range(3))
    async with make_terminal([forward, stage.work]) as terminal:
        async with terminal.scope(name) as scope:
            bus = terminal.bus if name is None else scope.bus
            result = getattr(bus, verb)(Letter())
            await (result.wait() if verb == "emit" else result)
        await settle()
        assert stage.started == list(range(together))
        for number in range(3):
            stage.release(number)
        await terminal.drain()
        assert stage.finished == [0, 1, 2]
        total = 3 + (verb == "emit")
        assert ledger(terminal) == Ledger(total, handled=total)


async def test_emit_inside_a_handler_waits_for_its_turn(make_terminal: MakeTerminal) -> None:
    """It is handled in the same mailbox, after the current message and those queued before it."""
    log: list[str] = []

    async def begin(letter: Letter, bus: EventBus[object]) -> None:
        bus.emit(Work(2))
        await asyncio.sleep(0)
        log.append("letter")

    def note(work: Work) -> None:
        log.append(f"work {work.number}")

    async with make_terminal([begin, note]) as terminal:
        terminal.bus.emit(Letter(), key="a")
        terminal.bus.emit(Work(1), key="a")
        await terminal.drain()
        assert log == ["letter", "work 1", "work 2"]
        assert ledger(terminal) == Ledger(3, handled=3)


async def test_bus_of_a_handler_ends_with_its_scope(make_terminal: MakeTerminal) -> None:
    """A bus that was kept refuses to work after the attempt, or the root publish, is over."""
    kept: list[EventBus[Any]] = []

    def keep(letter: Letter, bus: EventBus[object]) -> None:
        kept.append(bus)

    async with make_terminal([keep]) as terminal:
        await terminal.bus.emit(Letter(), key="a").wait()
        await terminal.bus.publish(Letter())
        for bus in kept:
            with pytest.raises(ScopeClosed, match="was not taken"):
                bus.emit(Letter())
        assert len(kept) == 2
        assert ledger(terminal) == Ledger(1, handled=1)


async def test_handlers_run_under_the_context_variables_of_the_emit(
    make_terminal: MakeTerminal,
) -> None:
    """Each message brings its emitter's; what a handler sets stays with that message."""
    variable = ContextVar("variable", default="unset")
    seen: list[str] = []

    async def work(work: Work) -> None:
        seen.append(variable.get())
        variable.set("by the handler")
        await asyncio.sleep(0)
        seen.append(variable.get())

    async with make_terminal([work]) as terminal:
        for number, value in enumerate(["first", "second"]):
            variable.set(value)
            terminal.bus.emit(Work(number), key="a")
        variable.set("third")
        await (await terminal.bus.offer(Work(2), key="a")).wait()
        assert seen[::2] == ["first", "second", "third"]
        assert seen[1::2] == ["by the handler"] * 3
        assert variable.get() == "third"
        assert ledger(terminal) == Ledger(3, handled=3)


@pytest.mark.parametrize("key", [None, "a"])
async def test_failing_handler_stops_nothing_else(
    make_terminal: MakeTerminal, key: str | None
) -> None:
    """The other handlers of its message run, and so do the messages after it."""
    log: list[tuple[str, int]] = []

    def fail(work: Work) -> None:
        log.append(("fail", work.number))
        raise Boom

    async def fail_later(work: Work) -> None:
        await asyncio.sleep(0)
        log.append(("fail later", work.number))
        raise Boom

    def succeed(work: Work) -> None:
        log.append(("succeed", work.number))

    async with make_terminal([fail, fail_later, succeed], concurrency=1) as terminal:
        for number in range(2):
            terminal.bus.emit(Work(number), key=key)
        await terminal.drain()
        assert log == [(n, i) for i in range(2) for n in ("fail", "fail later", "succeed")]
        assert ledger(terminal) == Ledger(2, failed=2)
