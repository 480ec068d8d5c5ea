"""What a graph of ididi serves to handlers, and when its scopes end."""

import asyncio
import gc
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import pytest
from ididi import AsyncScope, Graph, Ignore, use
from ididi import Resolver as IdidiResolver
from unit.integrations.support import Ping, Pong, Session, open_session
from unit.support import registry_with

from runtime import BusTerminal, Command, Event, EventBus, MessageRegistry, concurrent
from runtime.errors import LifetimeError
from runtime.integrations.ididi import GraphResolver, scope_at_hand


def graph_of(*nodes: Any) -> Graph:
    graph = Graph(self_inject=False)
    for node in nodes:
        graph.node(node, reuse=True)
    return graph


async def test_each_scope_of_ours_has_one_of_the_graph() -> None:
    """It is opened when something is first asked of it, and left with our exception."""
    seen: list[Session] = []

    async def handler(ping: Ping, session: Session, again: Session) -> None:
        assert session is again
        seen.append(session)
        if ping.number:
            raise LookupError

    graph = graph_of(open_session)
    async with BusTerminal(registry_with(handler), resolver=GraphResolver(graph)) as terminal:
        async with terminal.scope() as scope:
            await scope.bus.publish(Ping())
            await scope.bus.publish(Ping())
            at_hand: object = (await scope.resolve(AsyncScope)).use_scope()
            assert at_hand is scope_at_hand(graph)
        assert scope_at_hand(graph) is None
        with pytest.raises(LookupError):
            await terminal.bus.publish(Ping(1))
    assert seen[0] is seen[1] is not seen[2]
    assert [seen[0].end, seen[2].end] == ["well", "LookupError"]


async def test_a_cancellation_is_seen() -> None:
    """What a cancelled handler has opened rolls back."""
    seen: list[Session] = []
    started = asyncio.Event()

    async def handler(ping: Ping, session: Session) -> None:
        seen.append(session)
        started.set()
        await asyncio.Event().wait()

    graph = graph_of(open_session)
    async with BusTerminal(registry_with(handler), resolver=GraphResolver(graph)) as terminal:
        task = asyncio.create_task(terminal.bus.publish(Ping()))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert seen[0].end == "CancelledError"


async def test_tasks_may_share_a_scope() -> None:
    """It is built once, and left by another task than the one that opened it."""
    seen: list[object] = []

    class Repository:
        def __init__(self, session: Session) -> None:
            self.session = session

    async def slow_session() -> AsyncGenerator[Session, None]:
        session = Session()
        await asyncio.sleep(0)
        yield session
        session.end = "well"

    async def first(ping: Ping, repository: Repository) -> None:
        seen.append(repository.session)

    async def second(ping: Ping, session: Session) -> None:
        seen.append(session)

    graph = graph_of(slow_session, Repository)
    resolver = GraphResolver(graph)
    registry = registry_with(first, second)
    async with BusTerminal(registry, resolver=resolver, publisher=concurrent) as terminal:
        await terminal.bus.publish(Ping())
        async with terminal.scope() as scope:
            await asyncio.gather(scope.bus.publish(Ping()), scope.bus.publish(Ping()))
    assert len(seen) == 6
    assert len({*seen[:2]}) == len({*seen[2:]}) == 1
    assert {session.end for session in seen if isinstance(session, Session)} == {"well"}


async def test_a_chain_of_emits_keeps_no_scope_of_its_past() -> None:
    """Each message runs under a copy of its emitter's context, which names the scope before."""
    alive: weakref.WeakSet[AsyncScope] = weakref.WeakSet()
    most = 0

    async def handler(ping: Ping, scope: AsyncScope, bus: EventBus[Event]) -> None:
        nonlocal most
        gc.collect()
        alive.add(scope)
        most = max(most, len(alive))
        if ping.number:
            bus.emit(Ping(ping.number - 1))

    resolver = GraphResolver(graph_of())
    async with BusTerminal(registry_with(handler), resolver=resolver) as terminal:
        terminal.bus.emit(Ping(50))
        await terminal.drain()
    assert most <= 3


