"""`bus-duplicate-handler`: two handlers for one command on one registry, seen in one module."""

import functools
import os
import sys

import shop
from shop import CountUsers, ForgetUser, GetName, GetUser, User, UserCreated, UserEvent

from runtime import Command, DeadLetter, MessageRegistry

registry = MessageRegistry(event_base=UserEvent)
other = MessageRegistry(event_base=UserEvent)


@registry.register
async def get_name(command: GetName) -> str:
    return "Ada"


@registry.register
async def get_name_again(command: GetName) -> str:  # E: bus-duplicate-handler: get_name
    return "Bob"


@registry.register
async def get_name_a_third_time(command: GetName) -> str:  # E: bus-duplicate-handler: GetName
    return "Eve"


# --- Another registry has handlers of its own.


@other.register
async def get_name_elsewhere(command: GetName) -> str:
    return "Ada"


# --- One function is one handler, however often it is registered.


async def count(command: CountUsers) -> int:
    return 1


registry.register(count)
registry.register(count)
registry.register(count, own_task=True)


# --- An event has any number.


@registry.register
async def created(event: UserCreated) -> None: ...


@registry.register
async def created_too(event: UserCreated) -> None: ...


@registry.register
async def dead(letter: DeadLetter) -> None: ...


@registry.register
async def dead_too(letter: DeadLetter) -> None: ...


# --- A derived command is another.


class Base(Command[int]):
    pass


class Derived(Base):
    pass


@registry.register
async def base(command: Base) -> int:
    return 1


@registry.register
async def derived(command: Derived) -> int:
    return 2


@registry.register
async def derived_again(command: Derived) -> int:  # E: bus-duplicate-handler: derived
    return 3


# --- Unions count for each of theirs.


class Left(Command[int]):
    pass


class Right(Command[int]):
    pass


@registry.register
async def either(command: Left | Right) -> int:
    return 1


@registry.register
async def right(command: Right) -> int:  # E: bus-duplicate-handler: Right
    return 1


# --- Classes.


class Lock(Command[None]):
    pass


class Unlock(Command[None]):
    pass


@registry.register(lifetime="actor")
class Door:
    async def lock(self, command: Lock) -> None: ...

    async def unlock(self, command: Unlock) -> None: ...

    async def unlock_again(self, command: Unlock) -> None: ...  # E: bus-duplicate-handler: unlock


async def lock(command: Lock) -> None: ...  # E: bus-duplicate-handler: lock


registry.register(lock)


# --- Calls, partials, callable objects.


async def forget(command: ForgetUser) -> None: ...
async def forget_again(command: ForgetUser) -> None: ...  # E: bus-duplicate-handler: forget


registry.register(forget, forget_again)


class Partly(Command[None]):
    pass


async def partly(number: int, command: Partly) -> None: ...  # raises: DuplicateHandler


registry.register(functools.partial(partly, 1))
registry.register(functools.partial(partly, 2))  # E: bus-duplicate-handler: Partly  # raises: nothing


class Called(Command[None]):
    pass


class Caller:
    def __call__(self, command: Called) -> None: ...  # raises: DuplicateHandler


one = Caller()
registry.register(one)
registry.register(one)
registry.register(Caller())  # E: bus-duplicate-handler: Called  # raises: nothing


# --- Imported ones: the line of the registration.

registry.register(shop.get_user)


@registry.register
async def get_user(command: GetUser) -> User:  # E: bus-duplicate-handler: get_user
    return User(command.user_id, "Bob")


imported = MessageRegistry(event_base=UserEvent)


@imported.register
async def own_get_user(command: GetUser) -> User:
    return User(command.user_id, "Bob")


imported.register(shop.get_user)  # E: bus-duplicate-handler: get_user  # raises: nothing


# --- A registry that is another object under the same name.


class Renamed(Command[None]):
    pass


async def before(command: Renamed) -> None: ...
async def after(command: Renamed) -> None: ...


again = MessageRegistry(event_base=UserEvent)
again.register(before)
again = MessageRegistry(event_base=UserEvent)
again.register(after)


# --- Only one of two branches runs.


class Switched(Command[None]):
    pass


async def switched_on(command: Switched) -> None: ...
async def switched_off(command: Switched) -> None: ...


if os.environ.get("SWITCH") == "on":
    registry.register(switched_on)
else:
    registry.register(switched_off)


class OfThePlatform(Command[None]):
    pass


if sys.version_info >= (3, 11):

    @registry.register
    async def of_the_platform(command: OfThePlatform) -> None: ...

else:

    @registry.register
    async def of_the_platform(command: OfThePlatform) -> None: ...


class Attempted(Command[None]):
    pass


async def attempted(command: Attempted) -> None: ...
async def fallback(command: Attempted) -> None: ...


try:
    registry.register(attempted)
except ImportError:
    registry.register(fallback)


class Early(Command[None]):
    pass


def wire_early(registry: MessageRegistry[UserEvent]) -> None:
    if os.environ.get("EARLY"):
        registry.register(early)
        return
    registry.register(late)


async def early(command: Early) -> None: ...
async def late(command: Early) -> None: ...


# --- Functions that may be given any registry.


class Wired(Command[None]):
    pass


async def wired(command: Wired) -> None: ...
async def wired_too(command: Wired) -> None: ...


def wire(registry: MessageRegistry[UserEvent]) -> None:
    registry.register(wired)


def wire_other(registry: MessageRegistry[UserEvent]) -> None:
    registry.register(wired_too)


def wire_two(first: MessageRegistry[UserEvent], second: MessageRegistry[UserEvent]) -> None:
    first.register(wired)
    second.register(wired_too)


def wire_both(registry: MessageRegistry[UserEvent]) -> None:
    @registry.register
    async def inner(command: Wired) -> None: ...

    @registry.register
    async def inner_too(command: Wired) -> None: ...  # E: bus-duplicate-handler: inner


def make_registry() -> MessageRegistry[UserEvent]:
    registry = MessageRegistry(event_base=UserEvent)
    registry.register(wired)
    return registry


def make_another() -> MessageRegistry[UserEvent]:
    registry = MessageRegistry(event_base=UserEvent)
    registry.register(wired_too)
    return registry


make_registry().register(get_user)
make_registry().register(own_get_user)


# --- Registries of classes and objects.


class Shop:
    registry = MessageRegistry(event_base=UserEvent)

    def __init__(self) -> None:
        self.registry_of_its_own = MessageRegistry(event_base=UserEvent)

    def wire(self, registry: MessageRegistry[UserEvent]) -> None:
        self.registry_of_its_own.register(wired)
        registry.register(wired_too)


class SecondShop:
    registry = MessageRegistry(event_base=UserEvent)


Shop.registry.register(wired)
SecondShop.registry.register(wired_too)
Shop().registry_of_its_own.register(wired)
Shop().registry_of_its_own.register(wired_too)
