"""The bus in endpoints of lihil: whose scope is whose, and what becomes of it."""

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import Annotated, Any

import pytest
from ididi import AsyncScope, Graph
from lihil import Empty, Lihil, LocalClient, Route, Stream, status, use
from unit.integrations.support import Ping, Pong, Session, open_session, serve

from runtime import BusTerminal, Event, MessageContext, MessageRegistry, Retry
from runtime.errors import ProviderError, TerminalClosed
from runtime.integrations.ididi import GraphScope
from runtime.integrations.lihil import BusPlugin, PEventBus
from runtime.sinks import Record

Shared = Annotated[Session, use(open_session, reuse=True)]


class TodoCreated(Event):
    name: str
    content: str


def registry_of(*handlers: Callable[..., Any]) -> MessageRegistry[Event]:
    registry = MessageRegistry(event_base=Event)
    registry.register(*handlers)
    return registry


def plugin_of(*handlers: Callable[..., Any], **options: Any) -> BusPlugin:
    return BusPlugin(BusTerminal(registry_of(*handlers), **options))


async def call(route: Route, **query: Any) -> int:
    """Post to a route that may have been set up before; return the status."""
    client = LocalClient()
    return (await client.call_route(route, "POST", query_params=query)).status_code


# The example, as it stands in the contract


@pytest.mark.parametrize("decorate", [False, True])
@pytest.mark.parametrize("whole", [False, True], ids=["call_endpoint", "call_route"])
async def test_the_example_runs_as_written(*, decorate: bool, whole: bool) -> None:
    """An unannotated second parameter takes the context."""
    heard: list[tuple[str, TodoCreated, object]] = []

    async def listen_create(created: TodoCreated, ctx) -> None:  # type: ignore[no-untyped-def]  # pyright: ignore[reportUnknownParameterType, reportMissingParameterType]
        heard.append(("create", created, ctx))  # pyright: ignore[reportUnknownArgumentType]

    async def listen_twice(created: TodoCreated, ctx: Any) -> None:
        heard.append(("twice", created, ctx))

    registry = MessageRegistry(event_base=Event)
    registry.register(listen_create, listen_twice)  # pyright: ignore[reportUnknownArgumentType]

    bus_plugin = BusPlugin(BusTerminal(registry))
    bus_route = Route("/bus", plugins=[bus_plugin.decorate if decorate else bus_plugin])

    @bus_route.post
    async def create_todo(name: str, content: str, bus: PEventBus) -> Annotated[Empty, status.OK]:
        await bus.publish(TodoCreated(name, content))

    query = {"name": "test", "content": "words"}
    client = LocalClient()
    if whole:
        response = await client.call_route(bus_route, "POST", query_params=query)
    else:
        endpoint = bus_route.get_endpoint("POST")
        response = await client.call_endpoint(endpoint, query_params=query)
    assert response.status_code == 200
    assert [name for name, _, _ in heard] == ["create", "twice"]
    assert {created for _, created, _ in heard} == {TodoCreated("test", "words")}
    assert all(isinstance(context, MessageContext) for _, _, context in heard)
    await bus_plugin.terminal.close()


# Scopes


async def test_a_publish_shares_the_dependencies_of_the_request() -> None:
    """The endpoint's object is the handlers' object, and ends with the request, not before."""
    seen: list[Session] = []

    async def first(ping: Ping, ctx: MessageContext, session: Session) -> None:
        seen.append(session)

    async def second(ping: Ping, ctx: MessageContext, session: Shared, bus: PEventBus) -> None:
        seen.append(session)
        await bus.publish(Pong())

    async def third(pong: Pong, session: Session) -> None:
        seen.append(session)

    plugin = plugin_of(first, second, third)
    route = Route("/", plugins=[plugin])

    @route.post
    async def ping(session: Shared, bus: PEventBus) -> None:
        seen.append(session)
        await bus.publish(Ping())
        assert session.end == "open"

    assert await call(route) == 200
    assert len(seen) == 4
    assert len({*seen}) == 1
    assert seen[0].end == "well"
    await plugin.terminal.close()


