"""Programs that are killed at some moment, and what they had said until then."""

import signal
import subprocess
import sys


class Victim:
    """A program in a process of its own that says something, line by line, until it is killed."""

    def __init__(self, code: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-W", "error", "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # What runs the tests may ignore signals, as a shell does in the background.
            preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL),
        )
        self.lines: list[str] = []

    def read(self) -> str | None:
        """Wait for the next line; None at the end."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.endswith(b"\n"):
            return None
        self.lines.append(line.decode().rstrip("\n"))
        return self.lines[-1]

    def read_until(self, count: int) -> None:
        """Wait until so many lines have been said."""
        while len(self.lines) < count and self.read() is not None:
            pass

    def kill(self) -> list[str]:
        """Kill the program at once, and return all that it has said."""
        self.process.send_signal(signal.SIGKILL)
        while self.read() is not None:
            pass
        return self._end(-signal.SIGKILL)

    def terminate(self) -> list[str]:
        """Ask the program to end, and return all that it has said until it has."""
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self) -> list[str]:
        """Wait for the program's own end, and return all that it has said."""
        while self.read() is not None:
            pass
        return self._end(0)

    def _end(self, status: int) -> list[str]:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        stderr = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        ended = (self.process.wait(), stderr.decode())
        assert ended == (status, ""), ended
        return self.lines


PRELUDE = """
import asyncio, logging, os, random, sys
from typing import ClassVar
from runtime import *
from runtime.sinks import SqliteSink

# A pipe that is full blocks whoever writes to it; that is the test's doing.
logging.getLogger("runtime").addFilter(lambda record: "blocked" not in record.getMessage())

class Noted(Event):
    __key__: ClassVar[str] = "writer"
    writer: int
    number: int
    text: str = ""

def say(*words):
    # At once, and whole: a pipe does not part what is so short.
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

"""
