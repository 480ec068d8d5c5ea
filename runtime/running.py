"""Runs of plans that the compiled core does not run by itself.

A plan comes here if it has guards, a publisher other than the sequential one, a handler with a
timeout or retries, something to await before a handler, or something to leave after it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from runtime._actors import publish_to_actor
from runtime._context import MessageContext
from runtime._core import Core
from runtime._dispatch import Handler, Plan
from runtime._mailbox import Mailbox, until
from runtime._wiring import Call, Storage, make_storage
from runtime.building import leave, leave_at_once, prepare
from runtime.errors import ContextMismatch, HandlerTimeout, ScopeClosed
from runtime.signature import GuardSpec

__all__ = ("attempt", "close_after", "handle", "publish", "reply", "send")

Proceed = Callable[[], Awaitable[Any]]


async def publish(
    core: Core,
    plan: Plan,
    event: object,
    context: MessageContext,
    storage: Storage | None,
    box: Mailbox | None,
) -> None:
    """Run all handlers of a published event in a scope, the caller's or one for the call."""

    async def run(home: Storage) -> None:
        if plan.publisher is None:
            for handler in plan.handlers:
                await handle(core, plan, handler, event, context, home)
        else:
            await plan.publisher(
                event,
                context,
                [listener(core, plan, handler, home) for handler in plan.handlers],
            )

    await in_scope(core, storage, box, context, run)
    plan.settle()


async def send(
    core: Core,
    plan: Plan,
    command: object,
    context: MessageContext,
    storage: Storage | None,
    box: Mailbox | None,
) -> Any:
    """Run a command's handler in a scope, the caller's or one for the call; return its reply."""

    async def run(home: Storage) -> Any:
        return await handle(core, plan, plan.handlers[0], command, context, home)

    reply = await in_scope(core, storage, box, context, run)
    plan.settle()
    return reply


async def reply(call: Call, command: object, context: MessageContext | None) -> Any:
    """Have a plain function carry a command out."""
    result = call(command, context, None)
    return await result if inspect.isawaitable(result) else result


async def close_after(storage: Storage, awaitable: Awaitable[Any]) -> Any:
    """Await what a handler has returned, and end its scope."""
    try:
        return await awaitable
    finally:
        storage.closed = True


async def attempt(
    core: Core,
    plan: Plan,
    handler: Handler,
    event: object,
    context: MessageContext,
    storage: Storage,
) -> Any:
    """Run one handler from a mailbox in the scope made for it, end that scope, and reply."""
    try:
        reply = await run_and_leave(
            storage, lambda home: handle(core, plan, handler, event, context, home, on_turn=True)
        )
    finally:
        storage.closed = True
    plan.settle()
    return reply


async def in_scope(
    core: Core,
    storage: Storage | None,
    box: Mailbox | None,
    context: MessageContext,
    run: Callable[[Storage], Awaitable[Any]],
) -> Any:
    """Run something in a scope that is open, or in one for the time of the call."""
    if storage is not None:
        return await run(storage)
    storage = make_storage(core, box, cause=context)
    try:
        return await run_and_leave(storage, run)
    finally:
        storage.closed = True


async def run_and_leave(storage: Storage, run: Callable[[Storage], Awaitable[Any]]) -> Any:
    """Run something in a scope, then leave what the scope has entered."""
    try:
        result = await run(storage)
    except GeneratorExit:
        leave_at_once(storage)
        raise
    except BaseException as error:
        if storage.exits:
            await leave(storage, error)
        raise
    if storage.exits:
        await leave(storage, None)
    return result


def listener(
    core: Core, plan: Plan, handler: Handler, storage: Storage
) -> Callable[[object, MessageContext], Awaitable[None]]:
    """Return a handler as a publisher calls it."""

    async def listen(event: object, context: MessageContext) -> None:
        await handle(core, plan, handler, event, context, storage)

    return listen


async def handle(
    core: Core,
    plan: Plan,
    handler: Handler,
    message: object,
    context: MessageContext,
    storage: Storage,
    *,
    on_turn: bool = False,
) -> Any:
    """Run one handler inside its guards, and return its result.

    `on_turn` says that the caller has the turn of the mailbox that the handler's actor lives in.
    """
    if handler.actor is not None and not on_turn:
        return await publish_to_actor(core, handler, message, context, storage)

    if not plan.guards:
        return await call(handler, message, context, storage)

    def proceed() -> Awaitable[Any]:
        return call(handler, message, context, storage)

    for guard in reversed(plan.guards):
        if guard.context is not None and not isinstance(context, guard.context):
            raise ContextMismatch.of(guard.function, guard.context, context)
        proceed = once(guard, message, context, proceed)
    return await proceed()


async def call(handler: Handler, message: object, context: MessageContext, storage: Storage) -> Any:
    """Await what a handler needs, then the handler."""
    if handler.waits:
        await prepare(handler.waits, storage)
    elif storage.closed:
        raise ScopeClosed.of(None, message)
    if handler.spec.timeout is not None:
        return await in_time(handler, handler.spec.timeout, message, context, storage)
    result = handler.call(message, context, storage)
    if not handler.is_async and (result is None or not inspect.isawaitable(result)):
        return result
    return await result


async def in_time(
    handler: Handler, seconds: float, message: object, context: MessageContext, storage: Storage
) -> Any:
    """Call and await a handler, but not longer than that. Raises `HandlerTimeout`.

    What it waits for by its own bus has no more time than it has.
    """
    due = asyncio.get_running_loop().time() + seconds
    deadline = until(storage)
    limited = storage.limited(min(due, deadline) if deadline else due)
    limit = asyncio.timeout_at(due)
    try:
        async with limit:
            result = handler.call(message, context, limited)
            return await result if inspect.isawaitable(result) else result
    except TimeoutError as error:
        if limit.expired():
            raise HandlerTimeout(handler.spec, seconds) from error
        raise
    finally:
        limited.closed = True


def once(guard: GuardSpec, message: object, context: MessageContext, inner: Proceed) -> Proceed:
    """Return a guard's run, which lets what is inside run once at most."""
    used = False

    async def proceed() -> Any:
        nonlocal used
        if used:
            msg = f"{guard.name} ({guard.location}) called proceed() twice for one message"
            raise RuntimeError(msg)
        used = True
        return await inner()

    def run() -> Awaitable[Any]:
        return guard.function(message, context, proceed)

    return run
