"""Dependencies from a graph of ididi, the container that lihil builds on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import ContextVar, Token, copy_context
from types import TracebackType
from typing import Any, Final, Self, get_origin

from ididi import AsyncScope, Graph, SyncScope, resolve_meta
from ididi import Resolver as IdidiResolver

# What `Graph.ascope` is made of. Used by itself, that would hide a cancellation from what it
# leaves, could not be left in another task, and would keep every scope that led to it alive.
from ididi.graph import (
    _SCOPE_CONTEXT as SCOPE_AT_HAND,  # pyright: ignore[reportPrivateUsage]
)

from runtime.scope import Scope
from runtime.signature import show

__all__ = ("GraphResolver", "GraphScope", "scope_at_hand")

SCOPES: Final = (AsyncScope, IdidiResolver)
"""What a handler may declare to get the graph's scope itself."""
UNBUILDABLE: Final = frozenset(("abc", "builtins", "typing"))

lent: ContextVar[AsyncScope | None] = ContextVar("runtime.integrations.ididi.lent", default=None)


def scope_at_hand(graph: Graph) -> AsyncScope | None:
    """Return the asynchronous scope that the current code runs in, if there is one."""
    try:
        scope: object = graph.use_scope()
    except LookupError:
        return None
    return scope if isinstance(scope, AsyncScope) else None


class GraphResolver:
    """Serve what the registries do not know from a graph: a `Resolver` for a terminal.

    A type is served if the graph has a node for it, or for a class derived from it, when the
    terminal freezes; so is ``Annotated[T, use(factory)]`` with the `use` of ididi. Each scope of
    the terminal has a scope of the graph, opened when it is first asked for something, and left
    with the exception that ended ours.

    A graph that is not there yet is bound later, but before the terminal freezes.
    """

    def __init__(self, graph: Graph | None = None) -> None:
        self._graph = graph
        self._ahead: Graph | None = None
        self._outside: SyncScope | None = None
        self._missed: set[Any] = set()

    @property
    def graph(self) -> Graph | None:
        """The graph that serves."""
        return self._graph

    def bind(self, graph: Graph, declared: Iterable[Any] = ()) -> None:
        """Serve from a graph, and what is `declared` for it but has not been included yet.

        Raises `RuntimeError` if the terminal has frozen without it, and missed something by that.
        """
        ahead = copy_context().run(grown, graph, declared)
        self.expect(tp for tp in self._missed if is_known(ahead, tp))
        self._graph = graph
        self._ahead = ahead

    def expect(self, types: Iterable[Any]) -> None:
        """Raise `RuntimeError` if the terminal was told that the graph does not know these."""
        missed = sorted(show(tp) for tp in types if tp in self._missed)
        if missed:
            msg = (
                f"the terminal was wired before it was known that the graph provides "
                f"{', '.join(missed)}: set up all endpoints before the first message, or open the "
                f"terminal with lifespan=BusPlugin(...).lifespan"
            )
            raise RuntimeError(msg)

    def rebind(self) -> None:
        """Take the scope of whoever sends a message from the message's context variables.

        What is at hand instead is an empty one, as a graph has outside of every scope.
        """
        if self._outside is None:
            # A new graph makes a scope of its own the one at hand.
            self._outside = copy_context().run(lambda: Graph(self_inject=False).use_scope())
        SCOPE_AT_HAND.set(self._outside)

    def provides(self, tp: Any, /) -> bool:
        """Say whether the graph knows a type."""
        if tp in SCOPES:
            return True
        marker = resolve_meta(tp)
        if marker is not None:
            return not marker.ignore
        known = any(is_known(graph, tp) for graph in (self._graph, self._ahead) if graph)
        if not known:
            self._missed.add(tp)
        return known

    def scope(self) -> GraphScope:
        """Return the graph's side of one scope of the terminal.

        Raises `RuntimeError` if there is no graph yet.
        """
        if self._graph is None:
            msg = "there is no graph to serve from: bind one before the terminal gets a message"
            raise RuntimeError(msg)
        return GraphScope(self._graph, lent.get())

    async def lend(self, own: AsyncScope, to: Scope[Any]) -> None:
        """Serve a scope of the terminal from a scope of the graph that somebody else leaves."""
        # Only for as long as it takes to open it: what is emitted later, under a copy of these
        # context variables, finds nothing.
        token = lent.set(own)
        try:
            await to.resolve(AsyncScope)
        finally:
            lent.reset(token)


class GraphScope(AbstractAsyncContextManager["GraphScope"]):
    """A scope of a graph beside one of the terminal's: a fresh one, or one that is lent."""

    def __init__(self, graph: Graph, own: AsyncScope | None = None) -> None:
        self._graph = graph
        self._is_lent = own is not None
        self._own = own
        self._token: Token[SyncScope | AsyncScope] | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Open a scope and make it the one at hand, unless one is lent."""
        if self._own is None:
            self._own = self._graph._create_ascope()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            self._token = SCOPE_AT_HAND.set(self._own)
        return self

    async def resolve(self, tp: Any, /) -> Any:
        """Return the graph's object of a type, built if need be."""
        own = self._own
        assert own is not None, "it has been entered"  # noqa: S101 -- for the checkers
        if tp in SCOPES:
            return own
        # Two at a time could each build what both need, and is there once.
        async with self._turn:
            return await own.resolve(tp)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave what the scope has entered, which sees the error or the cancellation."""
        if self._token is None or self._own is None:
            return
        try:
            await self._own.__aexit__(kind, error, traceback)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        finally:
            # Another task may have opened it; then the binding has ended with that one's context.
            with suppress(ValueError):
                SCOPE_AT_HAND.reset(self._token)


def grown(graph: Graph, declared: Iterable[Any]) -> Graph:
    """Return a graph that knows all that this one will know when everything has been analyzed.

    The graph itself stays as it is: what it knows decides how lihil reads an endpoint's
    parameters. Runs in a context of its own, since a new graph makes a scope of its own the one
    at hand.
    """
    twin = Graph(self_inject=False)
    twin.merge(graph)
    for node in (*graph.nodes, *declared):
        # Whoever resolves it will hear what is wrong with it.
        with suppress(Exception):
            twin.analyze(node)
    return twin


def is_known(graph: Graph, tp: Any) -> bool:
    """Say whether a graph has a node for a type, or for a class derived from it."""
    origin = get_origin(tp) or tp
    if tp in graph.nodes or origin in graph.nodes:
        return True
    is_base = isinstance(origin, type) and origin.__module__ not in UNBUILDABLE
    return is_base and bool(graph.type_registry.get(origin))
