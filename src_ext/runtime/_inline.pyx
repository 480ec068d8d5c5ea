"""Carry an ask out in its caller's turn: nothing waits for the loop to go round.

Under the worker's task all the same, so that `current_task()`, timeouts and task groups are what
they are in any handler.
"""

from runtime._core cimport CLOSED, Core
from runtime._dispatch cimport ENDED
from runtime._mailbox cimport Delivery, Mailbox
from runtime._worker cimport Worker

from asyncio import current_task
from asyncio.tasks import _enter_task, _leave_task


def run_inline(Worker worker not None, Mailbox box not None, Delivery message not None):
    """Handle a message in the turn of whoever asks, by a worker that is parked.

    The worker's task is the current one meanwhile. If the handler suspends, the worker goes on
    with it in its own turn.
    """
    cdef Core core = worker.core
    cdef object loop = core.loop
    cdef object task = worker.task
    cdef object asker = current_task(loop)
    cdef object wakeup = worker.wakeup
    cdef object outcome = ENDED
    cdef bint is_broken = False
    cdef long long since = core.stopwatch.interrupt()
    core.parked = core.idler = None
    worker.box = box
    worker.message = message
    if asker is not None:
        _leave_task(loop, asker)
    _enter_task(loop, task)
    try:
        outcome = worker.run_message()
        if outcome is ENDED:
            worker.complete()
    except BaseException as error:
        is_broken = True
        core.searching += 1
        worker.give_up(error)
    finally:
        _leave_task(loop, task)
        if asker is not None:
            _enter_task(loop, asker)
        core.stopwatch.resume(since)
    if is_broken or worker.message is None and (
        outcome is not ENDED
        or worker.cancelled
        or worker.fatal is not None
        or core.phase >= CLOSED
        or (core.parked is not None and not core.parked.done())
    ):
        # It must not meet another message, or is not needed.
        worker.leave_box()
        wakeup.cancel()
    elif outcome is ENDED:
        core.parked = wakeup
        core.idler = worker
        worker.leave_box()
    else:
        worker.pending = outcome
        worker.has_pending = True
        if not wakeup.done():
            wakeup.set_result(None)
        if box.head is not None and not box.ready and box.active < box.limit:
            core.push_ready(box)
    if worker.fatal is not None:
        raise worker.fatal
