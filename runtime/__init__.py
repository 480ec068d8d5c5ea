"""A typed, actor-style message runtime for asyncio services, with compiled dispatch."""

from runtime.bus import EventBus
from runtime.lifetimes import use
from runtime.loops import run
from runtime.messages import DeadLetter, Delivery, Event, MessageContext
from runtime.policies import MailboxPolicy
from runtime.registry import MessageRegistry
from runtime.scope import Scope
from runtime.sinks.base import Record
from runtime.terminal import BusTerminal, ShutdownReport, Stats

__all__ = (
    "BusTerminal",
    "DeadLetter",
    "Delivery",
    "Event",
    "EventBus",
    "MailboxPolicy",
    "MessageContext",
    "MessageRegistry",
    "Record",
    "Scope",
    "ShutdownReport",
    "Stats",
    "run",
    "use",
)
