"""The simulated loop: its clock jumps over idle time, and waits for threads and sockets."""

import asyncio
import logging
import math
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unit.simulated import go_round, run_on

from runtime.testing import SimulatedLoop, Stalled

SEEDS = range(20)
YEAR = 365 * 24 * 3600.0

# The clock.


@pytest.mark.parametrize("start", [0.0, 1e9])
def test_clock_begins_at_start_and_jumps_over_sleep(start: float) -> None:
    """Sleeping moves the clock by exactly what was slept, however long."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert loop.time() == start
        await asyncio.sleep(0.25)
        assert loop.time() == start + 0.25
        await asyncio.sleep(YEAR)
        assert loop.time() == start + 0.25 + YEAR

    run_on(main(), start=start)


def test_blocking_lets_time_pass_and_nothing_run() -> None:
    """Timers that have become due fire when the loop goes round, in their order."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        fired: list[tuple[str, float]] = []

        def note(name: str) -> None:
            fired.append((name, loop.time()))

        for name, delay in (("third", 1.5), ("first", 0.25), ("second", 0.5)):
            loop.call_later(delay, note, name)
        loop.block(0.5)
        loop.block(0)
        assert (loop.time(), fired) == (0.5, [])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert fired == [("first", 0.5), ("second", 0.5)]
        await asyncio.sleep(1)
        assert fired[2:] == [("third", 1.5)]

    run_on(main())


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_blocking_takes_a_span_of_time(seconds: float) -> None:
    """The clock goes on by some finite time, and never back."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        with pytest.raises(ValueError, match="finite number of seconds"):
            loop.block(seconds)
        assert loop.time() == 0.0

    run_on(main())


def test_clock_stands_still_while_anything_is_ready() -> None:
    """A timer does not fire as long as a task has steps to do."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(1e-9, pytest.fail)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert loop.time() == 0.0

    run_on(main())


@given(
    st.floats(0, 1e15),
    st.lists(st.floats(0, 1e5) | st.sampled_from([0.1, 1 / 3, 5e-324, 1e-9]), max_size=20),
)
def test_timers_fire_when_they_are_due(start: float, delays: list[float]) -> None:
    """The clock shows the moment that a timer was set for, neither less nor more, at any size."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        due: list[tuple[float, float]] = []

        def note(when: float) -> None:
            due.append((loop.time(), when))

        for delay in delays:
            when = loop.time() + delay
            loop.call_at(when, note, when)
            await asyncio.sleep(delay / 3)
        await asyncio.sleep(1e6)
        assert [shown for shown, _ in due] == sorted(when for _, when in due)
        assert all(shown == when for shown, when in due)
        assert len(due) == len(delays)

    run_on(main(), start=start)


# Here the difference is rounded so that `start` and the difference add up to more, or to less.
@example(0.384048124755071, 1.6688519785550844)
@example(0.15604468727413645, 1.3767909247615877)
@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_timers_are_exact_though_differences_are_rounded(start: float, when: float) -> None:
    """So it is for a moment that is not a sum."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        fired: asyncio.Future[None] = loop.create_future()
        loop.call_at(when, fired.set_result, None)
        await fired
        assert loop.time() == max(start, when)

    run_on(main(), start=start)


def test_timers_of_one_moment_fire_in_the_order_they_were_set() -> None:
    """Timers that are due together keep their order, and none of a later moment joins them."""
    fired: list[tuple[float, int]] = []
    later = math.nextafter(1.0, 2.0)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def note(number: int) -> None:
            fired.append((loop.time(), number))

        for number in range(100):
            loop.call_at(1.0, note, number)
        loop.call_at(later, note, 100)
        await asyncio.sleep(2)

    run_on(main())
    assert fired == [*((1.0, number) for number in range(100)), (later, 100)]


def test_many_timers() -> None:
    """A hundred thousand timers fire, each at its moment, in order."""
    total = 100_000

    async def main() -> None:
        loop = asyncio.get_running_loop()
        fired: list[float] = []
        for number in range(total):
            # 7919 is prime to the total: every moment once, out of order.
            loop.call_at(float(number * 7919 % total), lambda: fired.append(loop.time()))
        await asyncio.sleep(total)
        assert fired == [float(moment) for moment in range(total)]

    run_on(main())


def test_cancelled_timers_do_not_move_the_clock() -> None:
    """A timeout that was not needed leaves no trace."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(1000):
            async with asyncio.timeout(60):
                await asyncio.sleep(0.5)
        loop.call_later(1.0, pytest.fail).cancel()
        assert loop.time() == 500.0
        await asyncio.sleep(10)
        assert loop.time() == 510.0

    run_on(main())


def test_timeouts_expire_in_virtual_time() -> None:
    """What waits for nothing is ended by its timeout, at once."""

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        assert asyncio.get_running_loop().time() == 30.0

    run_on(main())


def test_a_timer_at_infinity_is_never_due() -> None:
    """Sleeping for ever is waiting for nothing, not a clock that runs for ever."""

    async def main() -> None:
        asyncio.get_running_loop().call_later(math.inf, pytest.fail).cancel()
        await asyncio.sleep(math.inf)

    with pytest.raises(Stalled):
        run_on(main(), stall=0)


# Threads and sockets.


@pytest.mark.parametrize("own", [False, True], ids=["default executor", "own executor"])
def test_clock_waits_for_jobs_in_threads(own: bool) -> None:
    """No timer fires while a job is under way, however idle the loop is."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        executor = ThreadPoolExecutor(1) if own else None
        timer = loop.call_later(1e-6, pytest.fail)
        await loop.run_in_executor(executor, go_round, loop)
        assert loop.time() == 0.0
        timer.cancel()
        await asyncio.sleep(1)
        assert loop.time() == 1.0
        if executor is not None:
            executor.shutdown()

    run_on(main())


