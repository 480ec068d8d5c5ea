"""The budgets and ambitions: section 11 of the design, as data.

`BUDGETS` bound what a subject takes as a multiple of its floor's time, and name the cases that they
bound; `LIMITS` bound what is no such ratio. "1.75 times faster" is a ratio of 1 / 1.75.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """How long a subject may take, as a multiple of its floor's time."""

    group: str
    floor: str
    subject: str
    budget: float
    ambition: float
    faster: bool = False
    """Written as so many times faster, not as so many times the time."""


@dataclass(frozen=True)
class Limit:
    """How large a measured quantity may be."""

    name: str
    unit: str
    budget: float
    ambition: float


def within(group: str, floor: str, subject: str, budget: float, ambition: float) -> Budget:
    """Return a budget that is written as so many times the floor's time."""
    return Budget(group, floor, subject, budget, ambition)


def faster(group: str, floor: str, subject: str, budget: float, ambition: float) -> Budget:
    """Return a budget that is written as so many times faster than the floor."""
    return Budget(group, floor, subject, 1 / budget, 1 / ambition, faster=True)


QUEUE = "asyncio.Queue + worker"
TASKS = "create_task per event"
ONE_BOX = "runtime, one mailbox"

BUDGETS = (
    within("publish x1", "await by hand", "runtime", 1.2, 1.0),
    within("publish x3", "three awaits by hand", "runtime", 1.3, 1.1),
    within("publish sync", "call by hand", "runtime", 1.9, 1.5),
    within("publish wired", "wired by hand", "runtime", 1.6, 1.35),
    # The same row's bound where the factory needs teardown; the design sets no ambition for it.
    within("publish managed", "managed by hand", "runtime", 2.0, 2.0),
    faster("emit", QUEUE, ONE_BOX, 1.75, 2.2),
    faster("emit", QUEUE, "runtime, key=", 1.5, 1.9),
    faster("emit", QUEUE, "runtime, sync handler", 2.0, 2.6),
    faster("emit", TASKS, ONE_BOX, 4.5, 6.0),
    faster("ask, 50 callers", "Queue + Future", ONE_BOX, 2.0, 2.5),
    faster("ask, queued", "Queue + Future", ONE_BOX, 1.0, 1.2),
    faster("ask", "Queue + Future", ONE_BOX, 3.0, 4.5),
    within("freeze", "a tenth", "1,000 of 10,000", 12.0, 12.0),
    # Half the speed, and 0.8 times it.
    within("sink", "executemany", "runtime", 1 / 0.5, 1 / 0.8),
)

LIMITS = (
    Limit("idle named scope", "bytes", 250, 190),
    Limit("idle named scope, its bus touched", "bytes", 350, 290),
    Limit("1,000 active scopes among 1,000,000 idle ones", "times 1,000 alone", 1.1, 1.1),
    Limit("freeze of 1,000 handlers over 10,000 classes", "s", 1.0, 0.2),
    Limit("lookup with 100,000 message types", "times one with 10", 1.3, 1.3),
    Limit("blocks that 100,000 warm publishes and emits leave", "blocks", 0, 0),
    Limit("import runtime, beyond asyncio and msgspec", "ms", 25, 10),
    Limit("p99 of quiet mailboxes beside a hot one", "ms", 2, 2),
)

_BY_CASE = {(each.group, each.floor, each.subject): each for each in BUDGETS}


def budget_of(group: str, floor: str, subject: str) -> Budget | None:
    """Return the budget of a subject against a floor, if it has one."""
    return _BY_CASE.get((group, floor, subject))
