"""Which mailbox a message goes to: by explicit key, by `__key__`, by the scope at hand."""

from typing import ClassVar

import pytest
from contract.support import MakeTerminal, ledger
from reference import Ledger

from runtime import Event


class OrderEvent(Event):
    """Events of an order go to the mailbox of that order."""

    __key__: ClassVar[str] = "order"
    order: int


class OrderPlaced(OrderEvent):
    pass


class UserRenamed(Event):
    __key__: ClassVar[str] = "user"
    user: int


class Letter(Event):
    """An event without a key of its own."""


class Postman:
    """An actor: two messages reach the same instance if they went to the same mailbox."""

    visits: ClassVar[list["Postman"]] = []

    async def visit(self, event: OrderEvent | UserRenamed | Letter) -> None:
        """Note which mailbox this is."""
        self.visits.append(self)


@pytest.fixture(autouse=True)
def _no_visits() -> None:
    Postman.visits.clear()


def visited(*expected: int) -> bool:
    """Say whether the messages went to mailboxes numbered like this, in the order of emission."""
    boxes = list(dict.fromkeys(Postman.visits))
    return [boxes.index(each) for each in Postman.visits] == list(expected)


async def test_key_is_taken_from_the_message(make_terminal: MakeTerminal) -> None:
    """`__key__` names the mailbox (declaring class, value), so equal values do not meet."""
    async with make_terminal([Postman]) as terminal:
        terminal.bus.emit(OrderEvent(42))
        await terminal.drain()
        terminal.bus.emit(UserRenamed(42))
        await terminal.drain()
        terminal.bus.emit(OrderPlaced(42))
        await terminal.drain()
        terminal.bus.emit(OrderPlaced(43))
        await terminal.drain()
        terminal.bus.emit(Letter(), key=(OrderEvent, 42))
        await terminal.drain()
        assert visited(0, 1, 0, 2, 0)
        assert ledger(terminal) == Ledger(5, handled=5)


async def test_explicit_key_wins_over_the_message_which_wins_over_the_scope(
    make_terminal: MakeTerminal,
) -> None:
    """An event goes to `key=`, else to what its `__key__` says, else to the scope at hand."""
    async with make_terminal([Postman]) as terminal, terminal.scope("scope") as scope:
        for bus, event, key in [
            (terminal.bus, Letter(), "explicit"),
            (terminal.bus, Letter(), (OrderEvent, 42)),
            (terminal.bus, Letter(), "scope"),
            (scope.bus, OrderEvent(42), "explicit"),
            (scope.bus, OrderEvent(42), None),
            (scope.bus, Letter(), "explicit"),
            (scope.bus, Letter(), None),
        ]:
            await bus.emit(event, key=key).wait()
        assert visited(0, 1, 2, 0, 1, 0, 2)
        assert ledger(terminal) == Ledger(7, handled=7)


async def test_any_hashable_but_none_is_a_key(make_terminal: MakeTerminal) -> None:
    """Falsy keys are keys, and what is equal is the same key."""
    async with make_terminal([Postman]) as terminal:
        for key in [0, "", (), False, "0"]:
            await terminal.bus.emit(Letter(), key=key).wait()
        assert visited(0, 1, 2, 0, 3)
        with pytest.raises(TypeError, match="unhashable"):
            terminal.bus.emit(Letter(), key=[])
        assert ledger(terminal) == Ledger(5, handled=5)
