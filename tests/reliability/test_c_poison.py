"""C: messages that can never be handled, and failures around the handlers.

The scenarios ask that a poison message be set aside after its attempts while its mailbox goes on.
Here it keeps its place in a named mailbox while it is tried, as the design has it: what is behind
it waits for the pauses, and only the pool goes on meanwhile.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from reliability.support import FAILURES, Boom, Other, Work, assert_ledger, proof_of, proven

from runtime import (
    BusTerminal,
    DeadLetter,
    Delivery,
    Event,
    MessageContext,
    MessageRegistry,
    Retry,
)
from runtime.errors import DeliveryFailed

both_kinds = pytest.mark.parametrize("key", [None, "box"], ids=["pool", "mailbox"])
POISON = 3
COUNT = 10


class Poisoned:
    """Handles everything but one message; notes when it was called with what."""

    def __init__(self) -> None:
        self.attempts: list[float] = []
        self.handled: list[tuple[int, float]] = []

    async def handle(self, work: Work) -> None:
        now = asyncio.get_running_loop().time()
        if work.number == POISON:
            self.attempts.append(now)
            raise Boom(len(self.attempts))
        self.handled.append((work.number, now))


class BrokenLog(logging.Handler):
    """A log that cannot be written to."""

    def emit(self, record: logging.LogRecord) -> None:
        """Fail."""
        raise Boom


@contextmanager
def broken_log() -> Generator[None]:
    """Log to where nothing can be written, in a ``with`` block."""
    logger = logging.getLogger("runtime")
    broken = BrokenLog()
    logger.addHandler(broken)
    try:
        yield
    finally:
        logger.removeHandler(broken)


def take_uncaught() -> list[dict[str, Any]]:
    """Return what the simulated loop was told of so far, as something that was meant."""
    loop: Any = asyncio.get_running_loop()
    taken: list[dict[str, Any]]
    taken, loop.uncaught = loop.uncaught, []
    return taken


def registry_with(
    *handlers: Callable[..., Any], retry: Retry | None = None
) -> MessageRegistry[Event]:
    """Return a registry of which the first handler is retried."""
    registry = MessageRegistry(event_base=Event)
    registry.register(handlers[0], retry=retry)
    for each in handlers[1:]:
        registry.register(each)
    return registry


async def run_poisoned(
    terminal: BusTerminal[Event], poisoned: Poisoned, key: str | None
) -> DeadLetter:
    """Emit a poison message among others, wait for all, and return its dead letter."""
    deliveries = [terminal.bus.emit(Work(number), key=key) for number in range(COUNT)]
    with pytest.raises(DeliveryFailed) as caught:
        await deliveries[POISON].wait()
    await terminal.drain()
    good = [number for number in range(COUNT) if number != POISON]
    assert sorted(number for number, _ in poisoned.handled) == good
    if key is not None:
        assert [number for number, _ in poisoned.handled] == good
    (letter,) = caught.value.dead_letters
    assert terminal.dead_letters == (letter,)
    assert_ledger(terminal.stats(), emitted=COUNT, handled=COUNT - 1, failed=1, dead_letters=1)
    return letter


@both_kinds
async def test_c4_poison_message_has_its_attempts_and_no_more(
    key: str | None, expected_logs: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Without jitter the pauses are exact; then there is one dead letter, logged once."""
    expected_logs.append(FAILURES)
    poisoned = Poisoned()
    retry = Retry(attempts=6, backoff=0.5, max_backoff=3.0, jitter=False)
    registry = registry_with(poisoned.handle, retry=retry)
    async with proof_of(BusTerminal(registry)) as terminal:
        letter = await run_poisoned(terminal, poisoned, key)
    assert poisoned.attempts == [0, 0.5, 1.5, 3.5, 6.5, 9.5]
    assert (letter.attempts, letter.reason, letter.message) == (6, "failed", Work(POISON))
    assert letter.error.args == (6,)
    # In a mailbox the others wait behind it; in the pool nobody does.
    ends = {at for number, at in poisoned.handled if number > POISON}
    assert ends == ({0} if key is None else {9.5})
    assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) == 1