async def test_what_goes_to_a_mailbox_finds_no_scope_of_its_sender() -> None:
    """Also a handler that asks the graph for nothing; the sender goes on with its own."""
    seen: list[object] = []

    class Actor:
        async def pong(self, pong: Pong) -> None:
            seen.append(scope_at_hand(graph))

    class Ask(Command[None]):
        pass

    async def ask(command: Ask) -> None:
        seen.append(scope_at_hand(graph))

    async def handler(ping: Ping, bus: EventBus[Event]) -> None:
        seen.append(scope_at_hand(graph))
        # Outside of every scope the graph has one, which is not asynchronous.
        assert not isinstance(graph.use_scope(), AsyncScope)
        await asyncio.sleep(0)
        if ping.number == 0:
            bus.emit(Ping(1))

    graph = graph_of(open_session)
    registry = registry_with(handler, ask)
    registry.register(Actor, lifetime="actor")
    async with BusTerminal(registry, resolver=GraphResolver(graph)) as terminal:
        async with graph.ascope() as own:
            await terminal.bus.ask(Ask(), key="box")
            await terminal.bus.emit(Ping(0)).wait()
            await terminal.bus.emit(Ping(2), key="box").wait()
            await terminal.bus.ask(Ask(), key="box")
            async with terminal.scope("actor") as scope:
                await scope.bus.publish(Pong())
            assert scope_at_hand(graph) is own
        await terminal.drain()
    assert seen == [None] * 6


async def test_what_the_graph_knows_it_serves() -> None:
    """Nodes, what they derive from, and what is marked; but nothing that is only ignored."""
    seen: list[Any] = []

    class Clock(ABC):
        @abstractmethod
        def now(self) -> int: ...

    class Watch(Clock):
        def now(self) -> int:
            return 7

    class Unknown:
        pass

    async def handler(
        ping: Ping,
        clock: Clock,
        session: Annotated[Session, use(open_session)],
        unknown: Unknown,
        own: Ignore[Watch],
        scope: AsyncScope,
        resolver: IdidiResolver,
        numbers: dict[str, int] = {},  # noqa: B006 -- never changed
        name: str = "default",
    ) -> None:
        seen.extend([clock.now(), session.end, unknown, own, scope is resolver, numbers, name])

    graph = graph_of(Watch)
    async with BusTerminal(registry_with(handler), resolver=GraphResolver(graph)) as terminal:
        await terminal.bus.publish(Ping())
        text = str(terminal.explain(Ping))
        with terminal.override({Session: Session()}):
            await terminal.bus.publish(Ping())
    unknown, own = seen[2:4]
    assert seen[:7] == [7, "open", unknown, own, True, {}, "default"]
    assert (type(unknown), type(own)) == (Unknown, Watch)
    assert len(seen) == 14
    assert text.count("from the resolver") >= 4


async def test_what_the_graph_serves_is_scoped() -> None:
    """Even if the graph keeps it for good: a singleton of ours cannot depend on it."""

    class Keeper:
        def __init__(self, session: Session) -> None:
            pass

    registry = MessageRegistry(event_base=Event)
    registry.factory(Keeper, lifetime="singleton")

    @registry.register
    async def handler(ping: Ping, keeper: Keeper) -> None:
        pass

    terminal = BusTerminal(registry, resolver=GraphResolver(graph_of(open_session)))
    with pytest.raises(LifetimeError, match="Keeper"):
        await terminal.open()


async def test_without_a_graph_only_the_wish_for_one_fails() -> None:
    """A handler that asks for nothing of it runs."""
    seen: list[Event] = []

    async def plain(ping: Ping) -> None:
        seen.append(ping)

    async def wishes(pong: Pong, scope: AsyncScope) -> None:
        pass

    resolver = GraphResolver()
    async with BusTerminal(registry_with(plain, wishes), resolver=resolver) as terminal:
        await terminal.bus.publish(Ping())
        with pytest.raises(RuntimeError, match="no graph"):
            await terminal.bus.publish(Pong())
    assert seen == [Ping()]
