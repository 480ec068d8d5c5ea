"""`bus-handler-signature`: guards, and what handlers are registered with."""

from collections.abc import Awaitable, Callable
from typing import Any

from shop import Context, GetName, OrderEvent, OrderPaid, UserCreated, UserEvent, UserRenamed

from runtime import Command, MessageContext, MessageRegistry

registry = MessageRegistry(event_base=UserEvent)
Proceed = Callable[[], Awaitable[Any]]


# --- Guards.


@registry.guard
async def right(event: UserCreated, ctx: MessageContext, proceed: Proceed) -> None: ...


@registry.guard
async def of_anything(message: UserEvent | GetName, ctx: Any, proceed: Proceed) -> Any: ...


@registry.guard
async def own_context(event: UserCreated, ctx: Context, proceed: Proceed) -> None: ...


@registry.guard
async def wide_context(event: UserCreated, ctx: object, proceed: Proceed) -> None: ...


@registry.guard
async def with_more(
    event: UserCreated, ctx: MessageContext, proceed: Proceed, *, loud: bool = True
) -> None: ...


@registry.guard
async def of_another(event: OrderPaid, ctx: MessageContext, proceed: Proceed) -> None: ...  # E: bus-handler-signature: OrderPaid


@registry.guard
async def wrong_context(event: UserCreated, ctx: str, proceed: Proceed) -> None: ...  # E: bus-handler-signature: str  # raises: nothing


@registry.guard
async def without_proceed(event: UserCreated, ctx: MessageContext) -> None: ...  # E: bus-handler-signature: three


@registry.guard
async def asks_for_more(event: UserCreated, ctx: MessageContext, proceed: Proceed, host: str) -> None: ...  # E: bus-handler-signature: three


@registry.guard
async def anything(*arguments: Any) -> None: ...  # E: bus-handler-signature: arguments


async def called(event: OrderPaid, ctx: MessageContext, proceed: Proceed) -> None: ...  # E: bus-handler-signature: called


registry.guard(called)


# --- Options.


async def asynchronous(event: UserCreated) -> None: ...  # raises: HandlerSignatureError
def synchronous(event: UserCreated) -> None: ...  # raises: HandlerSignatureError


class Handlers:
    async def created(self, event: UserCreated) -> None: ...


class Both:
    async def created(self, event: UserCreated) -> None: ...

    def renamed(self, event: UserRenamed) -> None: ...  # raises: HandlerSignatureError


registry.register(synchronous, in_thread=True)
registry.register(asynchronous, timeout=1)
registry.register(synchronous, timeout=1, in_thread=True)
registry.register(asynchronous, timeout=None, lifetime=None, on_failure="resume", in_thread=False)
registry.register(Handlers, lifetime="actor", on_failure="stop", timeout=0.5)
registry.register(asynchronous, in_thread=True)  # E: bus-handler-signature: in_thread  # raises: nothing
registry.register(synchronous, timeout=1)  # E: bus-handler-signature: timeout  # raises: nothing
registry.register(asynchronous, lifetime="scoped")  # E: bus-handler-signature: lifetime  # raises: nothing
registry.register(asynchronous, on_failure="restart")  # E: bus-handler-signature: on_failure  # raises: nothing
registry.register(Both, timeout=1)  # E: bus-handler-signature: renamed  # raises: nothing


def register_later(*, at_once: bool, seconds: float | None) -> None:
    registry.register(synchronous, timeout=1, in_thread=at_once)
    registry.register(synchronous, timeout=seconds, in_thread=True)


@registry.register(in_thread=True)  # E: bus-handler-signature: in_thread
async def in_a_thread(event: UserCreated) -> None: ...


# --- A base of the commands.


class UserCommand(Command[None]):
    pass


class Rename(UserCommand):
    pass


narrow = MessageRegistry(event_base=OrderEvent, command_base=UserCommand)


@narrow.register
async def rename(command: Rename) -> None: ...


@narrow.register
async def get_name(command: GetName) -> str:  # E: bus-handler-signature: GetName
    return "Ada"
