"""`bus-dependency`: what is built in and may be provided, as far as a module shows."""

from collections.abc import AsyncIterator

import shop
from shop import UserCreated, UserEvent, orders

from runtime import MessageRegistry

# --- A factory of this module provides it, before or after, also on another registry: a terminal
# may be given both.

providing = MessageRegistry(event_base=UserEvent)


@providing.register
async def provided_later(event: UserCreated, name: str) -> None: ...


@providing.factory
def make_name() -> str:
    return "Ada"


@providing.register
async def provided(event: UserCreated, name: str) -> None: ...


@providing.factory(lifetime="singleton")
def make_numbers() -> list[int]:
    return []


@providing.register
async def provided_list(event: UserCreated, numbers: list[int]) -> None: ...


@providing.factory
async def make_weights() -> AsyncIterator[dict[str, float]]:
    yield {}


@providing.register
async def provided_mapping(event: UserCreated, weights: dict[str, float]) -> None: ...


providing.factory(lambda: b"", provides=bytes, lifetime="singleton")


@providing.register
async def provided_bytes(event: UserCreated, data: bytes) -> None: ...


another = MessageRegistry(event_base=UserEvent)


@another.register
async def provided_by_another(event: UserCreated, name: str, data: bytes) -> None: ...


@another.register
async def provided_by_none(event: UserCreated, names: list[str]) -> None: ...  # E: bus-dependency: names


# --- The factories of a registry of another module are not seen.


@orders.register
async def of_elsewhere(event: shop.OrderPaid, amount: complex) -> None: ...  # raises: ProviderError


def wire(registry: MessageRegistry[UserEvent]) -> None:
    @registry.register
    async def of_a_parameter(event: UserCreated, amount: complex) -> None: ...  # raises: ProviderError
