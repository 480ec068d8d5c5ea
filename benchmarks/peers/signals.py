"""Peers that call handlers: aiosignal, blinker, pyee, psygnal, pluggy."""

# The peers are in an environment of their own, and most have no types.
# pyright: standard, reportMissingImports=false

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pluggy
import psygnal
from aiosignal import Signal
from blinker import NamedSignal
from psygnal import set_async_backend
from psygnal._async import clear_async_backend
from pyee import EventEmitter
from pyee.asyncio import AsyncIOEventEmitter

from benchmarks.peers.jobs import FAST, Blank, Row, Run, Tally, awaiting, bursts, calling
from benchmarks.workload import COMMAND, EVENT, GetOrder, Ordered


def async_handlers(tally: Tally, handlers: int) -> Iterator[Callable[[Ordered], Any]]:
    """Return new handlers that take the event alone."""
    for _ in range(handlers):

        async def handle(event: Ordered) -> None:
            tally.count += 1

        yield handle


def sync_handlers(tally: Tally, handlers: int) -> Iterator[Callable[[Ordered], Any]]:
    """Return new synchronous handlers that take the event alone."""
    for _ in range(handlers):

        def handle(event: Ordered) -> None:
            tally.count += 1

        yield handle


@asynccontextmanager
async def aiosignal_send(tally: Tally, handlers: int) -> AsyncGenerator[Run]:
    """Send a frozen signal."""
    signal: Signal[Ordered] = Signal(owner=tally)
    signal.extend(async_handlers(tally, handlers))
    signal.freeze()
    yield awaiting(signal.send, EVENT)


@asynccontextmanager
async def blinker_send_async(tally: Tally, handlers: int) -> AsyncGenerator[Run]:
    """Send a signal to coroutine functions, held by strong references: less work than weak ones."""
    signal = NamedSignal("ordered")
    for handler in async_handlers(tally, handlers):
        signal.connect(handler, weak=False)
    yield awaiting(signal.send_async, EVENT)


@asynccontextmanager
async def blinker_send(tally: Tally, handlers: int) -> AsyncGenerator[Run]:
    """Send a signal to functions, held by strong references."""
    signal = NamedSignal("ordered")
    for handler in sync_handlers(tally, handlers):
        signal.connect(handler, weak=False)
    yield calling(signal.send, EVENT)


@asynccontextmanager
async def pyee_emit_and_wait(tally: Tally, handlers: int) -> AsyncGenerator[Run]:
    """Emit to coroutine functions and wait for all of their tasks."""
    emitter = AsyncIOEventEmitter()
    for handler in async_handlers(tally, handlers):
        emitter.on("ordered", handler)

    async def run(n: int) -> None:
        for _ in range(n):
            emitter.emit("ordered", EVENT)
            await emitter.wait_for_complete()

    yield run


@asynccontextmanager
async def pyee_emit(tally: Tally, handlers: int) -> AsyncGenerator[Run]:
    """Emit to functions."""
    emitter = EventEmitter()
    for handler in sync_handlers(tally, handlers):
        emitter.on("ordered", handler)

    async def run(n: int) -> None:
        for _ in range(n):
            emitter.emit("ordered", EVENT)

    yield run


@asynccontextmanager
async def pyee_emit_tasks(tally: Tally) -> AsyncGenerator[Run]:
    """Emit to a coroutine function, without waiting for its task."""
    emitter = AsyncIOEventEmitter()
    for handler in async_handlers(tally, 1):
        emitter.on("ordered", handler)
    yield bursts(tally, partial(emitter.emit, "ordered"))


class Orders:
    """What psygnal's signal is declared on."""

    ordered = psygnal.Signal(object)


@asynccontextmanager
async def psygnal_emit(tally: Tally, handlers: int) -> AsyncGenerator[Run]:
    """Emit to functions, by the method that leaves out locks and checks."""
    orders = Orders()
    for handler in sync_handlers(tally, handlers):
        orders.ordered.connect(handler)
    yield calling(orders.ordered.emit_fast, EVENT)


@asynccontextmanager
async def psygnal_emit_async(tally: Tally) -> AsyncGenerator[Run]:
    """Emit to a coroutine function, which the backend's worker awaits."""
    backend = set_async_backend("asyncio")
    await backend.running.wait()
    orders = Orders()
    (handler,) = async_handlers(tally, 1)
    orders.ordered.connect(handler)
    yield bursts(tally, orders.ordered.emit_fast)
    clear_async_backend()


spec = pluggy.HookspecMarker("orders")
implement = pluggy.HookimplMarker("orders")


class Hooks:
    """The hooks that pluggy's plugins implement."""

    @spec
    def ordered(self, event: Ordered) -> None:
        """Hear an event."""

    @spec(firstresult=True)
    def get_order(self, command: GetOrder) -> int | None:
        """Answer a command."""


