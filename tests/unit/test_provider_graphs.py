"""Random provider graphs: freeze accepts what a naive checker accepts, and that ends well."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

import runtime
from runtime import BusTerminal, Event, EventBus, MessageRegistry
from runtime.errors import ProviderError

LIFETIMES = ("singleton", "scoped", "transient")
KINDS = ("plain", "async", "generator", "async generator")
BODIES = {
    "plain": "def make({params}) -> T:\n    return begin({number}, [{names}])",
    "async": (
        "async def make({params}) -> T:\n    await pause()\n    return begin({number}, [{names}])"
    ),
    "generator": (
        "def make({params}) -> Iterator[T]:\n"
        "    made = begin({number}, [{names}])\n"
        "    try:\n        yield made\n    finally:\n        end(made)"
    ),
    "async generator": (
        "async def make({params}) -> AsyncIterator[T]:\n"
        "    await pause()\n"
        "    made = begin({number}, [{names}])\n"
        "    try:\n        yield made\n    finally:\n"
        "        try:\n            await pause()\n        finally:\n            end(made)"
    ),
}


class Ping(Event):
    pass


class Go(Event):
    pass


async def nest(event: Go, bus: EventBus[Event]) -> None:
    await bus.publish(Ping())


class Broken(Exception):
    """What a factory or a handler of these tests raises."""


@dataclass(frozen=True)
class Node:
    lifetime: str
    kind: str
    needs: tuple[int, ...]


@dataclass
class Made:
    """An object that a factory has built."""

    number: int
    needs: list["Made"]


@dataclass
class World:
    """What has happened: what was begun and ended, in order."""

    breaks_at: int = -1
    steps: int = 0
    begun: list[Made] = field(default_factory=list[Made])
    ended: list[Made] = field(default_factory=list[Made])

    def step(self) -> None:
        """Fail at the step that was chosen."""
        self.steps += 1
        if self.steps == self.breaks_at:
            raise Broken


def nodes(size: int) -> st.SearchStrategy[Node]:
    # Mostly downwards, so that many graphs are sound; the type `size` is provided by nobody.
    return st.builds(
        Node,
        st.sampled_from(LIFETIMES),
        st.sampled_from(KINDS),
        st.lists(st.integers(0, size), max_size=3, unique=True).map(tuple),
    )


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Node], tuple[int, ...]]:
    """Draw factories, and what the handler asks for."""
    size = draw(st.integers(1, 7))
    sound = draw(st.booleans())
    found: list[Node] = []
    for number in range(size):
        node = draw(nodes(size))
        if sound:
            kept = tuple(
                each
                for each in node.needs
                if each < number
                and (node.lifetime != "singleton" or found[each].lifetime == "singleton")
            )
            node = Node(node.lifetime, node.kind, kept)
        found.append(node)
    asked = draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=3, unique=True))
    return found, tuple(asked)


messages = st.sampled_from([Ping(), Go()])


def acceptable(graph: list[Node], asked: tuple[int, ...]) -> bool:
    """Say, naively, whether a handler that asks for these can be wired."""

    def sound(number: int, above: tuple[int, ...], longest: str) -> bool:
        if number == len(graph) or number in above:
            return False
        node = graph[number]
        lives = longest if node.lifetime == "transient" else node.lifetime
        if longest == "singleton" and lives == "scoped":
            return False
        return all(sound(each, (*above, number), lives) for each in node.needs)

    return all(sound(each, (), "scoped") for each in asked)


def build(graph: list[Node], asked: tuple[int, ...], world: World) -> MessageRegistry[Event]:
    """Write the factories and the handler as a person would, and register them."""
    types = [type(f"T{number}", (), {}) for number in range(len(graph) + 1)]

    def begin(number: int, needs: list[Any]) -> Any:
        world.step()
        made: Any = types[number]()
        made.record = Made(number, [each.record for each in needs])
        world.begun.append(made.record)
        return made

    def end(made: Any) -> None:
        world.ended.append(made.record)
        world.step()

    async def pause() -> None:
        await asyncio.sleep(0)

    def write(source: str, needs: tuple[int, ...], number: int = -1) -> Any:
        scope: dict[str, Any] = {
            **{f"T{index}": each for index, each in enumerate(types)},
            "begin": begin,
            "end": end,
            "pause": pause,
            "world": world,
            "Ping": Ping,
            "T": types[number],
            "Iterator": Iterator,
        }
        exec("from collections.abc import AsyncIterator", scope)
        params = ", ".join(f"a{each}: T{each}" for each in needs)
        names = ", ".join(f"a{each}" for each in needs)
        exec(source.format(params=params, names=names, number=number), scope)
        return scope["make"]

    registry = MessageRegistry(event_base=Event)
    # The type that nobody provides must not build itself either.
    types[-1].__init__ = lambda self, missing: None  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownLambdaType]
    for number, node in enumerate(graph):
        factory = write(BODIES[node.kind], node.needs, number)
        registry.factory(factory, lifetime=node.lifetime)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    # The handlers that ask for things may also be reached by a nested publish.
    registry.register(nest)
    registry.register(
        write(
            "async def make(event: Ping, {params}) -> None:\n    await pause()\n    world.step()",
            asked,
        )
    )
    return registry


def check_lives(graph: list[Node], world: World, *, singletons_over: bool) -> None:
    """Check that what had to end has ended, once, and before what it was built from."""
    ended = list(map(id, world.ended))
    assert len(set(ended)) == len(ended)
    used = [id(each) for made in world.begun for each in made.needs]
    for made in world.begun:
        if graph[made.number].lifetime == "transient":
            assert used.count(id(made)) <= 1
    for made in world.begun:
        node = graph[made.number]
        if "generator" in node.kind and (singletons_over or node.lifetime == "scoped"):
            assert id(made) in ended
        for needed in made.needs:
            if id(needed) in ended and id(made) in ended:
                assert ended.index(id(made)) < ended.index(id(needed))


@settings(max_examples=300)
@given(graphs(), messages)
def test_freeze_agrees_with_a_naive_checker(
    drawn: tuple[list[Node], tuple[int, ...]], message: Event
) -> None:
    """A graph opens exactly if nothing is missing, circular or captive; then it serves."""
    graph, asked = drawn
    world = World()
    registry = build(graph, asked, world)
    accepted = acceptable(graph, asked)
    note(f"accepted: {accepted}")

    async def main() -> None:
        terminal = BusTerminal(registry)
        try:
            await terminal.open()
        except ProviderError:
            assert not accepted
            return
        assert accepted
        for _ in range(2):
            await terminal.bus.publish(message)
        await terminal.bus.emit(message).wait()
        check_lives(graph, world, singletons_over=False)
        await terminal.close()
        check_lives(graph, world, singletons_over=True)
        for number, node in enumerate(graph):
            made = [each for each in world.begun if each.number == number]
            if node.lifetime == "singleton":
                assert len(made) <= 1
            if node.lifetime == "scoped" and made:
                assert len(made) == 3

    runtime.run(main())


@settings(max_examples=150)
@given(graphs().filter(lambda drawn: acceptable(*drawn)), st.integers(1, 30), messages)
def test_whatever_fails_everything_ends(
    drawn: tuple[list[Node], tuple[int, ...]], breaks_at: int, message: Event
) -> None:
    """A failure at any step, of a factory, the handler or a teardown, leaves nothing open."""
    graph, asked = drawn
    world = World(breaks_at)

    async def main() -> None:
        terminal = BusTerminal(build(graph, asked, world))
        failures = 0
        for _ in range(3):
            try:
                await terminal.bus.publish(message)
            except Broken:
                failures += 1
        check_lives(graph, world, singletons_over=False)
        try:
            await terminal.close()
        except Broken:
            failures += 1
        check_lives(graph, world, singletons_over=True)
        assert failures == (world.steps >= breaks_at)

    runtime.run(main())


@settings(max_examples=60)
@given(graphs().filter(lambda drawn: acceptable(*drawn)), messages)
def test_whenever_cancelled_everything_ends(
    drawn: tuple[list[Node], tuple[int, ...]], message: Event
) -> None:
    """A cancellation at any await reaches the caller, and leaves nothing open."""
    graph, asked = drawn

    async def main(turn: int) -> bool:
        world = World()
        terminal = BusTerminal(build(graph, asked, world))
        task = asyncio.create_task(terminal.bus.publish(message))
        for _ in range(turn):
            await asyncio.sleep(0)
        was_done = task.done()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or was_done or task.exception() is None
        # A singleton whose start nobody waits for any more goes on, and ends with the terminal.
        await terminal.bus.publish(Ping())
        check_lives(graph, world, singletons_over=False)
        await terminal.close()
        check_lives(graph, world, singletons_over=True)
        return was_done

    for turn in range(100):
        if runtime.run(main(turn)):
            return
    msg = "the publish never ends"
    raise AssertionError(msg)
