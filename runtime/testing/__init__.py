"""Tools for testing services: a simulated loop, and a way to run on it."""

from runtime.testing.loops import SimulatedLoop, Stalled
from runtime.testing.running import Simulate, simulate

__all__ = (
    "Simulate",
    "SimulatedLoop",
    "Stalled",
    "simulate",
)