async def test_what_emit_runs_gets_a_fresh_scope_for_each_attempt() -> None:
    """Neither the request's object nor that of another attempt, also as the scope at hand."""
    seen: list[tuple[Session, AsyncScope, object]] = []

    async def fails_once(
        ping: Ping, ctx: MessageContext, session: Session, scope: AsyncScope
    ) -> None:
        seen.append((session, scope, scope.use_scope()))
        if len(seen) == 2:
            raise OSError

    registry = MessageRegistry(event_base=Event)
    registry.register(fails_once, retry=Retry(attempts=2, backoff=0, jitter=False))
    plugin = BusPlugin(BusTerminal(registry))
    route = Route("/", plugins=[plugin])

    @route.post
    async def ping(session: Shared, scope: AsyncScope, bus: PEventBus) -> None:
        seen.append((session, scope, scope.use_scope()))
        bus.emit(Ping())
        # While the request's scope is open.
        await plugin.terminal.bus.publish(Pong())
        await asyncio.sleep(0)

    assert await call(route) == 200
    await plugin.terminal.drain()
    sessions, scopes, at_hand = (list(each) for each in zip(*seen, strict=True))
    assert len({*sessions}) == len({*scopes}) == 3
    assert at_hand == scopes
    assert [each.end for each in sessions] == ["well", "OSError", "well"]
    assert plugin.terminal.stats().scopes == 0
    await plugin.terminal.close()


@pytest.mark.parametrize("whole", [False, True], ids=["call_endpoint", "call_route"])
async def test_a_bus_of_some_events(*, whole: bool) -> None:
    """An endpoint may say which events it publishes; for the plugin that is a bus like any."""
    heard: list[Event] = []

    async def handler(ping: Ping) -> None:
        heard.append(ping)

    plugin = plugin_of(handler)
    route = Route("/", plugins=[plugin])

    @route.post
    async def ping(bus: PEventBus[Ping]) -> None:
        await bus.publish(Ping())
        # It is refused by type checkers; nobody looks when it runs.
        bus.emit(Pong())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    if whole:
        assert await call(route) == 200
    else:
        response = await LocalClient().call_endpoint(route.get_endpoint("POST"))
        assert response.status_code == 200
    assert heard == [Ping()]
    await plugin.terminal.close()


async def test_the_scope_at_hand_counts_also_if_lihil_did_not_need_one() -> None:
    """With `scoped=True` lihil opens one; what the handler opens in it ends with the request."""
    seen: list[Any] = []

    async def handler(ping: Ping, ctx: MessageContext, session: Session, scope: AsyncScope) -> None:
        seen.append((session, scope))

    plugin = plugin_of(handler)
    graph = Graph()
    graph.node(open_session, reuse=True)
    route = Route("/", graph=graph, plugins=[plugin], scoped=True)

    @route.post
    async def ping(bus: PEventBus) -> None:
        await bus.publish(Ping())
        session, scope = seen[0]
        assert scope is graph.use_scope()
        # Its types say that this is the synchronous one.
        at_hand: Any = graph.use_scope()
        assert await at_hand.resolve(Session) is session
        seen.append(session.end)

    assert (await LocalClient(graph=graph).call_route(route, "POST")).status_code == 200
    assert seen[1] == "open"
    assert seen[0][0].end == "well"
    await plugin.terminal.close()


@pytest.mark.parametrize("bare", [False, True], ids=["default scope", "empty context"])
async def test_without_a_scope_the_call_gets_one(*, bare: bool) -> None:
    """All publishes of a call share it; it is left with the exception that ends the call."""
    seen: list[Session] = []

    async def handler(ping: Ping, session: Session) -> None:
        seen.append(session)

    plugin = plugin_of(handler)
    graph = Graph()
    graph.node(open_session, reuse=True)
    route = Route("/", graph=graph, plugins=[plugin])

    @route.post
    async def ping(fails: bool, bus: PEventBus) -> None:
        await bus.publish(Ping())
        await bus.publish(Ping())
        assert seen[-1].end == "open"
        if fails:
            raise LookupError

    endpoint = route.get_endpoint("POST")

    async def post(fails: str) -> None:
        await LocalClient().call_endpoint(endpoint, query_params={"fails": fails})

    context = Context() if bare else None
    await asyncio.create_task(post("false"), context=context)
    with pytest.raises(LookupError):
        await asyncio.create_task(post("true"), context=context)
    assert seen[0] is seen[1]
    assert seen[2] is seen[3]
    assert [seen[0].end, seen[2].end] == ["well", "LookupError"]
    await plugin.terminal.close()


