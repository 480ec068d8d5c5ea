"""What the emitter learns of the end of its message."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from contract.support import Boom, MakeTerminal, Stage, Work, ledger, settle
from reference import Ledger

from runtime import Delivery
from runtime.errors import DeliveryFailed


async def test_wait_returns_after_the_last_handler(make_terminal: MakeTerminal) -> None:
    """A delivery is done when every handler of its message has returned, and not before."""
    first, last = Stage(), Stage(hold={0})
    async with make_terminal([first.work, last.work]) as terminal:
        delivery = terminal.bus.emit(Work(0))
        waiter = asyncio.create_task(delivery.wait())
        assert not delivery.done()
        await settle()
        assert (first.finished, last.finished) == ([0], [])
        assert not delivery.done()
        assert not waiter.done()
        last.release(0)
        assert await waiter is None
        assert delivery.done()
        # As often as one likes.
        assert await delivery.wait() is None
        assert ledger(terminal) == Ledger(1, handled=1)


async def test_wait_raises_what_failed(make_terminal: MakeTerminal) -> None:
    """Every failed handler has a dead letter, in order; the first error is the cause."""
    errors = [Boom("first"), Boom("second")]

    def succeed(work: Work) -> None: ...

    async def fail(work: Work) -> None:
        await asyncio.sleep(0)
        raise errors[0]

    def fail_too(work: Work) -> None:
        raise errors[1]

    async with make_terminal([succeed, fail, succeed, fail_too]) as terminal:
        event = Work(0)
        delivery = terminal.bus.emit(event)
        # Before the end and after it.
        for _ in range(2):
            with pytest.raises(DeliveryFailed, match=r"Work: failed: Boom: first; .*: second") as e:
                await delivery.wait()
            assert e.value.__cause__ is errors[0]
            assert [(each.message, each.reason, each.error) for each in e.value.dead_letters] == [
                (event, "failed", error) for error in errors
            ]
            assert [each.handler for each in e.value.dead_letters] == [
                f"{each.__module__}.{each.__qualname__}" for each in (fail, fail_too)
            ]
        assert delivery.done()
        assert ledger(terminal) == Ledger(1, failed=1)


async def test_stop_iteration_is_a_failure(make_terminal: MakeTerminal) -> None:
    """A handler that raises StopIteration has not succeeded."""

    def stop(work: Work) -> None:
        raise StopIteration

    async with make_terminal([stop]) as terminal:
        with pytest.raises(DeliveryFailed, match="StopIteration"):
            await terminal.bus.emit(Work(0)).wait()
        assert ledger(terminal) == Ledger(1, failed=1)


async def test_cancelled_error_of_a_handler_is_a_failure(make_terminal: MakeTerminal) -> None:
    """Nobody has cancelled anything: the message has failed, and the next one is handled."""
    calls: list[int] = []

    async def work(work: Work) -> None:
        calls.append(work.number)
        if work.number == 0:
            raise asyncio.CancelledError

    async with make_terminal([work]) as terminal:
        first = terminal.bus.emit(Work(0), key="a")
        second = terminal.bus.emit(Work(1), key="a")
        with pytest.raises(DeliveryFailed, match="CancelledError"):
            await first.wait()
        await second.wait()
        assert calls == [0, 1]
        assert ledger(terminal) == Ledger(2, handled=1, failed=1)


async def test_giving_up_a_wait_leaves_the_message_alone(make_terminal: MakeTerminal) -> None:
    """A cancelled wait cancels neither the handler nor the wait of somebody else."""
    stage = Stage(hold={0})
    async with make_terminal([stage.work]) as terminal:
        delivery = terminal.bus.emit(Work(0))
        impatient, patient = (asyncio.create_task(delivery.wait()) for _ in range(2))
        await settle()
        impatient.cancel()
        await settle()
        assert impatient.cancelled()
        assert (stage.cancelled, delivery.done(), patient.done()) == ([], False, False)
        stage.release(0)
        assert await patient is None
        assert stage.finished == [0]
        assert ledger(terminal) == Ledger(1, handled=1)


@pytest.mark.parametrize("failing", [False, True])
async def test_callbacks_get_the_delivery_after_its_end(
    make_terminal: MakeTerminal, *, failing: bool
) -> None:
    """One call each: those given with the message, added later, and added after the end."""
    calls: list[tuple[str, Any, bool]] = []

    def work(work: Work) -> None:
        if failing:
            raise Boom

    def note(name: str) -> Callable[[Delivery], None]:
        return lambda delivery: calls.append((name, delivery, delivery.done()))

    async with make_terminal([work]) as terminal:
        emitted = terminal.bus.emit(Work(0), key="a", callback=note("emit"))
        emitted.add_done_callback(note("later"))
        offered = await terminal.bus.offer(Work(1), key="a", callback=note("offer"))
        assert calls == []
        await terminal.drain()
        await settle()
        emitted.add_done_callback(note("after"))
        await settle()
        assert calls == [
            ("emit", emitted, True),
            ("later", emitted, True),
            ("offer", offered, True),
            ("after", emitted, True),
        ]
        assert ledger(terminal) == Ledger(2, handled=2 * (not failing), failed=2 * failing)
