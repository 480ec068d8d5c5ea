"""Events, contexts and dead letters."""

import os
import time
import uuid
from datetime import UTC, datetime

import msgspec
import pytest

from runtime import BusTerminal, DeadLetter, Event, EventBus, MessageContext, MessageRegistry


class Ping(Event):
    number: int = 0


class Pong(Event):
    number: int = 0


def test_events_are_frozen_structs() -> None:
    """An event is immutable, comparable, and encodes itself."""
    assert Ping(1) == Ping(1)
    with pytest.raises(AttributeError, match="immutable"):
        Ping(1).number = 2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    assert msgspec.json.decode(msgspec.json.encode(Ping(3)), type=Ping) == Ping(3)


def test_context_id_is_a_uuid_of_version_7() -> None:
    """The id carries the context's time, and stays the same."""
    before = time.time_ns() // 1_000_000
    context = MessageContext()
    after = time.time_ns() // 1_000_000
    read = uuid.UUID(context.id)
    assert (read.version, read.variant) == (7, uuid.RFC_4122)
    assert before <= read.int >> 80 <= after
    assert context.id == str(read)


def test_context_ids_are_unique_and_sort_by_time() -> None:
    """Ids made one after the other differ, and never go back by more than a clock tick."""
    ids = [MessageContext().id for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    # 48 bits of milliseconds and 12 of their fraction: 15 digits and three dashes.
    stamps = [each[:8] + each[9:13] + each[15:18] for each in ids]
    assert stamps == sorted(stamps)


def test_context_time_is_utc() -> None:
    """The time is when the context was made, with its zone."""
    before = datetime.now(UTC)
    moment = MessageContext().time
    assert moment.tzinfo is UTC
    assert abs((moment - before).total_seconds()) < 5


def test_context_headers_are_read_only_copies() -> None:
    """Headers do not change under a handler's feet."""
    given = {"tenant": "north"}
    context = MessageContext(headers=given)
    given["tenant"] = "south"
    assert context.headers == {"tenant": "north"}
    with pytest.raises(TypeError):
        context.headers["tenant"] = "east"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    assert MessageContext().headers == {}


def test_context_headers_are_text() -> None:
    """A header that is no text is refused where it is made."""
    with pytest.raises(TypeError, match="'retries' to 3"):
        MessageContext(headers={"retries": 3})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]


async def test_ids_follow_the_cause() -> None:
    """What a handler sends through its bus is caused by the message that it handles."""
    seen: list[tuple[str, MessageContext]] = []
    registry = MessageRegistry(event_base=Event)

    @registry.register
    async def on_ping(event: Ping, ctx: MessageContext, bus: EventBus[Event]) -> None:
        seen.append(("ping", ctx))
        if event.number == 0:
            await bus.publish(Ping(1))
            bus.emit(Pong())

    @registry.register
    async def on_pong(event: Pong, ctx: MessageContext) -> None:
        seen.append(("pong", ctx))

    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(Ping(0))
        await terminal.drain()
    (_, first), (_, inner), (_, pong) = seen
    assert first.causation_id is None
    assert first.correlation_id == first.id
    assert inner.causation_id == pong.causation_id == first.id
    assert inner.correlation_id == pong.correlation_id == first.id
    assert len({first.id, inner.id, pong.id}) == 3


async def test_correlation_reaches_through_two_causes() -> None:
    """The third message of a chain is caused by the second and correlated with the first."""
    seen: list[MessageContext] = []
    registry = MessageRegistry(event_base=Event)

    @registry.register
    async def on_ping(event: Ping, ctx: MessageContext, bus: EventBus[Event]) -> None:
        seen.append(ctx)
        if event.number < 2:
            bus.emit(Ping(event.number + 1))

    async with BusTerminal(registry) as terminal:
        terminal.bus.emit(Ping(0))
        await terminal.drain()
    assert seen[2].causation_id == seen[1].id
    assert seen[2].correlation_id == seen[0].id


class Tenant(MessageContext):
    """A context of a user's own, with a field of its own."""

    def __init__(self, tenant: str) -> None:
        super().__init__(headers={"tenant": tenant})
        self.tenant = tenant


async def test_a_given_context_reaches_the_handlers() -> None:
    """The very context that was passed arrives, subclass and all."""
    seen: list[object] = []
    registry = MessageRegistry(event_base=Event)

    @registry.register
    async def on_ping(event: Ping, ctx: Tenant) -> None:
        seen.append(ctx)

    context = Tenant("north")
    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(Ping(), context)
        await terminal.bus.emit(Ping(), context).wait()
    assert seen == [context, context]
    assert context.headers == {"tenant": "north"}


async def test_passing_the_own_context_on_is_not_a_cause_of_itself() -> None:
    """A handler that hands its own context on does not make it its own cause."""
    seen: list[MessageContext] = []
    registry = MessageRegistry(event_base=Event)

    @registry.register
    async def on_ping(event: Ping, ctx: MessageContext, bus: EventBus[Event]) -> None:
        await bus.publish(Pong(), ctx)

    @registry.register
    async def on_pong(event: Pong, ctx: MessageContext) -> None:
        seen.append(ctx)

    async with BusTerminal(registry) as terminal:
        await terminal.bus.publish(Ping())
    assert seen[0].causation_id is None


async def test_something_else_is_no_context() -> None:
    """A context of the wrong type is refused by every verb."""
    async with BusTerminal(MessageRegistry(event_base=Event)) as terminal:
        with pytest.raises(TypeError, match="context"):
            terminal.bus.publish(Ping(), {"tenant": "north"})  # type: ignore[arg-type, unused-coroutine]  # pyright: ignore[reportArgumentType, reportUnusedCoroutine]
        with pytest.raises(TypeError, match="context"):
            terminal.bus.emit(Ping(), object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_a_forked_process_makes_other_ids() -> None:
    """Parent and child never share the random part of an id."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, MessageContext().id.encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 36).decode()
    os.close(read)
    os.close(write)
    assert theirs[19:] != MessageContext().id[19:]


def test_dead_letter_reads_as_one_line() -> None:
    """A dead letter says which handler, which message, why, and the error."""
    letter = DeadLetter(Ping(1), "shop.bill", "failed", ValueError("no stock"))
    assert str(letter) == "shop.bill of Ping: failed: ValueError: no stock"
    assert str(DeadLetter(Ping(1), None, "closed", KeyError("x"))) == "Ping: closed: KeyError: 'x'"
