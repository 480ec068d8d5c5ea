"""The long runs: `make stress`. What is measured is printed."""

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from reliability.memory import resident_bytes
from reliability.scenarios import (
    BATCH,
    always,
    emit_many,
    enter_all,
    leave_all,
    overload,
    overtakings,
)
from reliability.support import Work, assert_ledger, make_terminal

from runtime import run
from runtime.testing import Simulate

pytestmark = pytest.mark.stress

MILLION = 1_000_000
ACTIVE = 1_000


def test_h7_ten_million_messages_leave_nothing_behind() -> None:
    """The resident set grows by less than a byte for each message, and no object is left."""
    count = 10 * MILLION
    grown, objects = run(emit_many(count, measure=resident_bytes))
    print(f"\n{count:,} emits: {grown / count:+.4f} bytes each, {objects:+} objects")
    assert grown / count < 1
    assert objects <= 0


def test_b13_a_million_idle_scopes_cost_bytes_and_no_time() -> None:
    """Each takes 250 bytes at most, and 1,000 are as fast among them as they are alone."""
    handled = 0

    def handle(work: Work) -> None:
        nonlocal handled
        handled += 1

    async def activate(scopes: list[Any], terminal: Any) -> float:
        """Let a message go through each of some scopes, and return how long that took."""
        began = time.perf_counter()
        for scope in scopes:
            scope.bus.emit(Work(0))
        await terminal.drain()
        return time.perf_counter() - began

    async def main() -> None:
        async with make_terminal(handle) as crowded, make_terminal(handle) as empty:
            names = [f"user:{number}" for number in range(MILLION)]
            idle: list[Any] = [None] * MILLION
            gc.collect()
            before = resident_bytes()
            await enter_all(crowded, names, idle)
            each = (resident_bytes() - before) / MILLION
            alone: list[Any] = [None] * ACTIVE
            await enter_all(empty, names[:ACTIVE], alone)
            # Neighbours, as those are which were opened alone.
            active = idle[MILLION // 2 : MILLION // 2 + ACTIVE]
            times: dict[str, list[float]] = {"among idle": [], "alone": []}
            gc.disable()
            try:
                for _ in range(200):
                    times["among idle"].append(await activate(active, crowded))
                    times["alone"].append(await activate(alone, empty))
            finally:
                gc.enable()
            ratio = statistics.median(times["among idle"]) / statistics.median(times["alone"])
            print(
                f"\n{MILLION:,} idle scopes: {each:.0f} bytes each; {ACTIVE:,} active: {ratio:.2f}x"
            )
            for terminal, scopes in (crowded, idle), (empty, alone):
                await leave_all(scopes)
                count = 200 * ACTIVE
                assert_ledger(terminal.stats(), emitted=count, handled=count, pending=0, scopes=0)
            assert handled == 400 * ACTIVE
            assert each <= 250
            assert ratio <= 1.1

    run(main())


@pytest.mark.parametrize("pauses", [None, always], ids=["synchronous", "suspends"])
def test_a8_a_million_messages_let_the_others_go_first(
    pauses: Callable[[Work], bool] | None,
) -> None:
    """Nobody waits for more than one batch of a mailbox that has a million messages."""
    waited = run(overtakings(MILLION, pauses=pauses))
    print(f"\n{MILLION:,} messages to one mailbox: the others waited for {max(waited)} at most")
    assert max(waited) <= BATCH


def test_b1_overload_takes_no_memory(simulate: Simulate) -> None:
    """A producer that is ten times too fast leaves the resident set within 5 MB."""
    simulate(overload(10_000, 1_024))
    before = resident_bytes()
    depth, seconds = simulate(overload(100_000, 1_024))
    grown = resident_bytes() - before
    print(f"\n100,000 messages at ten times the pace: {grown / 1e6:+.1f} MB")
    assert depth == 1_024
    assert seconds == pytest.approx((100_000 - 1_024) * 0.01, abs=0.03)
    assert grown < 5_000_000