async def test_a_failed_publish_fails_the_request() -> None:
    """The handler's exception reaches the endpoint, and the request's session rolls back."""
    seen: list[Session] = []

    async def handler(ping: Ping, session: Session) -> None:
        seen.append(session)
        raise LookupError

    plugin = plugin_of(handler)
    route = Route("/", plugins=[plugin])

    @route.post
    async def ping(session: Shared, bus: PEventBus) -> None:
        await bus.publish(Ping())

    with pytest.raises(LookupError):
        await call(route)
    assert seen[0].end == "LookupError"
    assert plugin.terminal.stats().scopes == 0
    await plugin.terminal.close()


async def test_a_stream_keeps_its_bus_until_its_last_item() -> None:
    """The scope ends with the generator."""
    seen: list[Session] = []

    async def handler(ping: Ping, session: Session) -> None:
        seen.append(session)

    plugin = plugin_of(handler)
    route = Route("/", plugins=[plugin])

    @route.post
    async def ping(session: Shared, bus: PEventBus) -> Stream[str]:
        seen.append(session)
        for number in range(3):
            await bus.publish(Ping(number))
            yield f"{number}{plugin.terminal.stats().scopes}"

    response = await LocalClient().call_route(route, "POST")
    assert b"".join([chunk async for chunk in response.stream()]).replace(b'"', b"") == b"011121"
    assert len(seen) == 4
    assert len({*seen}) == 1
    assert plugin.terminal.stats().scopes == 0
    await plugin.terminal.close()


async def test_an_endpoint_in_a_thread_has_the_verbs_for_threads() -> None:
    """Also if its first request is the first that the terminal hears of."""
    seen: list[tuple[int, Session]] = []

    async def handler(ping: Ping, ctx: MessageContext, session: Session) -> None:
        seen.append((ping.number, session))

    plugin = plugin_of(handler)
    route = Route("/", plugins=[plugin])

    @route.post
    def ping(session: Shared, bus: PEventBus) -> None:
        seen.append((0, session))
        bus.from_thread.publish(Ping(1))
        bus.from_thread.emit(Ping(2))

    assert await call(route) == 200
    await plugin.terminal.drain()
    assert [number for number, _ in seen] == [0, 1, 2]
    sessions = [session for _, session in seen]
    assert sessions[0] is sessions[1] is not sessions[2]
    await plugin.terminal.close()


@pytest.mark.parametrize("items", [0, 1])
async def test_a_stream_that_nobody_reads_to_its_end_leaves_no_scope(items: int) -> None:
    """A client that goes away ends the scope; one that never came has opened none."""
    ends: list[str] = []
    plugin = plugin_of()
    route = Route("/", plugins=[plugin])

    @route.post
    async def ping(bus: PEventBus) -> Stream[str]:
        try:
            while True:
                yield "item"
        finally:
            ends.append("closed")

    stream = await route.get_endpoint("POST")._func()
    for _ in range(items):
        await anext(stream)
    assert plugin.terminal.stats().scopes == items
    await stream.aclose()
    assert plugin.terminal.stats().scopes == 0
    assert ends == ["closed"] * items
    await plugin.terminal.close()


async def test_every_bus_that_an_endpoint_declares_is_filled() -> None:
    """Narrower ones too; an endpoint without one is left as it is."""
    seen: list[int] = []

    async def handler(ping: Ping) -> None:
        seen.append(ping.number)

    plugin = plugin_of(handler)
    route = Route("/", plugins=[plugin])

    @route.post
    async def two(bus: PEventBus, other: PEventBus) -> None:
        assert bus is other
        await other.publish(Ping(1))

    @route.get
    async def none(number: int) -> int:
        return number

    assert await call(route) == 200
    assert seen == [1]
    assert route.get_endpoint("GET")._func is none
    await plugin.terminal.close()


# The life of the terminal


