"""What the latency tool computes: schedules, intended times, percentiles."""

import asyncio
import math
import random
import statistics
from array import array
from collections.abc import Callable

import pytest

from benchmarks.loads import QUIET, SYSTEMS, Order
from benchmarks.openloop import HOT, Latencies, Schedule, drive, percentile, poisson


class Clock:
    """A clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def paced(seconds: float, count: int) -> Schedule:
    """Return a schedule of quiet messages, evenly spread."""
    return Schedule(array("d", (seconds * n for n in range(count))), array("l", [0]) * count)


def driven(schedule: Schedule, handling: Callable[[int], float]) -> list[float]:
    """Send by a schedule to a consumer that takes its time; return the latencies in order."""
    clock = Clock()
    latencies = Latencies(schedule)

    def send(number: int, _box: int, due: float) -> None:
        assert clock.now >= due - 1e-9
        clock.now += handling(number)
        latencies.values[number] = clock.now - due

    async def turn() -> None:
        clock.now += 0.0001

    asyncio.run(drive(schedule, send, clock, turn))
    return latencies.of(hot=False)


@pytest.mark.parametrize("count", [2, 3, 10, 1_000])
def test_percentiles_are_those_of_the_statistics_module(count: int) -> None:
    chance = random.Random(count)
    figures = sorted(chance.lognormvariate(0, 1) for _ in range(count))
    wanted = statistics.quantiles(figures, n=1_000, method="inclusive")
    assert [percentile(figures, n / 10) for n in range(1, 1_000)] == pytest.approx(wanted)
    assert percentile(figures, 0) == figures[0]
    assert percentile(figures, 100) == figures[-1]


def test_nothing_has_no_percentile() -> None:
    assert math.isnan(percentile([], 99))


def test_a_consumer_that_keeps_up_is_as_slow_as_its_handler() -> None:
    latencies = driven(paced(0.001, 1_000), lambda _number: 0.0001)
    assert percentile(latencies, 99) < 0.0003


def test_a_stall_counts_for_all_that_should_have_been_sent_meanwhile() -> None:
    latencies = driven(paced(0.001, 1_000), lambda number: 0.2 if number == 500 else 0.0001)
    # A sender that waits would have seen one slow message in 1,000: its p99 would be 0.1 ms.
    late = [each for each in latencies if each > 0.001]
    assert 200 <= len(late) <= 230
    assert percentile(latencies, 99) == pytest.approx(0.191, abs=0.005)
    assert percentile(latencies, 90) == pytest.approx(0.109, abs=0.01)


def test_what_is_overdue_is_sent_in_one_turn() -> None:
    clock, turns = Clock(), 0
    sent: list[tuple[int, int]] = []

    async def turn() -> None:
        nonlocal turns
        turns += 1
        clock.now += 1.0

    def send(number: int, box: int, due: float) -> None:
        sent.append((turns, number))

    asyncio.run(drive(paced(0.1, 25), send, clock, turn))
    assert sent == [(math.ceil(number / 10), number) for number in range(25)]


def test_arrivals_have_the_rates_that_were_asked_for_and_a_seed_fixes_them() -> None:
    schedule = poisson(3_000, 1_000, 5, QUIET, seed=1)
    again, other = poisson(3_000, 1_000, 5, QUIET, seed=1), poisson(3_000, 1_000, 5, QUIET, seed=2)
    assert schedule.times == again.times
    assert schedule.boxes == again.boxes
    assert schedule.times != other.times
    assert list(schedule.times) == sorted(schedule.times)
    assert schedule.times[-1] < 5
    latencies = Latencies(schedule)
    assert latencies.offered(hot=True) == pytest.approx(15_000, rel=0.05)
    assert latencies.offered(hot=False) == pytest.approx(5_000, rel=0.05)
    assert set(schedule.boxes) <= {HOT, *range(QUIET)}
    gaps = [b - a for a, b in zip(schedule.times, schedule.times[1:], strict=False)]
    # Arrivals that know nothing of each other: gaps spread as widely as they are long.
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.05)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_full_mailbox_rejects_and_all_else_is_handled(system: str) -> None:
    async def main() -> None:
        clock = Clock()
        async with SYSTEMS[system](clock) as load:
            load.handled.latencies = array("d", [-1.0]) * 1_200
            room = [load.send(Order(n, 99.0, 0.0), HOT) for n in range(1_100)]
            assert load.send(Order(1_100, 99.0, 0.0), 5)
            await load.settle()
            assert room.count(True) == 1_024
            assert load.handled.count == 1_025
            assert load.handled.latencies.count(1.0) == 1_025
            assert load.handled.latencies[1_100] == 1.0

    asyncio.run(main())
