"""What a wiring has compiled: providers, calls, and what each of them needs."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from runtime._wiring import Call, Factory, Provider, Transient

__all__ = ("Hands", "Wired", "WiredCall", "WiredHandler")


class Hands(IntEnum):
    """What of its scope a call is given: it may go on using that when it has returned."""

    NOTHING = 0
    THE_BUS = 1
    THE_SCOPE = 2


class Wired(msgspec.Struct, frozen=True):
    """A provider, and what a call needs so that it can serve."""

    provider: Provider
    text: str
    """What serves, for a person to read."""
    needs_scope: bool = False
    waits: tuple[Factory, ...] = ()
    """What has to be awaited before the call."""
    manages: bool = False
    """Whether the scope of the call will have something to leave."""
    enters: bool = False
    """Whether whoever asks will have something to leave, because it is transient."""
    hands: Hands = Hands.NOTHING
    """What of the scope at hand is given away, by this or by what it is built from."""
    inner: tuple[tuple[str, Wired], ...] = ()
    """What serves the provider's own parameters."""


class WiredCall(msgspec.Struct, frozen=True):
    """A compiled call, and what it needs."""

    call: Call
    arguments: tuple[tuple[str, Wired], ...]

    @property
    def needs_scope(self) -> bool:
        """Whether an argument lives in a scope."""
        return any(each.needs_scope for _, each in self.arguments)

    @property
    def manages(self) -> bool:
        """Whether an argument has to be left at the end of its scope."""
        return any(each.manages for _, each in self.arguments)

    @property
    def hands(self) -> Hands:
        """What of the scope at hand the arguments give away."""
        return max((each.hands for _, each in self.arguments), default=Hands.NOTHING)

    @property
    def waits(self) -> tuple[Factory, ...]:
        """What has to be awaited before the call; a transient for each argument."""
        found: list[Factory] = []
        for _, each in self.arguments:
            found += (f for f in each.waits if f not in found or isinstance(f, Transient))
        return tuple(found)


class WiredHandler(msgspec.Struct, frozen=True):
    """The compiled call of a handler, and what a run of it needs."""

    call: Call
    is_async: bool
    needs_scope: bool
    wants_context: bool
    actor: Factory | None
    waits: tuple[Factory, ...]
    manages: bool
    hands: Hands
    arguments: tuple[tuple[str, Wired], ...]
