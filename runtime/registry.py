"""Where handlers and factories are declared: a value, with no globals behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar, overload

from runtime.errors import HandlerSignatureError
from runtime.lifetimes import FactoryLifetime, FactorySpec, read_factory
from runtime.messages import Event
from runtime.signature import HandlerSpec, place, read_class, read_handler

__all__ = ("MessageRegistry",)

E_co = TypeVar("E_co", covariant=True)
H = TypeVar("H", bound=Callable[..., Any])
F = TypeVar("F", bound=Callable[..., Any])


class MessageRegistry(Generic[E_co]):
    """Collect handlers of events derived from `event_base`, and the factories that wire them."""

    @overload
    def __init__(self: MessageRegistry[Event]) -> None: ...
    @overload
    def __init__(self, *, event_base: type[E_co]) -> None: ...
    def __init__(self, *, event_base: type = Event) -> None:
        self._event_base = event_base
        self._handlers: list[HandlerSpec] = []
        self._factories: list[FactorySpec] = []

    @property
    def handlers(self) -> tuple[HandlerSpec, ...]:
        """The handlers in registration order."""
        return tuple(self._handlers)

    @property
    def factories(self) -> tuple[FactorySpec, ...]:
        """The factories in registration order."""
        return tuple(self._factories)

    @overload
    def register(self, handler: H, /, *, lifetime: Literal["actor"] | None = None) -> H: ...
    @overload
    def register(self, *, lifetime: Literal["actor"] | None = None) -> Callable[[H], H]: ...
    @overload
    def register(
        self,
        first: Callable[..., Any],
        second: Callable[..., Any],
        /,
        *more: Callable[..., Any],
        lifetime: Literal["actor"] | None = None,
    ) -> None: ...
    def register(
        self, *handlers: Callable[..., Any], lifetime: Literal["actor"] | None = None
    ) -> Any:
        """Register handlers: functions, or with ``lifetime="actor"`` classes.

        A function is keyed by the annotation of its first parameter and hears that class and
        everything derived from it. An actor class has one instance for each mailbox, made on the
        first message; each of its public methods that takes an event is a handler.

        One handler comes back as it was given, so this works as a decorator, with and without
        options.

        Raises `HandlerSignatureError` saying which handler, where, and which parameter; then
        none of `handlers` is registered.
        """
        if not handlers:

            def decorate(handler: H) -> H:
                return self.register(handler, lifetime=lifetime)

            return decorate
        specs: list[HandlerSpec] = []
        for handler in handlers:
            specs += self._read(handler, lifetime)
        self._handlers += specs
        return handlers[0] if len(handlers) == 1 else None

    def _read(self, handler: Callable[..., Any], lifetime: str | None) -> tuple[HandlerSpec, ...]:
        if isinstance(handler, type) and lifetime == "actor":
            return read_class(handler, self._event_base)
        if lifetime is not None or isinstance(handler, type) or not callable(handler):
            rule = "a class is registered with lifetime='actor', a function without lifetime="
            msg = f"{place(handler)} cannot be registered like this: {rule}"
            raise HandlerSignatureError(msg)
        return (read_handler(handler, self._event_base),)

    @overload
    def factory(
        self, factory: F, /, *, provides: object = None, lifetime: FactoryLifetime = "scoped"
    ) -> F: ...
    @overload
    def factory(
        self,
        factory: None = None,
        /,
        *,
        provides: object = None,
        lifetime: FactoryLifetime = "scoped",
    ) -> Callable[[F], F]: ...
    def factory(
        self,
        factory: Callable[..., Any] | None = None,
        /,
        *,
        provides: object = None,
        lifetime: FactoryLifetime = "scoped",
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
