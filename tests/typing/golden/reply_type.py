"""`bus-reply-type`: a command's handler returns its `R`, an event's handler returns nothing."""

import functools
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any, Generic, NoReturn, TypeVar

import shop
from shop import (
    Admin,
    CountUsers,
    ForgetUser,
    GetName,
    GetUser,
    User,
    UserCreated,
    UserEvent,
    UserRenamed,
    logged,
)

from runtime import Command, DeadLetter, MessageRegistry

T = TypeVar("T")

registry = MessageRegistry(event_base=UserEvent)
second = MessageRegistry(event_base=UserEvent)


# --- Commands.


@registry.register
async def right(command: GetName) -> str:
    return "Ada"


@second.register
async def wrong(command: GetName) -> int:  # E: bus-reply-type: str
    return 1


class GetOne(Command[str]):
    pass


@registry.register
def synchronous(command: GetOne) -> str:
    return "one"


class GetTwo(Command[str]):
    pass


@registry.register
def synchronous_wrong(command: GetTwo) -> int:  # E: bus-reply-type: int
    return 2


class GetThree(Command[str]):
    pass


@registry.register()
async def perhaps(command: GetThree) -> str | None:  # E: bus-reply-type
    return None


class GetFour(Command[str | None]):
    pass


@registry.register(own_task=True)
async def perhaps_is_fine(command: GetFour) -> str:
    return "four"


class GetFive(Command[str]):
    pass


@registry.register
async def forgotten(command: GetFive) -> None: ...  # E: bus-reply-type: None


class GetSix(Command[int]):
    pass


@registry.register
async def narrower(command: GetSix) -> bool:
    return True


class GetSeven(Command[User]):
    pass


@registry.register
async def derived(command: GetSeven) -> Admin:
    return Admin(1, "Ada", 7)


class GetEight(Command[Admin]):
    pass


@registry.register
async def wider(command: GetEight) -> User:  # E: bus-reply-type: Admin
    return User(1, "Ada")


class GetNine(Command[list[int]]):
    pass


@registry.register
async def items(command: GetNine) -> list[str]:  # E: bus-reply-type
    return []


class GetTen(Command[float]):
    pass


@registry.register
async def promoted(command: GetTen) -> int:
    return 10


@registry.register
async def nothing(command: ForgetUser) -> None: ...


class Forget(Command[None]):
    pass


@registry.register
async def something(command: Forget) -> bool:  # E: bus-reply-type: bool
    return True


class Fail(Command[str]):
    pass


@registry.register
async def never(command: Fail) -> NoReturn:
    raise RuntimeError


class GetAnything(Command[str]):
    pass


@registry.register
async def anything(command: GetAnything) -> Any:
    return 1


class GetObject(Command[object]):
    pass


@registry.register
async def an_object(command: GetObject) -> int:
    return 1


class GetUntyped(Command[Any]):
    pass


@registry.register
async def no_type(command: GetUntyped) -> int:
    return 1


class GetAwaited(Command[str]):
    pass


@registry.register
def a_coroutine(command: GetAwaited) -> Coroutine[Any, Any, str]:
    async def later() -> str:
        return "later"

    return later()


class GetAwaitedWrong(Command[str]):
    pass


@registry.register
def a_wrong_coroutine(command: GetAwaitedWrong) -> Awaitable[int]:  # E: bus-reply-type: int
    async def later() -> int:
        return 1

    return later()


class Page(Command[list[T]], Generic[T]):
    of: type[T]


@registry.register
async def page(command: Page[int]) -> list[int]:
    return []


class Base(Command[int]):
    pass


class Derived(Base):
    pass


@registry.register
async def base(command: Base) -> int:
    return 1


@registry.register
async def of_derived(command: Derived) -> str:  # E: bus-reply-type: int
    return "1"


class Left(Command[int]):
    pass


class Right(Command[str]):
    pass


@registry.register
async def both(command: Left | Right) -> int | str:
    return 1 if isinstance(command, Left) else "1"


class Up(Command[int]):
    pass


class Down(Command[str]):
    pass


@registry.register
async def neither(command: Up | Down) -> bytes:  # E: bus-reply-type
    return b""


class OnSeveralLines(Command[str]):
    pass


@registry.register
async def several_lines(
    command: OnSeveralLines,
    mailer: shop.Mailer,
) -> int:  # E: bus-reply-type: OnSeveralLines
    return 1


class Untyped(Command[str]):
    pass


@registry.register
async def unannotated(command: Untyped):  # mypy: no-untyped-def
    return 1


@second.register
async def every_command(command: Command[Any]) -> object:
    return None


# --- Events.


@registry.register
async def event(event: UserCreated) -> None: ...


@registry.register
async def value(event: UserCreated) -> str:  # E: bus-reply-type: str
    return event.name


@registry.register
def synchronous_value(event: UserRenamed) -> int:  # E: bus-reply-type
    return 1


@registry.register
async def perhaps_a_value(event: UserCreated) -> int | None:  # E: bus-reply-type
    return None


@registry.register
async def raises(event: UserCreated) -> NoReturn:
    raise RuntimeError


@registry.register
async def any_value(event: UserCreated) -> Any: ...


@registry.register
def awaited_event(event: UserCreated) -> Awaitable[None]:
    async def later() -> None: ...

    return later()


@registry.register
def awaited_value(event: UserCreated) -> Coroutine[Any, Any, int]:  # E: bus-reply-type
    async def later() -> int:
        return 1

    return later()


@registry.register
def unannotated_event(event: UserCreated): ...  # mypy: no-untyped-def


@registry.register
async def union(event: UserCreated | UserRenamed) -> bool:  # E: bus-reply-type
    return True


@registry.register
async def dead(letter: DeadLetter) -> None: ...


@registry.register
async def dead_value(letter: DeadLetter) -> int:  # E: bus-reply-type
    return 1


# --- Calls, partials, decorators, methods.


class First(Command[str]):
    pass


class Second(Command[str]):
    pass


class Third(Command[str]):
    pass


class Fourth(Command[str]):
    pass


class Fifth(Command[str]):
    pass


async def first(command: First) -> str:
    return "first"


async def first_wrong(command: Second) -> int:  # E: bus-reply-type
    return 1


async def partial(number: int, command: Third) -> str:
    return str(number)


async def partial_wrong(number: int, command: Fourth) -> int:  # E: bus-reply-type
    return number


def elsewhere(event: UserCreated) -> int:  # E: bus-reply-type
    return 1


registry.register(first, first_wrong)
registry.register(functools.partial(partial, 1))
registry.register(functools.partial(partial_wrong, 1))
registry.register(elsewhere, own_task=True)


@registry.register
@logged
async def decorated(command: Fifth) -> int:  # E: bus-reply-type
    return 5


@registry.register(lifetime="actor")
class Account:
    def __init__(self) -> None:
        self.balance = 0

    async def created(self, event: UserCreated) -> None: ...

    async def renamed(self, event: UserRenamed) -> str:  # E: bus-reply-type: str
        return event.name

    def count(self, command: CountUsers) -> int:
        return self.balance

    def get(self, command: GetUser) -> str:  # E: bus-reply-type: User
        return "Ada"

    def helper(self, text: str) -> str:
        return text


class Sixth(Command[int]):
    pass


class Counter:
    def __call__(self, command: Sixth) -> str:  # E: bus-reply-type
        return "6"


registry.register(Counter())


# --- Elsewhere: a factory and a guard return what they like.


@registry.factory
async def lines() -> AsyncIterator[shop.Connection]:
    yield shop.Connection()
