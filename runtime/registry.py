"""Where handlers and factories are declared: a value, with no globals behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any, Generic, Never, TypeVar, cast, get_args, overload

from runtime.findings import Finding, failure
from runtime.lifetimes import FactorySpec, Lifetime, read_factory
from runtime.messages import Command, DeadLetter, Event
from runtime.policies import Retry
from runtime.signature import (
    GuardSpec,
    HandlerOptions,
    HandlerSpec,
    OnFailure,
    OwnerLifetime,
    describe,
    read_class,
    read_guard,
    read_handler,
    written,
)

__all__ = ("MessageRegistry",)

E_co = TypeVar("E_co", covariant=True)
H = TypeVar("H", bound=Callable[..., object])
F = TypeVar("F", bound=Callable[..., object])
G = TypeVar("G", bound=Callable[..., Coroutine[object, Never, object]])


class MessageRegistry(Generic[E_co]):
    """Collect handlers, guards, and the factories that wire them.

    Events derive from `event_base`, commands from `command_base`; `DeadLetter` may be heard too.
    """

    @overload
    def __init__(
        self: MessageRegistry[Event], *, command_base: type[Command[Any]] = Command
    ) -> None: ...
    @overload
    def __init__(
        self, *, event_base: type[E_co], command_base: type[Command[Any]] = Command
    ) -> None: ...
    def __init__(
        self, *, event_base: type = Event, command_base: type[Command[Any]] = Command
    ) -> None:
        self._bases = (event_base, command_base, DeadLetter)
        self._handlers: list[HandlerSpec] = []
        self._guards: list[GuardSpec] = []
        self._factories: list[FactorySpec] = []

    @property
    def event_base(self) -> type:
        """The class that the events derive from."""
        return self._bases[0]

    @property
    def command_base(self) -> type[Command[Any]]:
        """The class that the commands derive from."""
        return self._bases[1]

    @property
    def handlers(self) -> tuple[HandlerSpec, ...]:
        """The handlers in registration order."""
        return tuple(self._handlers)

    @property
    def guards(self) -> tuple[GuardSpec, ...]:
        """The guards in registration order, outermost first."""
        return tuple(self._guards)

    @property
    def factories(self) -> tuple[FactorySpec, ...]:
        """The factories in registration order."""
        return tuple(self._factories)

    @overload
    def register(
        self,
        handler: H,
        /,
        *,
        lifetime: OwnerLifetime | None = None,
        in_thread: bool = False,
        own_task: bool = False,
        retry: Retry | None = None,
        timeout: float | None = None,
        on_failure: OnFailure = "resume",
    ) -> H: ...
    @overload
    def register(
        self,
        *,
        lifetime: OwnerLifetime | None = None,
        in_thread: bool = False,
        own_task: bool = False,
        retry: Retry | None = None,
        timeout: float | None = None,
        on_failure: OnFailure = "resume",
    ) -> Callable[[H], H]: ...
    @overload
    def register(
        self,
        first: Callable[..., object],
        second: Callable[..., object],
        /,
        *more: Callable[..., object],
        lifetime: OwnerLifetime | None = None,
        in_thread: bool = False,
        own_task: bool = False,
        retry: Retry | None = None,
        timeout: float | None = None,
        on_failure: OnFailure = "resume",
    ) -> None: ...
    def register(
        self,
        *handlers: Callable[..., Any],
        lifetime: OwnerLifetime | None = None,
        in_thread: bool = False,
        own_task: bool = False,
        retry: Retry | None = None,
        timeout: float | None = None,
        on_failure: OnFailure = "resume",
    ) -> Any:
        """Register handlers: functions, callable objects, or classes with handling methods.

        A handler is keyed by the annotation of its first parameter and hears that class and
        everything derived from it. Of a class, each public method that takes a message is a
        handler; `lifetime` says how long an instance lives (default: scoped). An actor class has
        one instance for each mailbox, made on the first message; if it is a context manager,
        asynchronous or not, a task of its own enters it before that message and leaves it at its
        end. With `in_thread` a synchronous
        handler runs in the terminal's thread pool, under a copy of the context variables. With
        `own_task` a handler of an emitted message runs in a task of its own, under a copy too; it
        is dearer, and its task is nobody else's.

        `timeout` is how many seconds a call of the handler may take, under any verb; what it needs
        is built before that. Then it is cancelled, and the call fails with a `TimeoutError` that
        names the handler. A thread that is given up goes on by itself. `retry` says how often a
        handler of an emitted message is tried, each time in a fresh scope; `publish` and `send`
        report to their caller at once.

        `on_failure` says what becomes of an actor whose start, or whose handling of an event,
        fails: it stays ("resume"), the next message has a new one ("restart"), or there is none any
        more ("stop", and after more than 5 restarts in 5 seconds). An old instance is left with
        the error, before anything else of its mailbox is started; what is queued stays, in order.
        What is published to it or sent to it, and waits, raises `ActorRestarting`; what is for an
        actor that is stopped, `TerminalClosed`, and becomes a dead letter if it was emitted.

        One handler comes back as it was given, so this works as a decorator, with and without
        options.

        Raises `HandlerSignatureError` saying which handler, where, and which parameter; then
        none of `handlers` is registered.
        """
        options = HandlerOptions(lifetime, in_thread, own_task, timeout, retry, on_failure)
        if not handlers:

            def decorate(handler: H) -> H:
                return self.register(
                    handler,
                    lifetime=lifetime,
                    in_thread=in_thread,
                    own_task=own_task,
                    retry=retry,
                    timeout=timeout,
                    on_failure=on_failure,
                )

            return decorate
        specs: list[HandlerSpec] = []
        for handler in handlers:
            specs += self._read(handler, options)
        self._handlers += specs
        return handlers[0] if len(handlers) == 1 else None

    def _read(self, handler: Any, options: HandlerOptions) -> tuple[HandlerSpec, ...]:
        rule = broken_rule(options) or misplaced_rule(handler, options)
        if rule is None:
            if isinstance(handler, type):
                return read_class(handler, self._bases, options)
            if callable(handler) and options.lifetime is None:
                return (read_handler(handler, self._bases, options),)
            rule = (
                "lifetime= is for classes; a function has no instance that could live"
                if callable(handler)
                else "a handler is a function, a callable object, or a class"
            )
        name, location = describe(handler)
        what = f"cannot be registered like this: {rule}"
        text = f"{name} ({location}) {what}"
        places = (written(handler),)
        raise failure([Finding("bus-handler-signature", name, text, what, places=places)])

    def guard(self, guard: G) -> G:
        """Register a function ``async def (message: T, ctx, proceed) -> R`` around handlers.

        It wraps each handler of a message of `T` and everything derived from it. `proceed()` runs
        what is inside and gives its result; a guard that does not call it keeps the handler from
        running, and its own result stands. Guards nest in registration order, outermost first.

        Raises `HandlerSignatureError` saying which guard, where, and what is wrong with it.
        """
        self._guards.append(read_guard(guard, self._bases))
        return guard

    @overload
    def factory(
        self, factory: F, /, *, provides: object = None, lifetime: Lifetime = "scoped"
    ) -> F: ...
    @overload
    def factory(
        self,
        factory: None = None,
        /,
        *,
        provides: object = None,
        lifetime: Lifetime = "scoped",
    ) -> Callable[[F], F]: ...
    def factory(
        self,
        factory: Callable[..., Any] | None = None,
        /,
        *,
        provides: object = None,
        lifetime: Lifetime = "scoped",
    ) -> Any:
        """Register what builds a dependency: a function, or a class for itself.

        `provides` is the type it serves (default: its return annotation). A singleton is built
        once for a terminal, a scoped object once for each scope. The factory's own parameters are
        wired like a handler's.

        Raises `ProviderError` if it does not say what it provides.
        """
        if factory is None:

            def decorate(factory: F) -> F:
                return self.factory(factory, provides=provides, lifetime=lifetime)

            return decorate
        self._factories.append(read_factory(factory, provides=provides, lifetime=lifetime))
        return factory


def misplaced_rule(handler: object, options: HandlerOptions) -> str | None:
    """Return what is wrong with a rule for actors, if anything is."""
    if options.on_failure not in get_args(OnFailure):
        return f"on_failure must be one of {get_args(OnFailure)}, not {options.on_failure!r}"
    if options.on_failure == "resume" or (
        isinstance(handler, type) and options.lifetime == "actor"
    ):
        return None
    return (
        f"on_failure={options.on_failure!r} is for actors, classes registered with "
        f'lifetime="actor"; nothing else has an instance that could be replaced'
    )


def broken_rule(options: HandlerOptions) -> str | None:
    """Return what is wrong with the options of a handler, or None."""
    if options.lifetime not in (None, "singleton", "actor", "scoped", "transient"):
        return f"lifetime must be one of the four, not {options.lifetime!r}"
    timeout, retry = cast("object", options.timeout), cast("object", options.retry)
    if timeout is not None and (
        not isinstance(timeout, (int, float))
        or isinstance(timeout, bool)
        or not 0 < timeout < math.inf
    ):
        return f"timeout= is a finite number of seconds above 0, not {timeout!r}"
    if retry is not None and not isinstance(retry, Retry):
        return f"retry= is a Retry, as in retry=Retry(attempts=3), not {retry!r}"
    return None
