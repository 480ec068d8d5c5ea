"""The counters of a terminal, by message type and by handler."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType

from runtime.plan import Plans
from runtime.reports import Counters, HandlerCounters, TypeCounters

__all__ = ("counters",)


def counters(plans: Plans) -> Counters:
    """Return what has been counted until now, of the messages and handlers that plans know."""
    # A copy first: the loop may meet a new type while another thread reads.
    tallies = sorted(plans.tallies.copy().items(), key=lambda each: name_of(each[0]))
    by_type = {key: TypeCounters(**tally.ledger()) for key, tally in tallies if tally.is_used}
    by_handler: dict[str, HandlerCounters] = {}
    names: Counter[str] = Counter()
    for each in plans.registered:
        name, tally = f"{each.spec.name} ({each.spec.location})", each.handler.tally
        names[name] += 1
        # Methods of two objects, for one, have the same name and place.
        key = name if names[name] == 1 else f"{name} #{names[name]}"
        by_handler[key] = HandlerCounters(tally.started, tally.failed, tally.slow, tally.longest)
    return Counters(MappingProxyType(by_type), MappingProxyType(by_handler))


def name_of(message_type: type) -> tuple[str, str]:
    """Return what message types are sorted by."""
    return message_type.__module__, message_type.__qualname__
