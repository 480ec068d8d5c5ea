"""Replay a year of flights through the bus: ``python -m examples.flights``."""
