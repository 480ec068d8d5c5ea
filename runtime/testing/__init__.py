"""Tools for testing services: record what happens, on a clock and a schedule of your own."""

from runtime.testing.loops import SimulatedLoop, Stalled
from runtime.testing.running import Simulate, simulate
from runtime.testing.tracking import Tracked, track

__all__ = (
    "Simulate",
    "SimulatedLoop",
    "Stalled",
    "Tracked",
    "simulate",
    "track",
)