def test_clock_waits_for_a_job_whose_future_was_cancelled() -> None:
    """Nobody awaits the job any more, but it is still under way."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        started, ended = asyncio.Event(), threading.Event()

        def job() -> None:
            loop.call_soon_threadsafe(started.set)
            go_round(loop)
            ended.set()

        future = loop.run_in_executor(None, job)
        await started.wait()
        future.cancel()
        await asyncio.sleep(1)
        assert ended.is_set()

    run_on(main())


def test_a_job_that_never_started_does_not_hold_the_clock() -> None:
    """A job that was cancelled in its queue is not under way."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        release = threading.Event()
        with ThreadPoolExecutor(1) as one:
            first = loop.run_in_executor(one, release.wait)
            second = loop.run_in_executor(one, pytest.fail)
            second.cancel()
            release.set()
            await first
            await asyncio.sleep(1)

    run_on(main())


def test_default_executor_can_be_set() -> None:
    """The program's own default executor is used, and has to be one of threads."""
    names: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(TypeError, match="must be a ThreadPoolExecutor"):
            loop.set_default_executor(object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="mine"))
        names.append(await asyncio.to_thread(lambda: threading.current_thread().name))

    run_on(main())
    assert names == ["mine_0"]


def test_shutting_threads_down_takes_no_virtual_time() -> None:
    """Joining threads has a timeout on CPython 3.12, which must not be jumped over."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, go_round, loop)
        timer = loop.call_later(1e-6, pytest.fail)
        await loop.shutdown_default_executor()
        timer.cancel()

    run_on(main())


def test_shutting_threads_down_is_not_stalling() -> None:
    """While threads are joined something does happen, though no job is under way any more."""

    async def main() -> None:
        await asyncio.to_thread(int)

    for _ in range(10):
        run_on(main(), stall=0)


def test_sockets_that_are_ready_come_before_timers() -> None:
    """What can be read is read before the clock jumps."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")

        async def main() -> None:
            loop = asyncio.get_running_loop()
            readable = asyncio.Event()
            loop.add_reader(ours, readable.set)
            async with asyncio.timeout(1e-6):
                await readable.wait()
            assert loop.time() == 0.0
            loop.remove_reader(ours)

        run_on(main())


@pytest.mark.parametrize("seed", [None, *SEEDS])
def test_streams_work_under_any_seed(seed: int | None) -> None:
    """Transports of asyncio get their callbacks in the order that they rely on."""
    lines = [f"line {number}\n".encode() for number in range(50)]

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            writer.write(line)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def ask(port: int) -> list[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.writelines(lines)
        writer.write_eof()
        answers = [line async for line in reader]
        writer.close()
        await writer.wait_closed()
        return answers

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        assert await asyncio.gather(*[ask(port) for _ in range(5)]) == [lines] * 5
        server.close()
        await server.wait_closed()

    run_on(main(), seed=seed)


def test_another_thread_wakes_an_idle_loop() -> None:
    """A foreign thread may answer without being a job of the loop."""

    async def main() -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        thread = threading.Thread(
            target=loop.call_soon_threadsafe, args=(answer.set_result, "hello")
        )
        thread.start()
        try:
            return await answer
        finally:
            thread.join()

    assert run_on(main()) == "hello"


def test_stalled_says_who_waits_where() -> None:
    """A loop in which nothing can happen ends, with each task and its line."""

    async def wait_for(event: asyncio.Event) -> None:
        await event.wait()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait_for(asyncio.Event()), name="reader")
            await asyncio.get_running_loop().create_future()

    with pytest.raises(Stalled, match="something that nobody will do") as caught:
        run_on(main(), stall=0)
    text = str(caught.value)
    waits = wait_for.__code__.co_firstlineno + 1
    stands = main.__code__.co_firstlineno + 3
    assert f"reader: {wait_for.__qualname__}() at {__file__}:{waits}" in text
    assert f"{main.__qualname__}() at {__file__}:{stands}" in text


# Failures that nobody awaits.


def fail() -> None:
    msg = "nobody awaits this"
    raise LookupError(msg)


@pytest.mark.parametrize("handled", [False, True], ids=["default handler", "own handler"])
def test_uncaught_failures_are_kept_and_reported(
    handled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """`uncaught` has what the exception handler was told, which is told all the same."""
    told: list[dict[str, Any]] = []

    async def main() -> list[dict[str, object]]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        if handled:
            loop.set_exception_handler(lambda _, context: told.append(context))
        loop.call_soon(fail)
        await asyncio.sleep(0)
        return loop.uncaught

    with caplog.at_level(logging.ERROR):
        uncaught = run_on(main())
    assert [str(each["exception"]) for each in uncaught] == ["nobody awaits this"]
    assert told == (uncaught if handled else [])
    assert ("nobody awaits this" in caplog.text) is not handled


def test_selector_follows_what_is_watched() -> None:
    """Files can be watched for reading, then for writing too, then no longer."""
    ours, theirs = socket.socketpair()
    events: list[str] = []

    def note(event: str, then: Callable[[socket.socket], bool]) -> None:
        events.append(event)
        then(ours)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, note, "read", loop.remove_reader)
        loop.add_writer(ours, note, "write", loop.remove_writer)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        theirs.send(b"x")
        await asyncio.sleep(1)

    with ours, theirs:
        run_on(main())
    assert events == ["write", "read"]
