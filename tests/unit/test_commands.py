"""Commands: one handler, found at the nearest class, and a typed reply."""

import asyncio
from typing import Any

import pytest
from unit.support import terminal_with

from runtime import BusTerminal, Command, Event, EventBus, MessageContext, MessageRegistry, isolated
from runtime.errors import DuplicateHandler, NoHandler, TerminalClosed


class GetName(Command[str]):
    user_id: int


class GetShortName(GetName):
    pass


class Silent(Command[None]):
    pass


class Ping(Event):
    pass


class Session:
    pass


async def get_name(command: GetName) -> str:
    return f"user {command.user_id}"


def get_name_sync(command: GetName) -> str:
    return f"user {command.user_id}"


async def get_name_wired(command: GetName, session: Session, bus: EventBus[Event]) -> str:
    assert isinstance(session, Session)
    return f"user {command.user_id}"


class Names:
    async def get(self, command: GetName) -> str:
        return f"user {command.user_id}"


@pytest.mark.parametrize("handler", [get_name, get_name_sync, get_name_wired, Names])
async def test_the_reply_comes_back(handler: Any) -> None:
    """Whatever kind of handler, its result is the reply, from any bus."""
    async with terminal_with(handler) as terminal:
        assert await terminal.bus.send(GetName(1)) == "user 1"
        async with terminal.scope("home") as scope:
            assert await scope.bus.send(GetName(2)) == "user 2"
        assert terminal.stats().sent == 2
        assert terminal.stats().emitted == 0


async def test_the_nearest_class_has_the_handler() -> None:
    """A handler of a base serves a command only if nothing nearer does."""

    async def short(command: GetShortName) -> str:
        return "short"

    async with terminal_with(get_name) as terminal:
        assert await terminal.bus.send(GetShortName(1)) == "user 1"
    async with terminal_with(get_name, short) as terminal:
        assert await terminal.bus.send(GetShortName(1)) == "short"
        assert await terminal.bus.send(GetName(1)) == "user 1"

        class Late(GetShortName):
            pass

        assert await terminal.bus.send(Late(1)) == "short"


async def test_two_handlers_are_found_at_freeze() -> None:
    """A6: two handlers for one command are an error that names both, across registries too."""
    one, two = MessageRegistry(event_base=Event), MessageRegistry(event_base=Event)
    one.register(get_name)
    two.register(get_name_sync)
    with pytest.raises(DuplicateHandler) as caught:
        await BusTerminal(one, two).open()
    text = str(caught.value)
    assert text.startswith(f"{__name__}.GetName has 2 handlers, but a command has one: ")
    assert f"{__name__}.get_name ({__file__}:" in text
    assert f"{__name__}.get_name_sync ({__file__}:" in text


async def test_no_handler_is_an_error_at_the_await() -> None:
    """A6: a command that nobody handles says so; events in the same place are fine."""
    async with terminal_with() as terminal:
        pending = terminal.bus.send(Silent())
        with pytest.raises(NoHandler, match=r"no handler is registered for the command .*Silent"):
            await pending
        await terminal.bus.publish(Ping())
    with pytest.raises(TerminalClosed):
        await terminal.bus.send(Silent())


async def test_the_handlers_exception_is_the_reply() -> None:
    """What the handler raises arrives unchanged."""
    error = LookupError("nobody")

    async def handler(command: GetName) -> str:
        raise error

    async with terminal_with(handler) as terminal:
        with pytest.raises(LookupError) as caught:
            await terminal.bus.send(GetName(1))
    assert caught.value is error


async def test_commands_do_not_go_through_the_publisher() -> None:
    """A publisher is for events; a command's reply is the handler's."""
    async with terminal_with(get_name, publisher=isolated) as terminal:
        assert await terminal.bus.send(GetName(1)) == "user 1"


async def test_two_commands_at_once_keep_their_scopes_apart() -> None:
    """Concurrent sends, of one command in two scopes or of two, never see each other's objects."""
    gates = {1: asyncio.Event(), 2: asyncio.Event()}

    async def handler(command: GetName, session: Session) -> str:
        await gates[command.user_id].wait()
        return f"{id(session)}"

    async with (
        terminal_with(handler) as terminal,
        terminal.scope() as one,
        terminal.scope() as two,
    ):
        first = asyncio.create_task(one.bus.send(GetName(1)))
        second = asyncio.create_task(two.bus.send(GetName(2)))
        await asyncio.sleep(0)
        gates[2].set()
        assert await second == str(id(await two.resolve(Session)))
        gates[1].set()
        assert await first == str(id(await one.resolve(Session)))


async def test_what_a_command_sends_is_caused_by_it() -> None:
    """Ids follow from a command to what its handler sends."""
    seen: list[MessageContext] = []

    async def get(command: GetShortName, ctx: MessageContext, bus: EventBus[Event]) -> str:
        seen.append(ctx)
        return await bus.send(Inner(1))

    class Inner(Command[str]):
        user_id: int

    async def inner(command: Inner, ctx: MessageContext) -> str:
        seen.append(ctx)
        return "inner"

    async with terminal_with(get, inner) as terminal:
        assert await terminal.bus.send(GetShortName(1)) == "inner"
    assert seen[1].causation_id == seen[0].id
