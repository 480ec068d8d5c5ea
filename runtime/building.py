"""The half of the wiring that waits: building what must be awaited, and leaving scopes.

The compiled wiring calls factories that are plain functions. What has to be awaited is built
beforehand, here, and kept where the compiled wiring finds it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import Context
from types import TracebackType
from typing import Any, Final, NoReturn, Protocol

from runtime._core import Core
from runtime._mailbox import Delivery, Mailbox
from runtime._waits import Wait
from runtime._wiring import Factory, Scoped, Storage, Transient, make_storage
from runtime.errors import ScopeClosed

__all__ = (
    "Lived",
    "Resolver",
    "ResolverScope",
    "abandon",
    "end_build",
    "is_owner",
    "leave",
    "leave_all",
    "leave_at_once",
    "prepare",
    "raise_together",
)

logger: logging.Logger = logging.getLogger("runtime")

UNLEFT: Final = "a scope could not be left well"


class ResolverScope(Protocol):
    """What a foreign container serves from inside one scope."""

    async def resolve(self, tp: Any, /) -> Any:
        """Return the container's object of a type."""


class Resolver(Protocol):
    """A foreign container that serves what the registries do not know.

    It is asked when the terminal freezes, and trusted. What it serves counts as scoped.

    One that keeps the scope at hand in a context variable has a method `rebind()`, too: that is
    called under the copied context variables of each message for a mailbox, which must not find
    the scope of its sender.
    """

    def provides(self, tp: Any, /) -> bool:
        """Say whether the container knows a type."""
        ...

    def scope(self) -> AbstractAsyncContextManager[ResolverScope]:
        """Return a context manager, entered once for each scope and left with its exception."""
        ...


async def prepare(waits: Sequence[Factory], storage: Storage) -> None:
    """Build what must be awaited before a call in a scope.

    An object that several ask for at the same time is built once; if that fails, each of them
    raises, or tries again.
    """
    transients: list[tuple[Factory, Storage, object]] = []
    for factory in waits:
        if not factory.is_built(storage):
            home = factory.home(storage)
            if isinstance(factory, Transient):
                transients.append((factory, home, await build(factory, home)))
            elif isinstance(factory, Scoped):
                await build_scoped(factory, home)
            else:
                await build_shared(factory, home)
    if storage.closed:
        raise ScopeClosed.while_building()
    # Laid by when nothing is left to await: the call that takes them follows at once, and no
    # other call of the scope comes in between. The last laid by is the first taken.
    for factory, home, value in reversed(transients):
        factory.keep(home, value)


async def build(factory: Factory, home: Storage) -> object:
    """Build an object in the current task, and note in `home` what has to be left."""
    await prepare(factory.waits, home)
    made: Any = factory.start(home)
    if factory.mode == "async":
        return await made
    if factory.mode == "async_context":
        value: object = await made.__aenter__()
    elif factory.mode == "context":
        value = made.__enter__()
    else:
        return made
    is_async = factory.mode == "async_context"
    if home.closed:
        # The scope has ended meanwhile, and will not leave it any more.
        error = ScopeClosed.while_building()
        if is_async:
            await made.__aexit__(type(error), error, None)
        else:
            made.__exit__(type(error), error, None)
        raise error
    home.add_exit(made, is_async)
    return value


async def build_scoped(factory: Scoped, home: Storage) -> None:
    """Build a scope's object in the task of whoever asks first; others wait for it."""
    if home.building is None:
        home.building = {}
    while not factory.is_built(home):
        ahead: asyncio.Future[None] | None = home.building.get(factory)
        if ahead is not None:
            await asyncio.shield(ahead)
            continue
        done = home.building[factory] = asyncio.get_running_loop().create_future()
        try:
            factory.keep(home, await build(factory, home))
        finally:
            del home.building[factory]
            done.set_result(None)


async def build_shared(factory: Factory, home: Storage) -> None:
    """Build what outlives every scope in a task of its own, so that nobody's end is its end."""
    building = home.core.root.building
    if building is None:
        building = home.core.root.building = {}
    # A singleton has no mailbox; what lives as long as a mailbox is one for each.
    key = (factory, home.box)
    owner: Owner | None = building.get(key)
    if owner is None:
        owner = building[key] = Owner(factory, home)
        owner.built.add_done_callback(lambda _: building.pop(key, None))
    await asyncio.shield(owner.built)


