"""Measure latency from emit to handled, under load: ``python -m benchmarks.latency``.

One hot mailbox among 1,000 quiet ones. Saturation is measured first, in a closed loop that keeps a
window of messages in flight. Then messages are sent in an open loop, on a Poisson schedule that is
fixed in advance and printed with its seed; latency counts from the intended times, so nothing that
holds the sender up is left out. The sender shares the loop and the thread with what it measures:
its own time is part of the saturation, and a message that is due while a handler runs is sent, and
counted, late.

The clock is the wall's. On a machine that is not quiet ``--clock cpu`` counts only the time in
which this thread ran: what other programs take away is left out, as a service would not have it.
"""

import argparse
import asyncio
import gc
import platform
import statistics
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import runtime
from benchmarks import results
from benchmarks.budgets import LIMITS
from benchmarks.loads import HOT_PAUSE, LINES, QUIET, SYSTEMS, Clock, Load, Order
from benchmarks.openloop import (
    HOT,
    PERCENTILES,
    Latencies,
    drive,
    percentile,
    poisson,
)

SEED = 7
SECONDS = 3.0
WINDOW = 256
PROBE_SECONDS = 0.3
STEADY = 0.9
"""A run counts if the saturation after it is at least this much of the one before it."""
UNDISTURBED = 0.99
"""... and if the thread, which never sleeps, had at least this much of the time."""
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.thread_time}
TRIES = 3
PROMISE_MS = next(each.budget for each in LIMITS if each.name.startswith("p99 of quiet"))


@dataclass(frozen=True)
class Scenario:
    """How much is sent, as parts of the saturation of the system that it is sent to."""

    name: str
    hot: float
    quiet: float
    pause: float = 0
    """How long the hot mailbox's handler waits."""

    def rates(self, saturation: float) -> tuple[float, float]:
        """Return how many messages a second go to the hot mailbox, and to the quiet ones."""
        # Where its handler waits, the hot mailbox is sent twice what it can take.
        hot = 2 / self.pause if self.pause else self.hot * saturation
        return hot, self.quiet * saturation


SCENARIOS = (
    Scenario("50 %", 0.25, 0.25),
    Scenario("90 %", 0.45, 0.45),
    Scenario("hot one overloaded", 1.25, 0.25),
    Scenario("hot one waits", 0, 0.5, HOT_PAUSE),
)


@dataclass
class Part:
    """What became of the messages to one part of the mailboxes."""

    offered: int
    handled: int
    rejected: int
    percentiles: list[tuple[float, float]]
    """Each with its latency in nanoseconds."""

    def at(self, percent: float) -> float:
        """Return a percentile, in milliseconds."""
        return dict(self.percentiles)[percent] / 1e6


@dataclass
class Run:
    """One scenario on one system."""

    system: str
    scenario: str
    seed: int
    seconds: float
    saturation: float
    """Messages a second, measured just before."""
    saturation_after: float
    rate: float
    cpu: float
    """How much of the wall's time the thread ran, which never sleeps."""
    clock: str
    hot: Part
    quiet: Part
    tries: int = field(default=1)

    @property
    def trouble(self) -> str | None:
        """What the machine did that makes the figures doubtful."""
        if self.clock == "wall" and self.cpu < UNDISTURBED:
            return f"other programs took {1 - self.cpu:.0%} of the time"
        if self.saturation_after < STEADY * self.saturation:
            return (
                f"the machine has become slower: saturation {self.saturation:.0f}/s before, "
                f"{self.saturation_after:.0f}/s after"
            )
        return None


async def saturate(load: Load, scenario: Scenario) -> float:
    """Return how many messages a second are handled if a window of them is always in flight.

    A message costs what it will cost in the open loop, its latency included.
    """
    # No handler waits in here: the thread is what is saturated.
    hot = scenario.hot / ((scenario.hot + scenario.quiet) or 1)
    boxes = poisson(hot * 10_000, (1 - hot) * 10_000, 1, QUIET, SEED).boxes
    send, clock, handled = sender(load, 0, Counter()), load.handled.clock, load.handled
    rates: list[float] = []
    for _ in range(3):
        handled.latencies = array("d", bytes(8 * len(boxes)))
        gc.collect()
        handled.count = sent = 0
        began = now = clock()
        while now - began < PROBE_SECONDS:
            while sent - handled.count < WINDOW:
                place = sent % len(boxes)
                send(place, boxes[place], now)
                sent += 1
            await asyncio.sleep(0)
            now = clock()
        rates.append(handled.count / (now - began))
        await load.settle()
    handled.latencies = None
    return statistics.median(rates)


def sender(
    load: Load, pause: float, rejected: "Counter[bool]"
) -> Callable[[int, int, float], None]:
    """Return what sends one message, and counts it if there was no room, hot or not."""

    def send(number: int, box: int, due: float) -> None:
        if not load.send(Order(number, due, pause if box == HOT else 0.0, LINES), box):
            rejected[box == HOT] += 1

    return send