@both_kinds
async def test_c4_jitter_only_lengthens(
    key: str | None, expected_logs: list[str], runtime_seed: int | None
) -> None:
    """Each pause is between once and twice what it would be without."""
    expected_logs.append(FAILURES)
    poisoned = Poisoned()
    retry = Retry(attempts=8, backoff=0.1, max_backoff=2.0)
    terminal = BusTerminal(registry_with(poisoned.handle, retry=retry))
    async with proof_of(terminal):
        letter = await run_poisoned(terminal, poisoned, key)
    assert letter.attempts == len(poisoned.attempts) == 8
    pauses = [
        after - before
        for before, after in zip(poisoned.attempts, poisoned.attempts[1:], strict=False)
    ]
    exact = [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    for pause, least in zip(pauses, exact, strict=True):
        assert least - 1e-9 <= pause <= 2 * least + 1e-9
    assert pauses != pytest.approx(exact)
    if runtime_seed is not None:
        # What a seed decides, it decides every time.
        drawn = random.Random(runtime_seed)
        again = [retry.pause_after(number, drawn) for number in range(1, 8)]
        assert pauses == pytest.approx(again)


@both_kinds
async def test_c4_poison_messages_do_not_starve_the_others(
    key: str | None, expected_logs: list[str]
) -> None:
    """Of 1,000 messages half are poison; the others are handled, and every attempt is counted."""
    expected_logs.append(FAILURES)
    attempts: dict[int, int] = {}

    async def handle(work: Work) -> None:
        attempts[work.number] = attempts.get(work.number, 0) + 1
        if work.number % 2:
            raise Boom

    registry = registry_with(handle, retry=Retry(attempts=3, backoff=0.01))
    async with proof_of(BusTerminal(registry, concurrency=5)) as terminal:
        for number in range(1_000):
            terminal.bus.emit(Work(number), key=key)
        await terminal.drain()
        assert attempts == {number: 3 if number % 2 else 1 for number in range(1_000)}
        assert {each.attempts for each in terminal.dead_letters} == {3}
        assert_ledger(terminal.stats(), emitted=1_000, handled=500, failed=500, dead_letters=500)


@pytest.mark.parametrize("where", ["guard", "factory", "listener"])
@both_kinds
async def test_c14_failure_around_a_handler_is_told_once(
    key: str | None, where: str, expected_logs: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """An exception of a guard or a factory is the handler's; one of a dead letter's handler ends.

    What hears dead letters and fails is logged, makes no dead letter, and the next one is heard.
    """
    expected_logs += [FAILURES, "failed to handle the DeadLetter of"]
    registry: MessageRegistry[Event] = MessageRegistry(event_base=Event)
    heard: list[DeadLetter] = []
    called: list[Work] = []

    class Session:
        pass

    @registry.guard
    async def watch(
        work: Work, ctx: MessageContext, proceed: Callable[[], Awaitable[None]]
    ) -> None:
        if where == "guard":
            raise Boom
        await proceed()

    @registry.factory
    async def connect() -> Session:
        if where == "factory":
            raise Boom
        return Session()

    @registry.register
    async def handle(work: Work, session: Session) -> None:
        called.append(work)
        raise Boom

    @registry.register
    async def hear(letter: DeadLetter) -> None:
        heard.append(letter)
        if where == "listener":
            raise Boom

    async with proof_of(BusTerminal(registry)) as terminal:
        terminal.bus.emit(Work(1), key=key)
        terminal.bus.emit(Work(2), key=key)
        await terminal.drain()
        assert [each.message for each in heard] == [Work(1), Work(2)]
        assert {str(each.handler).rpartition(".")[2] for each in heard} == {"handle"}
        assert [each.attempts for each in heard] == [1, 1]
        assert len(called) == (2 if where == "listener" else 0)
        assert_ledger(terminal.stats(), emitted=2, failed=2, dead_letters=2)
    assert len(caplog.records) == (4 if where == "listener" else 2)


@both_kinds
async def test_c15_log_handler_that_raises_changes_no_outcome(
    key: str | None, expected_logs: list[str]
) -> None:
    """Messages are counted, retried and dead-lettered as ever; the loop is told of the log."""
    expected_logs.append("could not be logged")
    poisoned = Poisoned()
    heard: list[DeadLetter] = []

    async def hear(letter: DeadLetter) -> None:
        heard.append(letter)

    retry = Retry(attempts=2, backoff=0.5, jitter=False)
    registry = registry_with(poisoned.handle, hear, retry=retry)
    with broken_log():
        async with proof_of(BusTerminal(registry)) as terminal:
            letter = await run_poisoned(terminal, poisoned, key)
    assert heard == [letter]
    assert poisoned.attempts == [0, 0.5]
    (told,) = take_uncaught()
    assert "a failure could not be logged" in told["message"]


@both_kinds
async def test_c15_callback_that_raises_changes_no_outcome(
    key: str | None, expected_logs: list[str]
) -> None:
    """Neither the message that it was called for nor the next one is another because of it."""
    expected_logs += [FAILURES, "Exception in callback"]
    called: list[Delivery] = []
    handled: list[Work | Other] = []

    def stumble(delivery: Delivery) -> None:
        called.append(delivery)
        raise Boom

    async def handle(work: Work | Other) -> None:
        handled.append(work)
        if work.number == POISON:
            raise Boom

    async with proven(handle) as terminal:
        deliveries = [
            terminal.bus.emit(Work(number), key=key, callback=stumble) for number in range(COUNT)
        ]
        deliveries[0].add_done_callback(stumble)
        await terminal.drain()
        await asyncio.sleep(0)
        assert sorted(map(id, called)) == sorted(map(id, [*deliveries, deliveries[0]]))
        assert all(each.done() for each in deliveries)
        with pytest.raises(DeliveryFailed):
            await deliveries[POISON].wait()
        await deliveries[0].wait()
        await terminal.bus.emit(Other(), key=key).wait()
        assert_ledger(terminal.stats(), emitted=COUNT + 1, handled=COUNT, failed=1)
    assert [type(each["exception"]) for each in take_uncaught()] == [Boom] * (COUNT + 1)
