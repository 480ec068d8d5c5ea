"""Programs that end in a process of their own, on either loop."""

import signal
import subprocess
import sys

import pytest

LOOPS = ["asyncio", "uvloop"]
SECONDS = 60
"""How long a program may take before it counts as one that hangs."""

PRELUDE = """
import asyncio, gc, signal, sys
from collections.abc import AsyncIterator, Iterator
from runtime import BusTerminal, Event, MessageRegistry
from runtime.loops import run_on

if sys.argv[1] == "uvloop":
    from uvloop import new_event_loop
else:
    from asyncio import new_event_loop

class Ping(Event):
    number: int = 0

class Resource:
    pass

def say(*words):
    print(*words, flush=True)

gate = None

def make(name, *, stuck=False):
    registry = MessageRegistry(event_base=Event)

    @registry.factory(lifetime="singleton")
    def resource() -> Iterator[Resource]:
        yield Resource()
        say(name, "closed")

    @registry.register
    async def handle(event: Ping, resource: Resource) -> None:
        if event.number > 0:
            await (asyncio.Event() if stuck else gate).wait()
            say(name, event.number)

    return BusTerminal(registry, name=name)

async def fill(*terminals):
    # The resource is there before the signal comes.
    global gate
    gate = asyncio.Event()
    for terminal in terminals:
        await terminal.bus.publish(Ping())
        for number in (1, 2):
            terminal.bus.emit(Ping(number), key="box")
    await asyncio.sleep(0)

def say_after(turns, word):
    if turns:
        asyncio.get_event_loop().call_soon(say_after, turns - 1, word)
    else:
        say(word)

async def wait_for_signal():
    say("ready")
    try:
        await asyncio.Event().wait()
    finally:
        say("cancelled")
        # When the program has left its blocks as far as it can, and is in the middle of no step.
        say_after(20, "closing")
        gate.set()

def start(main):
    try:
        say("result", run_on(new_event_loop, main, debug=None))
    except KeyboardInterrupt:
        say("KeyboardInterrupt")
    except SystemExit as error:
        say("SystemExit", error.code)
        raise
"""


def heed_signals() -> None:
    """Let signals do what they do by default."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


class Program:
    """A program that runs in a process of its own."""

    def __init__(self, loop: str, code: str) -> None:
        if loop == "uvloop":
            pytest.importorskip("uvloop", reason="no uvloop here")
        # What runs the tests may ignore signals, as a shell does for what it runs behind itself.
        heed = None if sys.platform == "win32" else heed_signals
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-W", "error", "-c", PRELUDE + code, loop],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed,
        )

    def read(self, line: str) -> None:
        """Wait until the program says something."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == line + "\n"

    def send_after(self, line: str, name: str) -> None:
        """Wait until the program says something, then send it a signal."""
        self.read(line)
        self.process.send_signal(signal.Signals[name])

    def end(self) -> tuple[int, list[str], str]:
        """Wait for the program's end: exit status, what it has said since, and its stderr."""
        try:
            stdout, stderr = self.process.communicate(timeout=SECONDS)
        finally:
            self.process.kill()
        return self.process.returncode, stdout.splitlines(), stderr
