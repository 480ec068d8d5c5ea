"""Serve the flights over HTTP, and show them on a live page: ``python -m examples.flightboard``."""