async def abandon(root: Storage) -> None:
    """End the builds of shared objects that are under way."""
    owners: list[Owner] = list((root.building or {}).values())
    for owner in owners:
        owner.cancel()
    if owners:
        await asyncio.wait([owner.task for owner in owners])


async def end_build(core: Core, factory: object, box: Mailbox) -> None:
    """End the build of a mailbox's object, if one is under way."""
    owner: Owner | None = (core.root.building or {}).get((factory, box))
    if owner is not None and not owner.built.done():
        owner.cancel()
        await asyncio.wait([owner.task])


class OwnerTask(asyncio.Task[None]):
    """A task in an empty context that may wait for as long as its terminal lives."""

    def __init__(
        self, work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, home: Storage
    ) -> None:
        super().__init__(work, loop=loop, name="runtime.owner", context=Context())
        self.home = home
        # That it waits is no loss when a loop is dropped.
        self._log_destroy_pending = False

    def plan_wait(
        self,
        core: Core | None,
        verb: str,
        box: Mailbox,
        target: Delivery | None,
        event: object,
    ) -> Wait | None:
        """Return the edge of an actor that starts or stops, and holds its mailbox up."""
        own = self.home.core
        if self.home.box is None or (core is not None and core is not own):
            return None
        edge: Wait = own.host.waits.edge(self.home.box, None, verb, box, target, event)
        return edge


class Lived(AbstractAsyncContextManager[object]):
    """The life of an actor that is a context manager, asynchronous or not."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self._is_async = hasattr(actor, "__aenter__")

    async def __aenter__(self) -> object:
        """Start the actor; whatever that returns, the actor is the object."""
        if self._is_async:
            await self.actor.__aenter__()
        else:
            self.actor.__enter__()
        return self.actor

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the actor, which sees the error that ends it."""
        if self._is_async:
            await self.actor.__aexit__(kind, error, traceback)
        else:
            self.actor.__exit__(kind, error, traceback)


def is_owner(core: Core) -> bool:
    """Say whether the current task owns a shared object of a terminal."""
    task = asyncio.current_task()
    return isinstance(task, OwnerTask) and task.home.core is core


