"""A typed, actor-style message runtime for asyncio services, with compiled dispatch."""

from runtime.building import Resolver
from runtime.bus import EventBus
from runtime.lifetimes import use
from runtime.loops import run
from runtime.messages import Command, DeadLetter, Delivery, Event, MessageContext
from runtime.policies import MailboxPolicy, Retry
from runtime.publishers import concurrent, isolated, sequential
from runtime.registry import MessageRegistry
from runtime.reports import ShutdownReport, Stats
from runtime.scope import Scope
from runtime.sinks.base import Record
from runtime.terminal import BusTerminal

__all__ = (
    "BusTerminal",
    "Command",
    "DeadLetter",
    "Delivery",
    "Event",
    "EventBus",
    "MailboxPolicy",
    "MessageContext",
    "MessageRegistry",
    "Record",
    "Resolver",
    "Retry",
    "Scope",
    "ShutdownReport",
    "Stats",
    "concurrent",
    "isolated",
    "run",
    "sequential",
    "use",
)
