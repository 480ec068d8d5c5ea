"""What is wrong with handlers and their wiring, as data: errors say it, and a check prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from runtime.errors import (
    BusError,
    DuplicateHandler,
    HandlerSignatureError,
    LifetimeError,
    ProviderError,
)

__all__ = ("ERRORS", "Code", "Finding", "Place", "Severity", "failure")

Code = Literal[
    "bus-cycle",
    "bus-dependency",
    "bus-duplicate-handler",
    "bus-handler-signature",
    "bus-lifetime",
    "bus-no-handler",
    "bus-unheard",
]
Severity = Literal["error", "warning"]

ERRORS: Final[Mapping[Code, type[BusError]]] = {
    "bus-cycle": ProviderError,
    "bus-dependency": ProviderError,
    "bus-duplicate-handler": DuplicateHandler,
    "bus-handler-signature": HandlerSignatureError,
    "bus-lifetime": LifetimeError,
}
"""What a terminal raises for a finding when it freezes; the others are only found by a check."""


class Place(msgspec.Struct, frozen=True):
    """Where something is written, as far as that is known without a look at the source."""

    name: str
    """A function's own name, or a class's qualified one."""
    file: str | None
    """None for what stands in no file."""
    line: int = 0
    """Where a function begins, its decorators included; 0 for a class."""
    parameter: str | None = None
    """Which of its parameters, or of its fields, is meant; None for all of it."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong."""

    code: Code
    subject: str
    """The qualified name of the handler, the message or the factory."""
    text: str
    """All of it in one line, as an error says it."""
    what: str
    advice: str = ""
    """What to do about it, unless `what` says that, too."""
    path: tuple[str, ...] = ()
    """Who needs what, from the handler to the dependency that is wrong; else empty."""
    places: tuple[Place, ...] = ()
    """Where each of them is written, as far as that is known."""

    @property
    def severity(self) -> Severity:
        """Whether a terminal with it cannot run, or runs and may do too little."""
        return "warning" if self.code == "bus-unheard" else "error"


def failure(findings: Sequence[Finding]) -> BusError:
    """Return the error for some findings: of the first's class, with the texts of all."""
    error = ERRORS[findings[0].code]("\n".join(each.text for each in findings))
    error.findings = tuple(findings)
    return error
