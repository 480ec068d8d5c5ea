"""`bus-lifetime`: what lives long must not declare that it needs what lives shorter."""

from collections.abc import AsyncIterator
from typing import Annotated

import shop
from shop import Connection, Mailer, Pool, UserCreated, UserEvent, borrow_connection, open_connection

from runtime import MessageRegistry, use

registry = MessageRegistry(event_base=UserEvent)


class Bag:
    pass


class Box:
    pass


class Chest:
    pass


# --- Singletons.


@registry.factory(lifetime="singleton")
def make_pool(connection: Annotated[Connection, use(open_connection)]) -> Pool:  # E: bus-lifetime: connection
    return Pool()


@registry.factory(lifetime="singleton")
def make_mailer(
    connection: Annotated[Connection, use(open_connection, lifetime="scoped")],  # E: bus-lifetime: make_mailer
) -> Mailer:
    return Mailer()


@registry.factory(lifetime="singleton")
def make_bag(connection: Annotated[Connection, use(open_connection, lifetime="singleton")]) -> Bag:
    return Bag()


@registry.factory(lifetime="singleton")
def make_box(connection: Annotated[Connection, use(open_connection, lifetime="transient")]) -> Box:
    return Box()


@registry.factory(lifetime="singleton")
def make_chest(connection: Annotated[Connection, use(open_connection, lifetime="actor")]) -> Chest:  # E: bus-lifetime
    return Chest()


# --- What is scoped, or belongs to whoever asks, may need what is scoped.

short = MessageRegistry(event_base=UserEvent)


@short.factory
def scoped_pool(connection: Annotated[Connection, use(open_connection)]) -> Pool:
    return Pool()


@short.factory(lifetime="scoped")
async def scoped_mailer(connection: Annotated[Connection, use(borrow_connection)]) -> AsyncIterator[Mailer]:
    yield Mailer()


@short.factory(lifetime="transient")
def transient_bag(connection: Annotated[Connection, use(open_connection)]) -> Bag:
    return Bag()


@short.register
async def handler(event: UserCreated, connection: Annotated[Connection, use(open_connection)]) -> None: ...


# --- Actors.

actors = MessageRegistry(event_base=UserEvent)


@actors.factory(lifetime="actor")
def actor_pool(connection: Annotated[Connection, use(open_connection)]) -> Pool:  # E: bus-lifetime: actor
    return Pool()


@actors.factory(lifetime="actor")
async def actor_mailer(
    connection: Annotated[Connection, use(borrow_connection)],  # E: bus-lifetime
    host: str = "localhost",
) -> AsyncIterator[Mailer]:
    yield Mailer()


@actors.factory(lifetime="actor")
def actor_bag(
    mine: Annotated[Connection, use(open_connection, lifetime="actor")],
    everybodys: Annotated[Connection, use(open_connection, lifetime="singleton")],
    mine_alone: Annotated[Connection, use(open_connection, lifetime="transient")],
) -> Bag:
    return Bag()


# --- Classes that are factories of their own.

classes = MessageRegistry(event_base=UserEvent)


@classes.factory(lifetime="singleton")
class Service:
    def __init__(self, connection: Annotated[Connection, use(open_connection)]) -> None: ...  # E: bus-lifetime


@classes.factory(lifetime="singleton")
class RightService:
    def __init__(
        self, connection: Annotated[Connection, use(open_connection, lifetime="singleton")]
    ) -> None: ...


class Given:
    def __init__(
        self,
        mailer: Mailer,
        connection: Annotated[Connection, use(open_connection)],  # E: bus-lifetime
    ) -> None: ...


class GivenScoped:
    def __init__(self, connection: Annotated[Connection, use(open_connection)]) -> None: ...


classes.factory(Given, lifetime="singleton")
classes.factory(GivenScoped)
classes.factory(shop.Connection, lifetime="singleton")


# --- Handler classes.

handlers = MessageRegistry(event_base=UserEvent)


@handlers.register(lifetime="actor")
class Account:
    def __init__(self, connection: Annotated[Connection, use(open_connection)]) -> None: ...  # E: bus-lifetime: Account

    async def created(self, event: UserCreated) -> None: ...


@handlers.register(lifetime="singleton")
class Ledger:
    def __init__(self, connection: Annotated[Connection, use(open_connection)]) -> None: ...  # E: bus-lifetime: Ledger

    async def created(self, event: UserCreated) -> None: ...


@handlers.register
class Scoped:
    def __init__(self, connection: Annotated[Connection, use(open_connection)]) -> None: ...

    async def created(self, event: UserCreated) -> None: ...


@handlers.register(lifetime="transient")
class Transient:
    def __init__(self, connection: Annotated[Connection, use(open_connection)]) -> None: ...

    async def created(self, event: UserCreated) -> None: ...


@handlers.register(lifetime="actor", on_failure="restart")
class RightAccount:
    def __init__(self, pool: Annotated[Connection, use(open_connection, lifetime="actor")]) -> None: ...

    # Its handlers run in a scope each.
    async def created(
        self, event: UserCreated, connection: Annotated[Connection, use(open_connection)]
    ) -> None: ...


class GivenActor:
    def __init__(self, connection: Annotated[Connection, use(open_connection)]) -> None: ...  # E: bus-lifetime

    async def created(self, event: UserCreated) -> None: ...


handlers.register(GivenActor, lifetime="actor")


# --- Factories under `use`.

used = MessageRegistry(event_base=UserEvent)


def open_pool(connection: Annotated[Connection, use(open_connection)]) -> Pool:  # E: bus-lifetime  # raises: nothing
    return Pool()


def open_scoped_pool(connection: Annotated[Connection, use(open_connection)]) -> Pool:
    return Pool()


@used.register
async def wants_a_singleton(
    event: UserCreated, pool: Annotated[Pool, use(open_pool, lifetime="singleton")]  # raises: LifetimeError
) -> None: ...


@used.register
async def wants_a_scoped(event: UserCreated, pool: Annotated[Pool, use(open_scoped_pool)]) -> None: ...


# --- Calls.

called = MessageRegistry(event_base=UserEvent)


def call_pool(connection: Annotated[Connection, use(open_connection)]) -> Pool:  # E: bus-lifetime
    return Pool()


def call_scoped_pool(connection: Annotated[Connection, use(open_connection)]) -> Pool:
    return Pool()


called.factory(call_pool, lifetime="singleton")
called.factory(call_scoped_pool)
