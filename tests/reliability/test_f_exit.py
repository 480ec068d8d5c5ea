"""F11: how programs end that do not close their terminals."""

from pathlib import Path

import pytest
from reliability.programs import LOOPS, Program

REGISTRY = """
registry = MessageRegistry(event_base=Event)
"""
# What the handlers of a program that walks away are in the middle of.
PLAIN = """
@registry.register
async def handle(event: Ping) -> None:
    await asyncio.Event().wait()
"""
AWAITS_ON_ITS_WAY_OUT = """
# If such a coroutine is collected, the interpreter itself complains; when that is must not vary.
gc.disable()

@registry.register
async def handle(event: Ping) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
"""
HAS_RESOURCES = """
class Shared:
    pass

@registry.factory(lifetime="singleton")
async def shared() -> AsyncIterator[Shared]:
    try:
        yield Shared()
    finally:
        await asyncio.sleep(0)

@registry.factory(lifetime="scoped")
async def resource() -> AsyncIterator[Resource]:
    try:
        yield Resource()
    finally:
        await asyncio.sleep(0)

@registry.register
async def handle(event: Ping, resource: Resource, shared: Shared) -> None:
    await asyncio.Event().wait()
"""
PUBLISHES = """
from runtime import EventBus

class Inner(Event):
    pass

@registry.register
async def handle(event: Ping, bus: EventBus[Event]) -> None:
    await bus.publish(Inner())

@registry.register
async def listen(event: Inner) -> None:
    await asyncio.Event().wait()
"""
WALKING_AWAY = """
async def main():
    global kept
    terminal = BusTerminal(registry, name="shop")
    scope = await terminal.scope("box").__aenter__()
    for _ in range(3):
        scope.bus.emit(Ping())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if {keep}:
        kept = terminal
"""
RUNS = """
with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
del runner
"""
DROPS_LOOP = """
loop = new_event_loop()
loop.run_until_complete(main())
loop.close()
del loop
"""
COLLECTS_MEANWHILE = """
loop = new_event_loop()
loop.run_until_complete(main())
tasks = asyncio.all_tasks(loop)
for task in tasks:
    task.cancel()
loop.run_until_complete(asyncio.wait(tasks))
del task, tasks
gc.collect()
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
"""
COLLECTS = """
gc.collect()
say("collected")
"""


def line(left: str) -> str:
    return (
        f"terminal 'shop' was never closed: {left}, 1 mailbox and 1 scope open; "
        f"use `async with terminal:` or `await terminal.close()`\n"
    )


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "handlers",
    [PLAIN, AWAITS_ON_ITS_WAY_OUT, HAS_RESOURCES, PUBLISHES],
    ids=["plain", "awaits", "resources", "publishes"],
)
@pytest.mark.parametrize(
    ("end", "left"),
    [
        (RUNS, "2 messages pending and never handled, 1 handler cut off"),
        (DROPS_LOOP, "3 messages pending and never handled, 0 handlers cut off"),
    ],
    ids=["run", "dropped"],
)
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "garbage"])
def test_f11_an_exit_without_a_close_says_one_line(
    loop: str, handlers: str, end: str, left: str, keep: bool
) -> None:
    """However the program walks away from its terminal, it says what was left, and only that."""
    program = Program(loop, REGISTRY + handlers + WALKING_AWAY.format(keep=keep) + end)
    assert program.end() == (0, [], line(left))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("handlers", [PLAIN, HAS_RESOURCES, PUBLISHES])
def test_f11_a_terminal_that_is_dropped_says_one_line(loop: str, handlers: str) -> None:
    """It is said when the terminal is collected, and not again at the exit."""
    code = REGISTRY + handlers + WALKING_AWAY.format(keep=False) + DROPS_LOOP + COLLECTS
    left = "3 messages pending and never handled, 0 handlers cut off"
    assert Program(loop, code).end() == (0, ["collected"], line(left))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("handlers", [PLAIN, HAS_RESOURCES, PUBLISHES])
def test_f11_a_collection_while_the_loop_ends(loop: str, handlers: str) -> None:
    """What is collected before the loop has closed its generators leaves none half closed."""
    code = REGISTRY + handlers + WALKING_AWAY.format(keep=False) + COLLECTS_MEANWHILE
    left = "2 messages pending and never handled, 1 handler cut off"
    assert Program(loop, code).end() == (0, [], line(left))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "use",
    [
        "pass",
        "await terminal.drain()",
        "await terminal.close()",
        "await terminal.bus.publish(Ping()); await terminal.close()",
        "async with terminal: terminal.bus.emit(Ping())",
    ],
)
def test_f11_a_terminal_that_was_closed_or_never_opened_says_nothing(loop: str, use: str) -> None:
    """Nothing was left, and nothing is said."""
    program = Program(loop, f"async def main():\n    terminal = make('outer')\n    {use}\n{RUNS}")
    status, _, stderr = program.end()
    assert (status, stderr) == (0, "")


def test_f11_a_terminal_whose_sink_does_not_open_says_nothing() -> None:
    """A block that was not entered need not be left."""
    code = """
class Broken:
    async def open(self):
        raise OSError("no disk")

    async def sink(self, records):
        pass

async def main():
    try:
        async with BusTerminal(MessageRegistry(event_base=Event), sink=Broken()):
            pass
    except OSError as error:
        say(error)
"""
    assert Program("asyncio", code + RUNS).end() == (0, ["no disk"], "")


def test_f11_a_close_that_comes_too_late_says_what_was_cut_off() -> None:
    """A task that closes its terminal when the loop is ending saves no handler that is running."""
    code = """
registry = MessageRegistry(event_base=Event)
started = None

@registry.register
async def handle(event: Ping) -> None:
    started.set()
    await asyncio.Event().wait()

async def serve():
    async with BusTerminal(registry, name="shop") as terminal:
        await terminal.bus.emit(Ping()).wait()

async def main():
    global started, serving
    started = asyncio.Event()
    serving = asyncio.create_task(serve())
    await started.wait()
"""
    status, _, stderr = Program("asyncio", code + RUNS).end()
    assert status == 0
    assert stderr == (
        "terminal 'shop' was closed when its loop had ended: 1 handler cut off; "
        "close it before the main coroutine returns\n"
    )


def test_f11_each_terminal_has_a_line_of_its_own(tmp_path: Path) -> None:
    """Counts are per terminal, and go where the program's logging goes."""
    log = tmp_path / "program.log"
    code = f"""
import logging
logging.basicConfig(filename={str(log)!r}, format="%(levelname)s %(name)s %(message)s")

async def main():
    global kept
    kept = make("one"), make("two")
    await fill(*kept)

{DROPS_LOOP}
"""
    status, _, stderr = Program("asyncio", code).end()
    assert (status, stderr) == (0, "")
    lines = sorted(log.read_text().splitlines())
    assert [line.partition(" was ")[0] for line in lines] == [
        "WARNING runtime terminal 'one'",
        "WARNING runtime terminal 'two'",
    ]
