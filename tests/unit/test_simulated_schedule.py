"""The schedule of the simulated loop: what a seed decides, and what it leaves alone."""

import asyncio
import itertools
import os
import subprocess
import sys
from functools import partial

import pytest
from unit.simulated import run_on

from runtime.testing import SimulatedLoop

SEEDS = range(20)

Log = list[str]


async def walk(log: Log, name: str, steps: int = 3) -> None:
    for _ in range(steps):
        log.append(name)
        await asyncio.sleep(0)


def order_of_steps(seed: int | None, *, debug: bool = False) -> Log:
    log: Log = []

    async def main() -> None:
        await asyncio.gather(*[walk(log, name) for name in "abcdef"])

    run_on(main(), seed=seed, debug=debug)
    return log


def test_without_a_seed_the_order_is_asyncios() -> None:
    """First come, first served."""
    assert order_of_steps(None) == list("abcdef" * 3)


def test_a_seed_gives_one_order_and_seeds_give_many() -> None:
    """The order depends on the seed, on all of it, and on nothing else."""
    orders = {seed: order_of_steps(seed) for seed in SEEDS}
    assert orders == {seed: order_of_steps(seed) for seed in SEEDS}
    assert orders == {seed: order_of_steps(seed, debug=True) for seed in SEEDS}
    assert len({tuple(order) for order in orders.values()}) == len(SEEDS)
    assert all(sorted(order) == sorted("abcdef" * 3) for order in orders.values())


def test_every_order_of_three_tasks_comes_up() -> None:
    """The shuffle is not confined to some of the orders."""

    def first_steps(seed: int) -> tuple[str, ...]:
        log: Log = []

        async def main() -> None:
            await asyncio.gather(*[walk(log, name, 1) for name in "abc"])

        run_on(main(), seed=seed)
        return tuple(log)

    assert {first_steps(seed) for seed in range(100)} == set(itertools.permutations("abc"))


PROGRAM = """
import asyncio
import sys
from runtime.testing import SimulatedLoop

log = []
pads = []

async def member(name):
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        for step in range(3):
            log.append(f"{name}{step}")
            await asyncio.sleep(0)
        raise

async def main():
    loop = asyncio.get_running_loop()
    loop.set_task_factory(getattr(asyncio, sys.argv[1], None))
    try:
        async with asyncio.TaskGroup() as group:
            for number, name in enumerate("abcdefghij"):
                # Lay tasks out in memory as no other process does.
                for _ in range(int(sys.argv[2]) * number % 7):
                    pads.extend(asyncio.Future() for _ in range(3))
                    pads.extend(bytes(size) for size in range(64, 512, 8))
                group.create_task(member(name))
            await asyncio.sleep(1)
            raise LookupError
    except* LookupError:
        print(*log)

with asyncio.Runner(loop_factory=lambda: SimulatedLoop(seed=7)) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize(
    "factory",
    [
        "lazy",
        pytest.param(
            "eager_task_factory",
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="new in CPython 3.12"),
        ),
    ],
)
def test_a_seed_means_the_same_in_every_process(factory: str) -> None:
    """Neither hashes nor addresses count, though a task group cancels from a set."""
    outputs: set[str] = set()
    for number in range(4):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, factory, str(number)],
            env={**os.environ, "PYTHONHASHSEED": str(number)},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert len(outputs.pop().split()) == 30


@pytest.mark.parametrize("seed", SEEDS)
def test_callbacks_keep_their_places(seed: int) -> None:
    """Only steps of tasks change places, and only with each other."""
    log: Log = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        for number in range(10):
            loop.call_soon(log.append, str(number))
            tasks.append(loop.create_task(walk(log, "step", 1)))
        await asyncio.wait(tasks)

    run_on(main(), seed=seed)
    assert log[0::2] == [str(number) for number in range(10)]
    assert log[1::2] == ["step"] * 10


@pytest.mark.parametrize("seed", SEEDS)
def test_a_method_of_a_task_is_a_callback(seed: int) -> None:
    """A cancellation that was scheduled is not taken for a step."""
    log: Log = []

    def note(number: int, victim: asyncio.Task[None]) -> None:
        log.append(f"{number} {victim.cancelling()}")

    def note_end(number: int, victim: asyncio.Task[None]) -> None:
        log.append(f"done {number}")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        victims = [loop.create_task(asyncio.sleep(1)) for _ in range(5)]
        await asyncio.sleep(0.5)
        for number, victim in enumerate(victims):
            victim.add_done_callback(partial(note_end, number))
            loop.call_soon(log.append, f"before {number}")
            loop.call_soon(note, number, victim)
            loop.call_soon(victim.cancel)
            loop.call_soon(note, number, victim)
        await asyncio.wait(victims)

    run_on(main(), seed=seed)
    assert log[:15] == [
        line for number in range(5) for line in (f"before {number}", f"{number} 0", f"{number} 1")
    ]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new in CPython 3.12")
def test_eager_tasks() -> None:
    """Tasks that begin at once are shuffled from their second step on."""

    def order(seed: int | None) -> Log:
        log: Log = []

        async def main() -> None:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
            await asyncio.gather(*[walk(log, name) for name in "abcdef"])

        run_on(main(), seed=seed)
        return log

    assert order(None) == list("abcdef" * 3)
    assert all(order(seed)[:6] == list("abcdef") for seed in SEEDS)
    assert len({tuple(order(seed)) for seed in SEEDS}) == len(SEEDS)


def test_the_seed_is_there_to_read() -> None:
    """A loop says which seed it was made with."""
    for seed in (None, 0, 42):
        loop = SimulatedLoop(seed=seed)
        assert loop.seed == seed
        loop.close()
