"""Tools for testing services: a simulated loop."""

from runtime.testing.loops import SimulatedLoop, Stalled

__all__ = (
    "SimulatedLoop",
    "Stalled",
)
