"""What the runtime takes beside time: bytes for idle scopes, blocks left behind, its import."""

import gc
import resource
import sys
import tracemalloc
from typing import Any

from benchmarks.imports import NEEDED, SUBJECT, importing
from benchmarks.registries import registry_of
from benchmarks.workload import BURST, EVENT, handle
from runtime import BusTerminal

SCOPES = 31_250
"""They fill the dictionary of mailboxes as much as 1,000,000 would."""
WARM = 20_000
OPERATIONS = 100_000
TIMES = 3


async def scope_bytes() -> tuple[float, float]:
    """Return the bytes of an idle named scope, and of one whose bus was touched.

    These are the bytes asked for: what the allocator rounds up is some 5 % more.
    """
    names = [f"user:{number}" for number in range(SCOPES)]
    async with BusTerminal(registry_of()) as terminal:
        async with terminal.scope("warm") as warm:
            warm.bus  # noqa: B018 -- that makes it
        held: list[Any] = [None] * SCOPES
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for number, name in enumerate(names):
                held[number] = await terminal.scope(name).__aenter__()
            idle = tracemalloc.get_traced_memory()[0] - before
            for scope in held:
                scope.bus  # noqa: B018 -- that makes it
            touched = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        for scope in held:
            await scope.__aexit__(None, None, None)
    return idle / SCOPES, touched / SCOPES


async def blocks_left() -> int:
    """Return by how many blocks the heap grows over warm publishes and emits.

    One more worker may be at rest at the end than at the beginning; a leak shows every time.
    """
    async with BusTerminal(registry_of(handle)) as terminal, terminal.scope("orders") as scope:

        async def work(count: int) -> None:
            for _ in range(count // BURST):
                for _ in range(BURST):
                    await terminal.bus.publish(EVENT)
                    terminal.bus.emit(EVENT)
                    scope.bus.emit(EVENT)
                await terminal.drain()

        async def growth() -> int:
            gc.collect()
            before = sys.getallocatedblocks()
            # Once more: now the number itself is among them.
            before = sys.getallocatedblocks()
            await work(OPERATIONS)
            gc.collect()
            return sys.getallocatedblocks() - before

        await work(WARM)
        return min([await growth() for _ in range(TIMES)])


async def import_milliseconds(rounds: int) -> float:
    """Return the CPU time that importing the package adds to that of what a service needs anyhow.

    Other programs only ever add to it, so that the shortest of interleaved rounds counts.
    """
    floor: list[float] = []
    subject: list[float] = []
    async with importing(NEEDED) as needed, importing(SUBJECT) as whole:
        for _ in range(rounds):
            for run, times in (needed, floor), (whole, subject):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                await run(1)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return (min(subject) - min(floor)) * 1e3
