"""What the golden files import: messages, registries, handlers, factories. All of it is right."""

from collections.abc import AsyncIterator, Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import msgspec

from runtime import Command, Event, EventBus, MessageContext, MessageRegistry

P = ParamSpec("P")
R = TypeVar("R")


class UserEvent(Event):
    user_id: int


class UserCreated(UserEvent):
    name: str


class UserRenamed(UserEvent):
    name: str


class OrderEvent(Event):
    order_id: int


class OrderPaid(OrderEvent):
    amount: float


class User(msgspec.Struct, frozen=True):
    user_id: int
    name: str


class Admin(User, frozen=True):
    rights: int


class GetUser(Command[User]):
    user_id: int


class GetName(Command[str]):
    user_id: int


class CountUsers(Command[int]):
    pass


class ForgetUser(Command[None]):
    user_id: int


class Context(MessageContext):
    """A context of the shop's own."""


class Mailer:
    async def send(self, text: str) -> None: ...


class Connection:
    pass


class Pool:
    pass


users = MessageRegistry(event_base=UserEvent)
orders = MessageRegistry(event_base=OrderEvent)


def open_connection() -> Connection:
    return Connection()


async def borrow_connection() -> AsyncIterator[Connection]:
    yield Connection()


def make_mailer() -> Mailer:
    return Mailer()


def read_name() -> str:
    return "Ada"


def read_rate() -> float:
    return 0.19


async def on_created(event: UserCreated, ctx: MessageContext, mailer: Mailer) -> None:
    await mailer.send(event.name)


async def on_paid(event: OrderPaid, bus: EventBus[OrderEvent]) -> None:
    bus.emit(event)


async def get_user(command: GetUser) -> User:
    return User(command.user_id, "Ada")


def logged(function: Callable[P, R]) -> Callable[P, R]:
    """Keep the type of what is decorated."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    return call


def named(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep the type of what is decorated, with an option."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        return logged(function)

    return decorate


def untyped(function: Callable[..., Any]) -> Any:
    """Say nothing of what comes back."""
    return function


class Account:
    """A handler class in another module."""

    async def created(self, event: UserCreated) -> None: ...

    async def paid(self, event: OrderPaid) -> None: ...