async def observe(
    load: Load, scenario: Scenario, rates: tuple[float, float], seconds: float, seed: int
) -> tuple[Part, Part]:
    """Send by a schedule, and return what became of the hot messages and of the quiet ones."""
    schedule = poisson(*rates, seconds, QUIET, seed)
    latencies = Latencies(schedule)
    rejected: Counter[bool] = Counter()
    send = sender(load, scenario.pause, rejected)
    load.handled.latencies = latencies.values
    # The collector stays on, as in a service; what was made before is none of its business.
    gc.collect()
    gc.freeze()
    try:
        await drive(schedule, send, load.handled.clock, lambda: asyncio.sleep(0))
        await load.settle()
    finally:
        gc.unfreeze()
        load.handled.latencies = None
    hot, quiet = (part(latencies, rejected[hot], hot=hot) for hot in (True, False))
    return hot, quiet


def part(latencies: Latencies, rejected: int, *, hot: bool) -> Part:
    """Sum one part of the mailboxes up."""
    ordered = latencies.of(hot=hot)
    return Part(
        latencies.offered(hot=hot),
        len(ordered),
        rejected,
        [(percent, percentile(ordered, percent) * 1e9) for percent in PERCENTILES],
    )


async def run_once(system: str, scenario: Scenario, seconds: float, seed: int, clock: str) -> Run:
    """Measure one scenario on one system, its saturation before and after."""
    async with SYSTEMS[system](CLOCKS[clock]) as load:
        before = await saturate(load, scenario)
        rates = scenario.rates(before)
        wall, cpu = time.perf_counter(), time.thread_time()
        hot, quiet = await observe(load, scenario, rates, seconds, seed)
        share = (time.thread_time() - cpu) / (time.perf_counter() - wall)
        after = await saturate(load, scenario)
    return Run(
        system, scenario.name, seed, seconds, before, after, sum(rates), share, clock, hot, quiet
    )


def measure(system: str, scenario: Scenario, seconds: float, seed: int, clock: str) -> Run:
    """Measure one scenario on one system; again, if the machine was disturbed meanwhile."""
    run = runtime.run(run_once(system, scenario, seconds, seed, clock))
    while run.trouble is not None and run.tries < TRIES:
        tries = run.tries + 1
        run = runtime.run(run_once(system, scenario, seconds, seed, clock))
        run.tries = tries
    return run


HEAD = (
    f"{'':<40} {'rate':>9} {'p50':>9} {'p99':>9} {'p99.9':>9} {'max':>9}  "
    f"{'sent':>9} {'rejected':>9}"
)


def lines(run: Run) -> list[str]:
    """Write the rows of one run."""
    rows: list[str] = []
    for name, each in (("hot", run.hot), ("quiet", run.quiet)):
        title = f"{run.scenario:<20} {run.system:<14} {name:<5}"
        figures = " ".join(f"{each.at(percent):>6.3f} ms" for percent in (50.0, 99.0, 99.9, 100.0))
        rate = each.offered / run.seconds
        rows.append(f"{title:<40} {rate:>7.0f}/s {figures}  {each.offered:>9} {each.rejected:>9}")
    if run.trouble is not None:
        rows.append(f"  doubtful, in each of {run.tries} tries: {run.trouble}")
    return rows


def judge(runs: Sequence[Run]) -> list[str]:
    """Say whether the quiet mailboxes of the runtime were as quick as promised."""
    return [
        f"{run.scenario}: p99 of the quiet mailboxes {run.quiet.at(99.0):.3f} ms, promised "
        f"{PROMISE_MS:g} ms: {'met' if run.quiet.at(99.0) <= PROMISE_MS else 'NOT MET'}"
        for run in runs
        if run.system == "runtime"
    ]


def as_data(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the runs for a file, with their whole distributions."""
    return {
        "promise_ms": PROMISE_MS,
        "quiet_mailboxes": QUIET,
        "runs": [asdict(r) | {"trouble": r.trouble} for r in runs],
    }


def main() -> int:
    """Measure, print and write the latencies."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of each run")
    parser.add_argument("--seed", type=int, default=SEED, help="of the schedules")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="what time is counted")
    options = parser.parse_args()
    print(
        f"CPython {platform.python_version()}, one hot mailbox among {QUIET:,} quiet ones, open "
        f"loop, Poisson arrivals, seed {options.seed}, {options.seconds:g} s each, "
        f"{options.clock} clock"
    )
    print(HEAD)
    runs: list[Run] = []
    for scenario in SCENARIOS:
        for system in SYSTEMS:
            run = measure(system, scenario, options.seconds, options.seed, options.clock)
            runs.append(run)
            print("\n".join(lines(run)), flush=True)
    print("\n".join(judge(runs)))
    print(f"written to {results.write('latency', as_data(runs))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
