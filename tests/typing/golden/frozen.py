"""`bus-frozen`: what is registered after the terminal was opened does not reach it."""

from typing import Any

from shop import UserCreated, UserEvent, UserRenamed, make_mailer, orders

from runtime import BusTerminal, MessageRegistry

registry = MessageRegistry(event_base=UserEvent)


async def created(event: UserCreated) -> None: ...
async def renamed(event: UserRenamed) -> None: ...


async def in_a_block() -> None:
    local = MessageRegistry(event_base=UserEvent)
    local.register(created)
    async with BusTerminal(local) as terminal:
        local.register(renamed)  # E: bus-frozen: local
        await terminal.bus.publish(UserCreated(1, "Ada"))


async def of_the_module() -> None:
    registry.register(created)
    async with BusTerminal(registry):
        registry.register(renamed)  # E: bus-frozen: registry


async def opened() -> None:
    local = MessageRegistry(event_base=UserEvent)
    terminal = BusTerminal(local)
    local.register(created)
    await terminal.open()
    local.register(renamed)  # E: bus-frozen
    await terminal.close()


async def opened_in_a_block() -> None:
    terminal = BusTerminal(registry)
    registry.register(created)
    async with terminal:
        registry.register(renamed)  # E: bus-frozen


async def with_a_decorator() -> None:
    local = MessageRegistry(event_base=UserEvent)
    async with BusTerminal(local):

        @local.register  # E: bus-frozen
        async def late(event: UserCreated) -> None: ...


async def with_options() -> None:
    local = MessageRegistry(event_base=UserEvent)
    async with BusTerminal(local, concurrency=10) as terminal:
        local.register(created, own_task=True)  # E: bus-frozen
        await terminal.drain()


async def factories_and_guards() -> None:
    local = MessageRegistry(event_base=UserEvent)
    async with BusTerminal(local):
        local.factory(make_mailer)  # E: bus-frozen


async def one_of_two() -> None:
    local = MessageRegistry(event_base=UserEvent)
    other = MessageRegistry(event_base=UserEvent)
    async with BusTerminal(local, other):
        other.register(created)  # E: bus-frozen: other


async def deep_inside() -> None:
    local = MessageRegistry(event_base=UserEvent)
    async with BusTerminal(local) as terminal, terminal.scope("ada") as scope:
        await scope.bus.publish(UserCreated(1, "Ada"))
        for _ in range(3):
            local.register(created)  # E: bus-frozen


# --- Right.


async def before() -> None:
    local = MessageRegistry(event_base=UserEvent)
    local.register(created)
    local.factory(make_mailer)
    terminal = BusTerminal(local)
    local.register(renamed)
    async with terminal:
        await terminal.bus.publish(UserCreated(1, "Ada"))


async def another_registry() -> None:
    local = MessageRegistry(event_base=UserEvent)
    async with BusTerminal(local):
        other = MessageRegistry(event_base=UserEvent)
        other.register(created)
        orders.factory(make_mailer)


async def included() -> None:
    local = MessageRegistry(event_base=UserEvent)
    local.register(created)
    async with BusTerminal(local) as terminal:
        local.register(renamed)
        terminal.include(local)


async def included_late() -> None:
    local = MessageRegistry(event_base=UserEvent)
    async with BusTerminal(local) as terminal:
        more = MessageRegistry(event_base=UserEvent)
        more.register(renamed)
        terminal.include(more)


async def only_made() -> None:
    local = MessageRegistry(event_base=UserEvent)
    terminal = BusTerminal(local)
    local.register(created)
    assert terminal is not None


async def opened_elsewhere(terminal: BusTerminal[UserEvent]) -> None:
    await terminal.open()
    registry.register(created)


async def perhaps_opened(*, at_once: bool) -> None:
    local = MessageRegistry(event_base=UserEvent)
    terminal = BusTerminal(local)
    if at_once:
        await terminal.open()
    local.register(created)


async def called_before() -> None:
    local = MessageRegistry(event_base=UserEvent)
    terminal = BusTerminal(local)

    def wire() -> None:
        local.register(created)

    wire()
    async with terminal:
        pass


async def for_the_next_one() -> None:
    local = MessageRegistry(event_base=UserEvent)
    async with BusTerminal(local):
        pass
    local.register(created)
    async with BusTerminal(local):
        pass


async def another_under_the_same_name() -> None:
    local = MessageRegistry(event_base=UserEvent)
    async with BusTerminal(local):
        local = MessageRegistry(event_base=UserEvent)
        local.register(created)


async def open_in_another_function() -> None:
    registry.register(created)


async def not_a_registry(registry: Any) -> None:
    async with BusTerminal(MessageRegistry(event_base=UserEvent)):
        registry.register(created)


async def shadowed(registry: MessageRegistry[UserEvent]) -> None:
    async with BusTerminal(MessageRegistry(event_base=UserEvent)):
        registry.register(created)


async def included_by_a_function_inside() -> None:
    local = MessageRegistry(event_base=UserEvent)
    async with BusTerminal(local) as terminal:

        def refresh() -> None:
            terminal.include(local)

        local.register(created)
        refresh()


shared = MessageRegistry(event_base=UserEvent)


def include_shared(terminal: BusTerminal[UserEvent]) -> None:
    terminal.include(shared)


async def included_by_a_function_of_the_module() -> None:
    async with BusTerminal(shared) as terminal:
        shared.register(created)
        include_shared(terminal)


# What most programs have: a registry and a terminal of the module.
events = MessageRegistry(event_base=UserEvent)
terminal = BusTerminal(events)
events.register(created)


async def a_terminal_of_the_module() -> None:
    events.register(created)
    async with terminal:
        events.register(renamed)  # E: bus-frozen: events


async def opened_by_hand() -> None:
    await terminal.open()

    @events.register  # E: bus-frozen
    async def late(event: UserCreated) -> None: ...

    await terminal.close()
    events.register(renamed)


async def another_terminal() -> None:
    async with BusTerminal(orders):
        events.register(created)


rebound = BusTerminal(events)
rebound = BusTerminal(MessageRegistry(event_base=UserEvent))


async def bound_twice() -> None:
    async with rebound:
        events.register(created)


def replaced_elsewhere() -> None:
    global replaced
    replaced = BusTerminal(MessageRegistry(event_base=UserEvent))


replaced = BusTerminal(events)


async def perhaps_replaced() -> None:
    async with replaced:
        events.register(created)


extended = MessageRegistry(event_base=UserEvent)
extending = BusTerminal(extended)


async def included_afterwards() -> None:
    async with extending:
        extended.register(created)
        extending.include(extended)