class Owner(AbstractAsyncContextManager[None]):
    """The task that builds a shared object, enters it and leaves it again.

    Task groups and cancel scopes have to be left by the task that entered them, and a start
    belongs to nobody's context.
    """

    def __init__(self, factory: Factory, home: Storage) -> None:
        loop = asyncio.get_running_loop()
        self.built: asyncio.Future[None] = loop.create_future()
        self._released = asyncio.Event()
        self._error: BaseException | None = None
        self.task: OwnerTask = OwnerTask(self._own(factory, home), loop, home)

    def cancel(self) -> None:
        """Give the build up."""
        self.task.cancel()

    async def _own(self, factory: Factory, home: Storage) -> None:
        # What it enters on its way, the object last.
        stage = make_storage(home.core, home.box, detached=True)
        if home.box is not None:
            # Whoever has asked for the object may give it up; it is still the mailbox's.
            home.core.pin(home.box)
        try:
            await self._start(factory, home, stage)
        finally:
            if home.box is not None:
                home.core.unpin(home.box)
        if not stage.exits:
            return
        try:
            await self._released.wait()
        except GeneratorExit:
            leave_at_once(stage)
            raise
        except BaseException as error:  # noqa: BLE001 -- raised
            raise_together(UNLEFT, [error, *await leave_all(stage, error)])
        failures = await leave_all(stage, self._error)
        if failures:
            raise_together(UNLEFT, failures)

    async def _start(self, factory: Factory, home: Storage, stage: Storage) -> None:
        try:
            value = await build(factory, stage)
        except GeneratorExit:
            leave_at_once(stage)
            raise
        except BaseException as error:  # noqa: BLE001 -- raised
            failures = await leave_all(stage, error)
            try:
                raise_together(UNLEFT, [error, *failures])
            except BaseException as grouped:
                self._finish(grouped)
                if not isinstance(grouped, Exception):
                    # Whoever waits for the object is told.
                    self.task.add_done_callback(lambda task: task.cancelled() or task.exception())
                    raise
            return
        if stage.exits:
            home.add_exit(self, is_async=True)
        factory.keep(home, value)
        self._finish(None)

    def _finish(self, error: BaseException | None) -> None:
        """Tell those who wait how the start has ended; the next to ask may try again."""
        if self.built.done():
            return
        if error is None:
            self.built.set_result(None)
        elif isinstance(error, asyncio.CancelledError):
            self.built.cancel()
        else:
            if isinstance(error, StopIteration):
                # A future cannot carry it.
                cause, error = error, RuntimeError("a factory raised StopIteration")
                error.__cause__ = cause
            self.built.set_exception(error)
            # Whoever gave up waiting has not lost a warning by it.
            self.built.exception()

    async def __aenter__(self) -> None:
        """Wait until the object is built."""
        await self.built

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the owner leave what it has entered, and wait for that; an actor sees the error."""
        if self.task.home.box is not None:
            # That another singleton could not be left well says nothing about this one.
            self._error = error
        self._released.set()
        await self.task


async def leave(storage: Storage, error: BaseException | None) -> None:
    """Leave everything that a scope has entered, in reverse, whatever happens meanwhile.

    Each resource sees `error`, the exception that ended the scope, or what went wrong first while
    leaving, and cannot suppress it. Returns if all went well; the caller then lets `error` go on.
    Otherwise raises everything together, `error` first, as a `BaseExceptionGroup`; a single failure
    without `error` is raised as it is. A cancellation stays one: then the other failures are
    logged.
    """
    failures = await leave_all(storage, error)
    if failures:
        raise_together(UNLEFT, failures if error is None else [error, *failures])


async def leave_all(storage: Storage, error: BaseException | None) -> list[BaseException]:
    """Leave everything that a scope has entered, and return what went wrong."""
    failures: list[BaseException] = []
    seen = error
    while storage.exits:
        manager, is_async = storage.exits.pop()
        state = (type(seen), seen, seen.__traceback__) if seen else (None, None, None)
        try:
            if is_async:
                await manager.__aexit__(*state)
            else:
                manager.__exit__(*state)
        except BaseException as raised:  # noqa: BLE001 -- returned
            if raised is not seen:
                failures.append(raised)
                # What is left now did not end well either.
                seen = seen or raised
    return failures


def raise_together(text: str, errors: Sequence[BaseException]) -> NoReturn:
    """Raise a single error as it is, several as a group; a cancellation stays one."""
    if len(errors) == 1:
        raise errors[0]
    for each in errors:
        if not isinstance(each, Exception):
            for other in errors:
                if other is not each:
                    logger.error("a resource could not be left well", exc_info=other)
            raise each
    raise BaseExceptionGroup(text, errors)


def leave_at_once(storage: Storage) -> None:
    """Leave what a scope has entered without awaiting, as a coroutine that is closed must."""
    while storage.exits:
        manager, is_async = storage.exits.pop()
        exit_at_once(manager, is_async=is_async)


def exit_at_once(manager: Any, *, is_async: bool) -> None:
    """Leave a context manager; if it has to await something, that is cancelled."""
    error = GeneratorExit()
    try:
        if is_async:
            # The loop may have closed what it waited for already, which contextlib calls an error.
            with suppress(RuntimeError, StopIteration, asyncio.CancelledError):
                leaving = manager.__aexit__(type(error), error, None).__await__()
                next(leaving)
                # Before CPython 3.13 a close does not reach an asynchronous generator, which then
                # counts as running for ever: the loop could not close it any more.
                leaving.throw(asyncio.CancelledError())
                leaving.close()
        else:
            manager.__exit__(type(error), error, None)
    except GeneratorExit:
        return
    except Exception:
        # Whoever closes a coroutine hears nothing of it.
        logger.exception("a resource could not be left well")
