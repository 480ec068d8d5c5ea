"""How programs end on a signal.

They say `ready` when the signal may come; nobody sleeps.
"""

import signal
import sys
from unittest.mock import ANY

import pytest
from reliability.programs import LOOPS, Program

INTERRUPTS = ["SIGINT", "SIGTERM"]

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

NESTED = """
async def main():
    async with make("outer") as outer, make("inner") as inner:
        await fill(outer, inner)
        await wait_for_signal()

start(main())
"""

UNCLOSED = """
async def main():
    first, second = make("outer"), make("inner")
    await fill(first, second)
    await wait_for_signal()

start(main())
"""

CAUGHT = """
async def main():
    await fill(make("outer"))
    try:
        await wait_for_signal()
    except asyncio.CancelledError:
        return "kept"

start(main())
"""

RAISING = """
async def main():
    await fill(make("outer"))
    try:
        await wait_for_signal()
    finally:
        raise LookupError("main's own")

try:
    start(main())
except LookupError as error:
    say(error)
"""

STUCK = """
async def main():
    async with make("outer", stuck=True) as outer:
        await fill(outer)
        await wait_for_signal()

start(main())
"""

STUCK_UNCLOSED = """
async def main():
    await fill(make("outer", stuck=True))
    await wait_for_signal()

start(main())
"""

OWN_HANDLER = """
def own(number, frame):
    loop.call_soon_threadsafe(ending.set_result, signal.Signals(number).name)

async def main():
    global loop, ending
    loop = asyncio.get_running_loop()
    ending = loop.create_future()
    say("ready")
    return await ending

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, own)
start(main())
"""


def ending(name: str) -> str:
    return "KeyboardInterrupt" if name == "SIGINT" else "SystemExit 0"


@posix
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", INTERRUPTS)
@pytest.mark.parametrize("code", [NESTED, UNCLOSED], ids=["nested", "unclosed"])
def test_a_signal_closes_terminals_in_order(loop: str, name: str, code: str) -> None:
    """What is queued is handled, and the terminal that was opened last is closed first."""
    program = Program(loop, code)
    program.send_after("ready", name)
    status, lines, stderr = program.end()
    assert (status, stderr) == (0, "")
    assert lines[0] == "cancelled"
    assert [line for line in lines if line.startswith("inner")] == [
        "inner 1",
        "inner 2",
        "inner closed",
    ]
    assert [line for line in lines if line.startswith("outer")] == [
        "outer 1",
        "outer 2",
        "outer closed",
    ]
    assert lines.index("inner closed") < lines.index("outer closed")
    assert lines[-1] == ending(name)


@posix
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", INTERRUPTS)
def test_a_result_in_spite_of_the_signal_is_returned(loop: str, name: str) -> None:
    """A program that catches the cancellation ends as it likes, terminals closed."""
    program = Program(loop, CAUGHT)
    program.send_after("ready", name)
    status, lines, stderr = program.end()
    assert (status, stderr) == (0, "")
    assert lines[-4:] == ["outer 1", "outer 2", "outer closed", "result kept"]


@posix
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", INTERRUPTS)
def test_an_error_after_the_signal_is_raised(loop: str, name: str) -> None:
    """The program's own error wins over the signal, terminals closed."""
    program = Program(loop, RAISING)
    program.send_after("ready", name)
    status, lines, stderr = program.end()
    assert (status, stderr) == (0, "")
    assert lines[-4:] == ["outer 1", "outer 2", "outer closed", "main's own"]


@posix
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("code", [STUCK, STUCK_UNCLOSED], ids=["block", "unclosed"])
def test_a_second_sigterm_kills(loop: str, code: str) -> None:
    """While a close waits for a handler that hangs, SIGTERM does what it does by default."""
    program = Program(loop, code)
    program.send_after("ready", "SIGTERM")
    program.read("cancelled")
    program.send_after("closing", "SIGTERM")
    assert program.end() == (-signal.SIGTERM, [], "")


@posix
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("code", [STUCK, STUCK_UNCLOSED], ids=["block", "unclosed"])
def test_a_second_sigint_interrupts(loop: str, code: str) -> None:
    """While a close waits for a handler that hangs, SIGINT ends it, and what is left is said."""
    program = Program(loop, code)
    program.send_after("ready", "SIGINT")
    program.read("cancelled")
    program.send_after("closing", "SIGINT")
    status, lines, stderr = program.end()
    assert (status, lines[-1]) == (0, "KeyboardInterrupt")
    # The close is cut short; if the signal has struck in the middle of a step, it is given up.
    assert stderr.splitlines() == stderr.count("terminal 'outer' was ") * [ANY]
    assert stderr.count("1 handler cut off") == 1
    assert ("was never closed: 1 message pending" in stderr) != ("1 messages undelivered" in stderr)


@posix
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", INTERRUPTS)
def test_signals_that_the_program_handles_are_its_own(loop: str, name: str) -> None:
    """A handler that was there before the run stays in charge."""
    program = Program(loop, OWN_HANDLER)
    program.send_after("ready", name)
    assert program.end() == (0, [f"result {name}"], "")