class MemorySink:
    def __init__(self) -> None:
        self.log: list[object] = []

    async def open(self) -> None:
        self.log.append("open")

    async def sink(self, records: list[Record]) -> None:
        self.log += [record.event for record in records]

    async def close(self) -> None:
        self.log.append("close")


async def test_requests_over_http_see_only_their_own_session() -> None:
    """50 at a time, each with its own session, in its handlers as in its endpoint."""
    seen: dict[int, list[Session]] = {}
    later: list[Session] = []
    everybody = asyncio.Barrier(50)

    async def handler(ping: Ping, ctx: MessageContext, session: Session) -> None:
        await everybody.wait()
        seen[ping.number].append(session)

    async def afterwards(pong: Pong, ctx: MessageContext, session: Session) -> None:
        later.append(session)

    sink = MemorySink()
    plugin = plugin_of(handler, afterwards, sink=sink)
    route = Route("/ping", plugins=[plugin])

    @route.post
    async def ping(number: int, session: Shared, bus: PEventBus) -> int:
        seen[number] = [session]
        await bus.publish(Ping(number))
        await bus.sink(Ping(number))
        bus.emit(Pong(number))
        return number

    async with serve(Lihil(route, lifespan=plugin.lifespan)) as client:
        assert sink.log == ["open"]
        posts = (client.post("/ping", params={"number": number}) for number in range(50))
        answers = await asyncio.gather(*posts)
        await plugin.terminal.drain()
    assert [answer.json() for answer in answers] == list(range(50))
    assert all(len(sessions) == 2 and len({*sessions}) == 1 for sessions in seen.values())
    own = {sessions[0] for sessions in seen.values()}
    assert len(own) == len({*later}) == 50
    assert not own & {*later}
    assert {session.end for session in own} == {"well"}
    assert plugin.terminal.stats().scopes == 0
    assert sink.log[-1] == "close"
    with pytest.raises(TerminalClosed):
        await plugin.terminal.bus.publish(Ping())


async def test_what_is_wrong_with_the_wiring_stops_the_start() -> None:
    """The lifespan opens the terminal, which says what is missing."""

    async def handler(ping: Ping, number: int) -> None:
        pass

    plugin = plugin_of(handler)
    app = Lihil(lifespan=plugin.lifespan)
    with pytest.raises(ProviderError, match=r"handler.*number: int"):
        await app._lifespan().__aenter__()


async def test_without_a_lifespan_the_terminal_opens_at_the_first_message() -> None:
    """The graph is the one that the endpoint was set up with."""
    seen: list[Session] = []

    async def handler(ping: Ping, session: Session) -> None:
        seen.append(session)

    plugin = plugin_of(handler)
    route = Route("/ping", plugins=[plugin])

    @route.post
    async def ping(session: Shared, bus: PEventBus) -> None:
        seen.append(session)
        await bus.publish(Ping())

    async with serve(Lihil(route)) as client:
        assert (await client.post("/ping")).status_code == 200
    assert seen[0] is seen[1]
    await plugin.terminal.close()


async def test_the_graph_serves_what_stands_behind_an_endpoint() -> None:
    """Also what only a factory asks for, although lihil reads endpoints after the lifespan."""

    class Engine:
        pass

    class Connection:
        def __init__(self, engine: Engine) -> None:
            self.engine = engine

    engine = Engine()

    def get_engine() -> Engine:
        return engine

    def connect(engine: Annotated[Engine, use(get_engine, reuse=True)]) -> Connection:
        return Connection(engine)

    seen: list[object] = []

    async def handler(ping: Ping, engine: Engine, connection: Connection) -> None:
        seen.extend([engine, connection.engine])

    plugin = plugin_of(handler)
    route = Route("/ping", plugins=[plugin])

    @route.post
    async def ping(
        connection: Annotated[Connection, use(connect, reuse=True)], bus: PEventBus
    ) -> None:
        await bus.publish(Ping())

    app = Lihil(route, lifespan=plugin.lifespan)
    async with serve(app) as client:
        assert (await client.post("/ping")).status_code == 200
    assert seen == [engine, engine]


