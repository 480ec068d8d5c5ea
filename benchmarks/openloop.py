"""Send on a schedule that is fixed in advance, and count latency from the intended times.

A sender that waits for its turn, and only then looks at the clock, leaves out just the times at
which the system was busy: coordinated omission (Gil Tene, "How NOT to Measure Latency"; his wrk2
sends by a constant schedule for this reason). Here each message has its intended time before the
run begins. Whatever holds the sender up counts as latency of what should have been sent meanwhile,
and what is overdue is sent in one go.
"""

import math
import random
from array import array
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

HOT = -1
"""The number of the hot mailbox; the quiet ones are numbered from 0."""
NOT_HANDLED = -1.0
PERCENTILES = (
    *(float(each) for each in range(0, 95, 5)),
    95.0,
    97.5,
    99.0,
    99.5,
    99.75,
    99.9,
    99.95,
    99.99,
    100.0,
)


@dataclass(frozen=True)
class Schedule:
    """When each message is to be sent, in seconds from the start, and to which mailbox."""

    times: "array[float]"
    boxes: "array[int]"

    def __len__(self) -> int:
        return len(self.times)


def poisson(hot_rate: float, quiet_rate: float, seconds: float, quiet: int, seed: int) -> Schedule:
    """Return arrivals that know nothing of each other, at these mean rates a second.

    Each message of the quiet part goes to any of the `quiet` mailboxes.
    """
    chance = random.Random(seed)
    rate = hot_rate + quiet_rate
    times, boxes = array("d"), array("l")
    now = chance.expovariate(rate)
    while now < seconds:
        times.append(now)
        boxes.append(HOT if chance.random() * rate < hot_rate else chance.randrange(quiet))
        now += chance.expovariate(rate)
    return Schedule(times, boxes)


class Latencies:
    """Room for the latency of each message, made before the run; in seconds."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.values = array("d", [NOT_HANDLED]) * len(schedule)

    def of(self, *, hot: bool) -> list[float]:
        """Return the latencies of what was handled, in ascending order."""
        pairs = zip(self.values, self.schedule.boxes, strict=True)
        return sorted(v for v, box in pairs if v != NOT_HANDLED and (box == HOT) is hot)

    def offered(self, *, hot: bool) -> int:
        """Return how many messages were to be sent."""
        return sum((box == HOT) is hot for box in self.schedule.boxes)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return a percentile of figures in ascending order, between neighbours in proportion."""
    if not ordered:
        return math.nan
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


async def drive(
    schedule: Schedule,
    send: Callable[[int, int, float], object],
    clock: Callable[[], float],
    turn: Callable[[], Awaitable[object]],
) -> None:
    """Call `send` with each message's number, mailbox and intended time, never before that time.

    Between looks at the clock `turn` lets the loop go round. The sender does not sleep until the
    next message is due: a loop's timers are coarser than what is measured.
    """
    times, boxes = schedule.times, schedule.boxes
    began = clock()
    number, end = 0, len(schedule)
    while number < end:
        passed = clock() - began
        while number < end and times[number] <= passed:
            send(number, boxes[number], began + times[number])
            number += 1
        await turn()
