"""`bus-publish-type`: outside of the base through a bus of anything that a typed terminal gave."""

from typing import Any

from shop import (
    CountUsers,
    GetName,
    OrderEvent,
    OrderPaid,
    UserCreated,
    UserEvent,
    orders,
    users,
)

from runtime import BusTerminal, Event, EventBus, MessageRegistry

terminal = BusTerminal(users)
typed = terminal.bus
loose: EventBus[Any] = terminal.bus
twice: EventBus[Any] = terminal.bus
twice = BusTerminal(orders).bus
wide: EventBus[Any] = BusTerminal(MessageRegistry(event_base=Event)).bus


# --- A typed bus needs no plugin.


async def through_typed() -> None:
    await typed.publish(UserCreated(1, "Ada"))
    await typed.publish(OrderPaid(1, 2.0))  # mypy: arg-type  # P: reportArgumentType
    typed.emit(OrderPaid(1, 2.0))  # mypy: arg-type  # P: reportArgumentType
    await typed.offer(OrderPaid(1, 2.0))  # mypy: arg-type  # P: reportArgumentType
    await typed.sink(OrderPaid(1, 2.0))  # mypy: call-overload  # P: reportCallIssue, reportArgumentType
    await typed.sink([OrderPaid(1, 2.0)])  # mypy: list-item  # P: reportCallIssue, reportArgumentType
    typed.from_thread.emit(OrderPaid(1, 2.0))  # mypy: arg-type  # P: reportArgumentType


# --- A name of the module.


async def through_loose(anything: Any, order: OrderEvent, event: Event) -> None:
    await loose.publish(UserCreated(1, "Ada"))
    await loose.publish(OrderPaid(1, 2.0))  # E: bus-publish-type: OrderPaid
    await loose.publish(order)  # E: bus-publish-type: OrderEvent
    await loose.publish(event=OrderPaid(1, 2.0))  # E: bus-publish-type
    loose.emit(OrderPaid(1, 2.0))  # E: bus-publish-type
    loose.emit(UserCreated(1, "Ada"), key="ada")
    await loose.offer(OrderPaid(1, 2.0), delay=1)  # E: bus-publish-type
    await loose.offer(UserCreated(1, "Ada"))
    await loose.sink(OrderPaid(1, 2.0))  # E: bus-publish-type
    await loose.sink(UserCreated(1, "Ada"))
    await loose.publish("text")  # E: bus-publish-type: str
    await loose.publish(anything)
    # A value of the base's own base may well be of the base.
    await loose.publish(event)
    await loose.send(GetName(1))
    await loose.ask(CountUsers())


async def through_a_wide_one() -> None:
    await wide.publish(OrderPaid(1, 2.0))
    await wide.publish("text")  # E: bus-publish-type: str


# --- Not certain: assigned more than once.


async def through_twice() -> None:
    await twice.publish(OrderPaid(1, 2.0))
    await twice.publish(UserCreated(1, "Ada"))


# --- Names of a function.


async def local() -> None:
    bus: EventBus[Any] = terminal.bus
    await bus.publish(OrderPaid(1, 2.0))  # E: bus-publish-type: UserEvent
    await bus.publish(UserCreated(1, "Ada"))


async def local_terminal() -> None:
    async with BusTerminal(users) as opened:
        bus: EventBus[Any] = opened.bus
        await bus.publish(OrderPaid(1, 2.0))  # E: bus-publish-type
        bus.emit(UserCreated(1, "Ada"))


async def local_twice(*, other: bool) -> None:
    bus: EventBus[Any] = terminal.bus
    if other:
        bus = BusTerminal(orders).bus
    await bus.publish(OrderPaid(1, 2.0))


async def local_later(*, other: bool) -> None:
    bus: EventBus[Any]
    if other:
        bus = terminal.bus
    else:
        bus = BusTerminal(orders).bus
    await bus.publish(OrderPaid(1, 2.0))  # mypy: arg-type


async def local_in_a_loop(buses: list[EventBus[Any]]) -> None:
    bus: EventBus[Any] = terminal.bus
    await bus.publish(UserCreated(1, "Ada"))
    for bus in buses:
        await bus.publish(OrderPaid(1, 2.0))


async def local_in_an_inner_function() -> None:
    bus: EventBus[Any] = terminal.bus

    def replace() -> None:
        nonlocal bus
        bus = BusTerminal(orders).bus

    replace()
    await bus.publish(OrderPaid(1, 2.0))


async def shadowed(loose: EventBus[Any]) -> None:
    await loose.publish(OrderPaid(1, 2.0))


async def shadowed_by_a_local_name() -> None:
    loose: EventBus[Any] = BusTerminal(orders).bus
    await loose.publish(OrderPaid(1, 2.0))
    await loose.publish(UserCreated(1, "Ada"))  # E: bus-publish-type: OrderEvent


# --- Names that are annotated otherwise, and buses that come from nowhere.


async def narrower() -> None:
    bus: EventBus[UserCreated] = terminal.bus
    await bus.publish(UserEvent(1))  # mypy: arg-type


async def of_a_loose_terminal(loose_terminal: BusTerminal[Any]) -> None:
    bus: EventBus[Any] = loose_terminal.bus
    await bus.publish(OrderPaid(1, 2.0))


async def given(bus: EventBus[Any]) -> None:
    await bus.publish(OrderPaid(1, 2.0))


async def of_two() -> None:
    both = BusTerminal[UserEvent | OrderEvent](users, orders)
    bus: EventBus[Any] = both.bus
    await bus.publish(OrderPaid(1, 2.0))
    await bus.publish(UserCreated(1, "Ada"))
    await bus.publish(1)  # E: bus-publish-type: int


def make_bus() -> EventBus[Any]:
    return terminal.bus


async def of_a_call() -> None:
    bus: EventBus[Any] = make_bus()
    await bus.publish(OrderPaid(1, 2.0))
