"""The floors: what a careful engineer writes by hand, with no library at all."""

from functools import partial

from benchmarks.floors.mailboxes import (
    queue_and_future,
    queue_and_future_behind,
    queue_and_worker,
    queue_and_worker_per_key,
    task_per_event,
)
from benchmarks.floors.publish import (
    await_by_hand,
    await_guarded_by_hand,
    await_isolated_by_hand,
    await_managed_by_hand,
    await_reply_by_hand,
    await_three_by_hand,
    await_wired_by_hand,
    call_by_hand,
)
from benchmarks.floors.sinks import executemany
from benchmarks.floors.terminals import hold_by_hand, stats_by_hand
from benchmarks.freezing import HANDLERS, freeze
from benchmarks.imports import NEEDED, importing
from benchmarks.workload import (
    MAILBOXES,
    MANY,
    SINK_BATCH,
    SLOW,
    Case,
    gathered,
    many_callers,
)

FLOORS = [
    Case("publish x1", "await by hand", await_by_hand),
    Case("publish x3", "three awaits by hand", await_three_by_hand),
    Case("publish sync", "call by hand", call_by_hand),
    Case("publish wired", "wired by hand", await_wired_by_hand),
    Case("publish managed", "managed by hand", await_managed_by_hand),
    Case("publish guarded", "guarded by hand", await_guarded_by_hand),
    Case("publish isolated", "isolated by hand", await_isolated_by_hand),
    Case("send", "await by hand", await_reply_by_hand),
    Case("emit", "asyncio.Queue + worker", queue_and_worker),
    Case("emit", "create_task per event", task_per_event),
    Case("emit 10,000 keys", "queue + worker per key", queue_and_worker_per_key, MAILBOXES),
    Case("ask", "Queue + Future", queue_and_future),
    Case("ask, 50 callers", "Queue + Future", partial(queue_and_future, many_callers), MANY),
    Case("ask, 50 gathered", "Queue + Future", partial(queue_and_future, gathered)),
    Case("ask, queued", "Queue + Future", queue_and_future_behind),
    Case("stats", "a dataclass by hand", stats_by_hand),
    Case("sink", "executemany", executemany, SINK_BATCH * 4),
    Case("scopes", "a dictionary by hand", hold_by_hand),
    Case("freeze", "a tenth", partial(freeze, HANDLERS // 10), unit=1, rounds=SLOW),
    Case("import", "asyncio, msgspec", partial(importing, NEEDED), unit=1, rounds=SLOW),
]
