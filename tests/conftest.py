"""What tests share: both implementations behind one call, both loops, one Hypothesis profile."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import settings
from reference import Function, ReferenceTerminal

from runtime import BusTerminal, MailboxPolicy, MessageRegistry, sequential
from runtime.publishers import Publisher

pytest_plugins = ["pytester"]

HANG_SECONDS = 10
"""A test that takes this long waits for something that will never come."""

# Derandomized: the same examples on every machine; a failure prints what reproduces it.
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, max_examples=100, print_blob=True
)
settings.load_profile("repeatable")


def compiled(
    *groups: list[Callable[..., Any]],
    capacity: int = 1024,
    concurrency: int = 100,
    guards: list[Callable[..., Any]] = [],  # noqa: B006 -- read only
    publisher: Publisher = sequential,
) -> BusTerminal[object]:
    """Return a terminal with a registry for each group of functions and (actor) classes."""
    registries: list[MessageRegistry[object]] = []
    for group in groups:
        registry = MessageRegistry(event_base=object)
        for each in group:
            registry.register(each, lifetime="actor" if isinstance(each, type) else None)
        registries.append(registry)
    for guard in guards:
        registries[0].guard(guard)
    return BusTerminal(
        *registries,
        mailbox=MailboxPolicy(capacity=capacity),
        concurrency=concurrency,
        publisher=publisher,
    )


def reference(*groups: list[Function | type], **options: Any) -> ReferenceTerminal:
    """Return the oracle for the same arguments."""
    targets = [each for group in groups for each in group]
    return ReferenceTerminal(*targets, **options)


@pytest.fixture(scope="session", params=[compiled, reference], ids=["compiled", "reference"])
def make_terminal(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return what makes a terminal, of either implementation, to enter with ``async with``."""

    @asynccontextmanager
    async def make(*groups: list[Callable[..., Any]], **options: int) -> AsyncGenerator[Any]:
        terminal = await request.param(*groups, **options).__aenter__()
        try:
            yield terminal
        except asyncio.CancelledError:
            # The test hangs, and closing might hang too.
            raise
        except BaseException:
            # A failed test does not wait for the handlers that it holds back.
            await terminal.close(timeout=0)
            raise
        await terminal.__aexit__(None, None, None)

    return make


@pytest.fixture(scope="session", params=["asyncio", "uvloop"])
def run_async(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Return what runs a coroutine on a loop of its own, and fails on what the loop swallows."""
    factory = None
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop", reason="no uvloop here").new_event_loop

    def run(main: Coroutine[Any, Any, None]) -> None:
        swallowed: list[dict[str, Any]] = []

        async def guard() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, details: swallowed.append(details))
            async with asyncio.timeout(HANG_SECONDS):
                await main

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(guard())
        assert swallowed == []

    return run
