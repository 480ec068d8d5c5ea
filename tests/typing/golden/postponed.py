"""Annotations that are strings until somebody asks: `from __future__ import annotations`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from shop import Connection, CountUsers, Mailer, OrderPaid, Pool, UserCreated, UserRenamed, open_connection

from runtime import EventBus, MessageContext, MessageRegistry, use

if TYPE_CHECKING:
    from shop import User, UserEvent

from shop import UserEvent as Base

registry = MessageRegistry(event_base=Base)


@registry.register
async def right(event: UserCreated, ctx: MessageContext, mailer: Mailer, bus: EventBus[Base]) -> None: ...


@registry.register
async def wrong(event: OrderPaid) -> None: ...  # E: bus-handler-signature: OrderPaid


@registry.register
async def union(event: UserCreated | UserRenamed) -> None: ...


@registry.register
async def mixed(event: UserCreated | OrderPaid) -> None: ...  # E: bus-handler-signature: OrderPaid


@registry.register
async def later(event: DefinedLater) -> None: ...  # raises: HandlerSignatureError


@registry.register
async def value(event: UserCreated) -> str:  # E: bus-reply-type
    return event.name


@registry.register
async def command(command: CountUsers) -> str:  # E: bus-reply-type
    return "one"


@registry.register
async def text(event: UserCreated, text: str) -> None: ...  # E: bus-dependency: str


@registry.register
async def used(event: UserCreated, connection: Annotated[Connection, use(open_connection)]) -> None: ...


@registry.register
async def of_another_type(
    event: UserCreated,
    mailer: Annotated[Mailer, use(open_connection)],  # E: bus-dependency: Connection  # raises: nothing
) -> None: ...


@registry.factory(lifetime="singleton")
def make_pool(
    connection: Annotated[Connection, use(open_connection)],  # E: bus-lifetime
) -> Pool:
    return Pool()


@registry.register
class Handlers:
    def __init__(self, mailer: Mailer) -> None: ...

    async def created(self, event: UserCreated) -> None: ...

    async def renamed(self, event: UserRenamed) -> int:  # E: bus-reply-type
        return 1


# What is imported for checkers only is fine where nobody looks: in bodies, and in what is no handler.


def not_a_handler(event: UserEvent, user: User) -> None: ...


@registry.register
async def inside(event: UserCreated) -> None:
    found: list[User] = []
    assert not found


class DefinedLater(Base):
    pass
