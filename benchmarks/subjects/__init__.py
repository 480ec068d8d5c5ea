"""The same work as the floors, done by the runtime."""

from functools import partial

from benchmarks.freezing import freeze
from benchmarks.imports import SUBJECT, importing
from benchmarks.subjects.mailboxes import (
    ask_behind,
    ask_mailbox,
    emit_keyed,
    emit_many,
    emit_one,
    emit_sync,
)
from benchmarks.subjects.publish import (
    publish_guarded,
    publish_isolated,
    publish_managed,
    publish_one,
    publish_sync,
    publish_three,
    publish_wired,
    send_command,
)
from benchmarks.subjects.sinks import sink_batches
from benchmarks.subjects.terminals import look_at_many, open_scopes, open_scopes_with_bus
from benchmarks.workload import MAILBOXES, MANY, SINK_BATCH, SLOW, Case, gathered, many_callers

SUBJECTS = [
    Case("publish x1", "runtime", publish_one),
    Case("publish x3", "runtime", publish_three),
    Case("publish sync", "runtime", publish_sync),
    Case("publish wired", "runtime", publish_wired),
    Case("publish managed", "runtime", publish_managed),
    Case("publish guarded", "runtime", publish_guarded),
    Case("publish isolated", "runtime", publish_isolated),
    Case("send", "runtime", send_command),
    Case("emit", "runtime, one mailbox", emit_one),
    Case("emit", "runtime, key=", emit_keyed),
    Case("emit", "runtime, sync handler", emit_sync),
    Case("emit 10,000 keys", "runtime", emit_many, MAILBOXES),
    Case("ask", "runtime, one mailbox", ask_mailbox),
    Case("ask, 50 callers", "runtime, one mailbox", partial(ask_mailbox, many_callers), MANY),
    Case("ask, 50 gathered", "runtime, one mailbox", partial(ask_mailbox, gathered)),
    Case("ask, queued", "runtime, one mailbox", ask_behind),
    Case("stats", "10,000 mailboxes", look_at_many),
    Case("stats", "no mailbox", partial(look_at_many, mailboxes=0)),
    Case("sink", "runtime", sink_batches, SINK_BATCH * 4),
    Case("scopes", "runtime", open_scopes),
    Case("scopes", "runtime, bus touched", open_scopes_with_bus),
    Case("scopes", "runtime, 10,000 idle", partial(open_scopes, idle=MAILBOXES)),
    Case("freeze", "1,000 of 10,000", freeze, unit=1, rounds=SLOW),
    Case("import", "runtime as well", partial(importing, SUBJECT), unit=1, rounds=SLOW),
]
