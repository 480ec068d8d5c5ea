"""Neighbours: one module for each, imported when it is used, since each needs an extra."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.integrations import ididi, lihil

__all__ = ("ididi", "lihil")


def __getattr__(name: str) -> object:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
