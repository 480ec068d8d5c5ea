"""The codes of the plugin, and how a finding is reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mypy.checker import TypeChecker
from mypy.errorcodes import ErrorCode
from mypy.messages import format_type_bare
from mypy.nodes import Context
from mypy.types import Type

__all__ = (
    "DEPENDENCY",
    "DUPLICATE_HANDLER",
    "FROZEN",
    "HANDLER_SIGNATURE",
    "LIFETIME",
    "PUBLISH_TYPE",
    "REPLY_TYPE",
    "any_of",
    "report",
    "show",
)

CATEGORY: Final = "Runtime"

HANDLER_SIGNATURE: Final = ErrorCode(
    "bus-handler-signature", "Check that a handler can be registered as it is written", CATEGORY
)
REPLY_TYPE: Final = ErrorCode(
    "bus-reply-type", "Check that a handler returns what its message is replied to with", CATEGORY
)
DUPLICATE_HANDLER: Final = ErrorCode(
    "bus-duplicate-handler", "Check that a command has one handler", CATEGORY
)
DEPENDENCY: Final = ErrorCode(
    "bus-dependency", "Check that something can provide what a handler needs", CATEGORY
)
LIFETIME: Final = ErrorCode(
    "bus-lifetime", "Check that an object does not outlive what it needs", CATEGORY
)
PUBLISH_TYPE: Final = ErrorCode(
    "bus-publish-type", "Check what is published through a bus of anything", CATEGORY
)
FROZEN: Final = ErrorCode(
    "bus-frozen", "Check that nothing is registered after the terminal was opened", CATEGORY
)


def report(checker: TypeChecker, message: str, where: Context, code: ErrorCode) -> None:
    """Report a finding on the line of `where`."""
    errors = checker.errors
    # `register` is overloaded. Its variants are tried with errors held back, and a finding would
    # count as a sign that the variant does not match. The same one reported twice is shown once.
    # There is no public way around what holds them back.
    held = errors._watchers  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    errors._watchers = []  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    try:
        checker.fail(message, where, code=code)
    finally:
        errors._watchers = held  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def show(checker: TypeChecker, typ: Type) -> str:
    """Write a type as mypy does."""
    return format_type_bare(typ, checker.options)


def any_of(names: Sequence[str]) -> str:
    """Write names as alternatives."""
    return " or ".join(names)
