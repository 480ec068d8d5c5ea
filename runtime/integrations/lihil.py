"""The bus in endpoints of lihil: a plugin that gives each request a bus in its own scope."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from functools import wraps
from typing import Annotated, Any, ParamSpec, cast, get_origin

from ididi import Graph, resolve_meta
from lihil import Lihil, Param, Route
from lihil.plugins import IEndpointInfo
from typing_extensions import TypeVar

from runtime.bus import EventBus
from runtime.integrations.ididi import GraphResolver, scope_at_hand
from runtime.terminal import BusTerminal

__all__ = ("BusPlugin", "PEventBus")

P = ParamSpec("P")
R = TypeVar("R")
E_contra = TypeVar("E_contra", contravariant=True, default=Any)

PEventBus = Annotated[EventBus[E_contra], Param("plugin")]
"""Annotates an endpoint's parameter that `BusPlugin` fills; in a handler it is an `EventBus`.

`PEventBus[UserEvent]` takes the events of users only, as `EventBus[UserEvent]` does.
"""


class BusPlugin:
    """Give endpoints that declare a `PEventBus` a bus in the scope of their request.

    What they publish and send is handled inside the request, with the dependencies that the
    endpoint itself got; what they emit is handled later, in fresh scopes, in order. The bus is
    good until the endpoint returns, or its last item has been yielded.

    The terminal gets the application's graph as its resolver. It opens at the first message, or
    with the application if the plugin's `lifespan` is used, which closes it, too.

    Raises `RuntimeError` if the terminal has frozen, or has another resolver.
    """

    def __init__(self, terminal: BusTerminal[Any]) -> None:
        resolver = terminal.resolver
        if resolver is None:
            resolver = terminal.resolver = GraphResolver()
        if not isinstance(resolver, GraphResolver):
            msg = (
                f"terminal {terminal.name!r} has the resolver {resolver!r}; with this plugin its "
                f"dependencies come from the application's graph, so leave out resolver="
            )
            raise RuntimeError(msg)
        self.terminal = terminal
        self._resolver = resolver

    def __call__(self, ep_info: IEndpointInfo[P, R], /) -> Callable[P, Awaitable[R]]:
        """Return the endpoint's function with its bus filled in."""
        return self.decorate(ep_info)

    def decorate(self, ep_info: IEndpointInfo[P, R]) -> Callable[P, Awaitable[R]]:
        """Return the endpoint's function with its bus filled in, or as it is if it wants none.

        Raises `RuntimeError` if the terminal has frozen without a dependency of the endpoint, which
        handlers of it ask for, too.
        """
        func, graph = ep_info.func, ep_info.graph
        names = [name for name, each in ep_info.sig.plugins.items() if is_bus(each.type_)]
        if self._resolver.graph is None:
            self._resolver.bind(graph)
        self._resolver.expect(node.dependent for node in ep_info.sig.dependencies.values())
        if not names:
            return func
        plain = inspect.unwrap(func)
        is_stream = inspect.isasyncgenfunction(plain)
        # From a thread nothing can be opened.
        in_thread = not is_stream and not inspect.iscoroutinefunction(plain)

        @wraps(func)
        async def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if in_thread:
                await self.terminal.open()
            async with self._bus(graph) as bus:
                kwargs.update(dict.fromkeys(names, bus))
                return await func(*args, **kwargs)

        async def stream(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any]:
            async with self._bus(graph) as bus:
                kwargs.update(dict.fromkeys(names, bus))
                items = cast("AsyncGenerator[Any]", await func(*args, **kwargs))
                async with aclosing(items):
                    async for item in items:
                        yield item

        @wraps(func)
        async def call_stream(*args: P.args, **kwargs: P.kwargs) -> R:
            return cast("R", stream(*args, **kwargs))

        return call_stream if is_stream else call

    @asynccontextmanager
    async def lifespan(self, app: Lihil) -> AsyncGenerator[None]:
        """Open the terminal with the application, and close it with it.

        Raises, at the start, what is wrong with the wiring and what `BusTerminal.open` raises.
        """
        self._resolver.bind(app.graph, declared_in(app))
        async with self.terminal:
            yield

    @asynccontextmanager
    async def _bus(self, graph: Graph) -> AsyncGenerator[EventBus[Any]]:
        """Open a scope of the terminal for a request, served from the request's own."""
        own = scope_at_hand(graph)
        async with self.terminal.scope() as scope:
            if own is not None:
                await self._resolver.lend(own, scope)
            yield scope.bus


def is_bus(annotation: object) -> bool:
    """Say whether a parameter that a plugin has to fill takes a bus."""
    return annotation is EventBus or get_origin(annotation) is EventBus


def declared_in(app: Lihil) -> Iterator[Any]:
    """Yield the dependencies that endpoints mark with `use`, which lihil has not read yet."""
    for route in app.routes:
        for endpoint in route.endpoints.values() if isinstance(route, Route) else ():
            for parameter in inspect.signature(endpoint.unwrapped_func).parameters.values():
                if resolve_meta(parameter.annotation) is not None:
                    yield parameter.annotation