class Plugin:
    """Implements both hooks."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    @implement
    def ordered(self, event: Ordered) -> None:
        """Count an event."""
        self.tally.count += 1

    @implement
    def get_order(self, command: GetOrder) -> int:
        """Count and answer a command."""
        self.tally.count += 1
        return command.order_id


def plugins(tally: Tally, handlers: int) -> pluggy.PluginManager:
    """Return a manager with plugins."""
    manager = pluggy.PluginManager("orders")
    manager.add_hookspecs(Hooks)
    for _ in range(handlers):
        manager.register(Plugin(tally))
    manager.check_pending()
    return manager


@asynccontextmanager
async def pluggy_call(tally: Tally, handlers: int) -> AsyncGenerator[Run]:
    """Call a hook."""
    hook = plugins(tally, handlers).hook

    async def run(n: int) -> None:
        for _ in range(n):
            hook.ordered(event=EVENT)

    yield run


@asynccontextmanager
async def pluggy_first_result(tally: Tally) -> AsyncGenerator[Run]:
    """Call a hook that stops at the first result."""
    hook = plugins(tally, 1).hook

    async def run(n: int) -> object:
        reply = None
        for _ in range(n):
            reply = hook.get_order(command=COMMAND)
        return reply

    yield run


AIOSIGNAL = "awaits each in turn; no more"
BLINKER = "finds the sender's receivers, asks if each is a coroutine function, lists the results"
PYEE = "takes a lock and copies the list of handlers"
PYEE_TASKS = "a task and a callback for each handler; copies contextvars"
PSYGNAL = "emit_fast, compiled by mypyc: no lock, no checks; counts recursion, wraps errors"
PLUGGY = "a call for each plugin in turn, latest first; binds arguments by name, lists the results"

ROWS = [
    Row("publish x1", "aiosignal", AIOSIGNAL, partial(aiosignal_send, handlers=1), FAST),
    Row("publish x3", "aiosignal", AIOSIGNAL, partial(aiosignal_send, handlers=3), FAST),
    Row("publish x1", "blinker", BLINKER, partial(blinker_send_async, handlers=1)),
    Row("publish x3", "blinker", BLINKER, partial(blinker_send_async, handlers=3)),
    Row("sync x1", "blinker", BLINKER, partial(blinker_send, handlers=1)),
    Row("sync x3", "blinker", BLINKER, partial(blinker_send, handlers=3)),
    Row("publish x1", "pyee", PYEE_TASKS, partial(pyee_emit_and_wait, handlers=1), 500),
    Row("publish x3", "pyee", PYEE_TASKS, partial(pyee_emit_and_wait, handlers=3), 500),
    Row("sync x1", "pyee", PYEE, partial(pyee_emit, handlers=1)),
    Row("sync x3", "pyee", PYEE, partial(pyee_emit, handlers=3)),
    Row("emit", "pyee", PYEE_TASKS, pyee_emit_tasks),
    Row("sync x1", "psygnal", PSYGNAL, partial(psygnal_emit, handlers=1), FAST),
    Row("sync x3", "psygnal", PSYGNAL, partial(psygnal_emit, handlers=3), FAST),
    Row(
        "emit",
        "psygnal",
        "emit_fast; an asyncio.Queue and one worker for all signals",
        psygnal_emit_async,
    ),
    Row("sync x1", "pluggy", PLUGGY, partial(pluggy_call, handlers=1)),
    Row("sync x3", "pluggy", PLUGGY, partial(pluggy_call, handlers=3)),
    Row("send sync", "pluggy", "stops at the first result", pluggy_first_result),
]

NO_SCOPES = "injects nothing"
NO_QUEUE = "runs in the caller's turn only"
NO_REPLY = "has no reply"
BACKGROUND = ("emit", "emit sync", "ask", "ask x50")

BLANKS = [
    Blank("aiosignal", "awaits its receivers: none may be sync", ("sync x1", "sync x3")),
    Blank("aiosignal", NO_SCOPES, ("injected",)),
    Blank("aiosignal", NO_REPLY, ("send", "send sync")),
    Blank("aiosignal", NO_QUEUE, BACKGROUND),
    Blank("blinker", NO_SCOPES, ("injected",)),
    Blank("blinker", "lists what all receivers returned: no one handler", ("send", "send sync")),
    Blank("blinker", NO_QUEUE, BACKGROUND),
    Blank("pyee", NO_SCOPES, ("injected",)),
    Blank("pyee", NO_REPLY, ("send", "send sync", "ask", "ask x50")),
    Blank("pyee", "calls sync handlers in the caller's turn", ("emit sync",)),
    Blank("psygnal", "an emit cannot be awaited", ("publish x1", "publish x3")),
    Blank("psygnal", NO_SCOPES, ("injected",)),
    Blank("psygnal", NO_REPLY, ("send", "send sync", "ask", "ask x50")),
    Blank("psygnal", "calls sync handlers in the caller's turn", ("emit sync",)),
    Blank("pluggy", "cannot await its plugins", ("publish x1", "publish x3", "send")),
    Blank("pluggy", NO_SCOPES, ("injected",)),
    Blank("pluggy", NO_QUEUE, BACKGROUND),
]
