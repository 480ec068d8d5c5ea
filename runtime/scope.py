"""The face of the compiled scope."""

from runtime._bus import Scope

__all__ = ("Scope",)