async def test_looking_ahead_does_not_change_how_lihil_reads_an_endpoint() -> None:
    """What a factory needs stays a body to the endpoint that takes it for one."""
    plugin = plugin_of()
    route = Route("/ping", plugins=[plugin])

    class Behind:
        def __init__(self, ping: Ping) -> None:
            self.ping = ping

    def make(ping: Ping) -> Behind:
        return Behind(ping)

    @route.post
    async def ping(ping: Ping, bus: PEventBus) -> int:
        return ping.number

    @route.put
    async def other(behind: Annotated[Behind, use(make)], bus: PEventBus) -> int:
        return behind.ping.number

    async with serve(Lihil(route, lifespan=plugin.lifespan)) as client:
        assert (await client.post("/ping", json={"number": 7})).text == "7"


async def test_a_terminal_that_opened_too_early_says_what_it_missed() -> None:
    """Not served from the graph, a session would be made by its own `__init__`."""

    async def handler(ping: Ping, session: Session) -> None:
        pass

    plugin = plugin_of(handler)
    graph = Graph()
    graph.node(open_session)
    route = Route("/", graph=graph, plugins=[plugin])

    @route.post
    async def ping(bus: PEventBus) -> None:
        pass

    async with plugin.terminal:
        with pytest.raises(RuntimeError, match=r"the graph provides Session.*lifespan"):
            route.setup()


async def test_an_endpoint_that_is_set_up_too_late_is_refused() -> None:
    """Its session would be one, that of the handlers another."""

    async def handler(ping: Ping, session: Session) -> None:
        pass

    plugin = plugin_of(handler)
    early, late = Route("/early", plugins=[plugin]), Route("/late", plugins=[plugin])

    @early.post
    async def ping(bus: PEventBus) -> None:
        await bus.publish(Pong())

    @late.post
    async def other(session: Shared) -> None:
        pass

    assert await call(early) == 200
    with pytest.raises(RuntimeError, match=r"the graph provides Session.*all endpoints"):
        await call(late)
    await plugin.terminal.close()


async def test_a_terminal_takes_one_resolver() -> None:
    """Several plugins share a terminal and its resolver; nothing else may have set one."""
    terminal = BusTerminal(registry_of())
    first, second = BusPlugin(terminal), BusPlugin(terminal)
    assert first.terminal is second.terminal

    class Other:
        def provides(self, tp: Any, /) -> bool:
            return False

        def scope(self) -> Any:
            raise NotImplementedError

    with pytest.raises(RuntimeError, match="leave out resolver="):
        BusPlugin(BusTerminal(registry_of(), resolver=Other()))
    async with BusTerminal(registry_of()) as open_terminal:
        with pytest.raises(RuntimeError, match="has frozen"):
            BusPlugin(open_terminal)


# Leaks


async def test_a_thousand_requests_leave_nothing_behind() -> None:
    """No scope stays open, neither ours nor the graph's, and no object of theirs is kept."""

    async def handler(ping: Ping, ctx: MessageContext, session: Session) -> None:
        pass

    async def fails(pong: Pong, ctx: MessageContext, session: Session) -> None:
        raise LookupError

    plugin = plugin_of(handler, fails)
    route = Route("/", plugins=[plugin])

    @route.post
    async def ping(number: int, session: Shared, bus: PEventBus) -> None:
        await bus.publish(Ping())
        bus.emit(Ping())
        if number % 2 == 0:
            await bus.publish(Pong())

    async def post(start: int) -> int:
        for number in range(start, start + 500):
            query = {"number": number}
            with suppress(LookupError):
                await client.call_endpoint(endpoint, query_params=query)
        await plugin.terminal.drain()
        gc.collect()
        kinds = (AsyncScope, GraphScope, Session, MessageContext)
        return sum(isinstance(each, kinds) for each in gc.get_objects())

    client, endpoint = LocalClient(), route.get_endpoint("POST")
    # lihil keeps the last 128 exceptions, and all that they lead to; more than so many fail.
    first = await post(1)
    assert await post(501) < first + 50
    stats = plugin.terminal.stats()
    assert (stats.scopes, stats.pending) == (0, 0)
    assert stats.emitted == stats.handled == 1000
    await plugin.terminal.close()
