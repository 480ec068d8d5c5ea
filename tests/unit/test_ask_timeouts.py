"""When many ask at once, each stops waiting at its own time."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from runtime import BusTerminal, Command, Event, MessageRegistry
from runtime.errors import AskTimeout
from runtime.testing import simulate

TIMEOUTS = (1.0, 2.5, 4.0)


class Work(Command[float]):
    seconds: float


async def work(command: Work) -> float:
    await asyncio.sleep(command.seconds)
    return command.seconds


asks = st.tuples(
    st.sampled_from([0.0, 0.0, 0.25, 1.0]),  # seconds after the one before
    st.sampled_from([0.0, 0.5, 1.5, 3.0, 9.0]),  # how long it takes
    st.sampled_from(TIMEOUTS),
    st.sampled_from([None, None, 0.625, 2.25]),  # when its caller loses interest
)


async def run(program: list[tuple[float, float, float, float | None]]) -> None:
    loop = asyncio.get_running_loop()
    registry = MessageRegistry(event_base=Event)
    registry.register(work)

    async def ask(number: int, takes: float, timeout: float) -> tuple[str, float]:
        start = loop.time()
        try:
            await terminal.bus.ask(Work(takes), key=number, timeout=timeout)
        except AskTimeout:
            return "timeout", loop.time() - start
        except asyncio.CancelledError:
            return "cancelled", loop.time() - start
        return "reply", loop.time() - start

    async with BusTerminal(registry, concurrency=1_000) as terminal:
        tasks: list[asyncio.Task[tuple[str, float]]] = []
        expected: list[tuple[str, float]] = []
        for number, (pause, takes, timeout, interest) in enumerate(program):
            if pause:
                await asyncio.sleep(pause)
            tasks.append(asyncio.create_task(ask(number, takes, timeout)))
            await asyncio.sleep(0)
            ends = [(takes, "reply"), (timeout, "timeout")]
            if interest is not None:
                ends.append((interest, "cancelled"))
                loop.call_later(interest, tasks[-1].cancel)
            time, how = min(ends)
            expected.append((how, time))
        assert await asyncio.gather(*tasks) == expected


@given(program=st.lists(asks, max_size=40), repeated=st.sampled_from([1, 20]))
def test_each_ask_ends_at_its_own_time(
    program: list[tuple[float, float, float, float | None]], repeated: int
) -> None:
    """By the reply, the timeout or its caller, whichever comes first, also among hundreds."""
    simulate(run(program * repeated))
