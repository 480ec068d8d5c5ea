"""The ask: a command that is carried out from a mailbox, and waited for.

Where the mailbox is idle, and a worker too, the command is carried out in the turn of whoever asks,
so nothing waits for the loop to go round. The worker's task is the current one meanwhile, so that
`current_task()`, timeouts and task groups are what they are in any handler.
"""

cimport cython
from cpython.exc cimport PyErr_SetObject, PyErr_WarnEx
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from runtime._capi cimport (
    PYGEN_ERROR,
    PYGEN_NEXT,
    PYGEN_RETURN,
    PySendResult,
    dict_get,
    drive_by,
    stop_with,
    thread_mark,
)
from runtime._core cimport CLOSED, INLINE, Core
from runtime._dispatch cimport ENDED, Plan, as_exception
from runtime._mailbox cimport (
    ASK,
    HANDLED,
    QUEUED,
    WITHDRAWN,
    Delivery,
    Mailbox,
    Reply,
    deadline_of,
)
from runtime._sender cimport Sender, seconds
from runtime._waits cimport Wait, Waits
from runtime._wiring cimport is_over
from runtime._worker cimport Worker

import asyncio
import sys
from asyncio import _get_running_loop, current_task

from runtime.errors import AskTimeout, NoHandler, WrongLoop

cdef object Task = asyncio.Task
# Which task a loop runs: up to CPython 3.13 a dict knows, from then on only compiled functions do.
cdef bint HAS_SWAP = sys.version_info >= (3, 14)
cdef object swap_current_task = asyncio.tasks._swap_current_task if HAS_SWAP else None
cdef dict current_tasks = None if HAS_SWAP else asyncio.tasks._current_tasks

cdef str VERB = "asks {mailbox} for {event}"


@cython.final
cdef class Ask(Reply):
    """The awaitable of `EventBus.ask`, where the outcome is left too.

    It is a coroutine to everything that awaits one. `sender` and what is sent are there until it is
    begun, `message` from then on; `edge` is its wait in the graph, `timer` that of a time which was
    handed down.
    """

    def __dealloc__(self):
        if self.sender is not None and not self.is_begun:
            PyErr_WarnEx(RuntimeWarning, b"an ask() was never awaited", 1)

    def __await__(self):
        if self.is_over:
            raise RuntimeError("cannot reuse already awaited ask()")
        if self.is_awaited:
            raise RuntimeError("ask() is being awaited already")
        self.is_awaited = True
        return self

    def __iter__(self):
        return self

    def __next__(self):
        # For those who call it; the interpreter's way is `proceed`.
        return self.send(None)

    def send(self, object value):
        """Continue; a task only ever sends None."""
        cdef object outcome = self.go_on()
        if self.is_over:
            raise StopIteration(outcome)
        return outcome

    def throw(self, object kind, object value=None, object traceback=None):
        """Give up: a command that has not been started will not be."""
        self.close()
        raise as_exception(kind, value, traceback)

    def close(self):
        """Give up: a command that has not been started will not be."""
        self.check_idle()
        self.is_begun = True
        self.clean_up()

    cdef int check_idle(self) except -1:
        """Raise `ValueError` in what is carried out in its turn, as a coroutine does."""
        if self.is_begun and not self.is_over and self.iterator is None and not self.has_ended:
            raise ValueError("ask() is executing already")
        return 0

    cdef PySendResult proceed(self, PyObject** result) noexcept:
        """Begin or continue: a new reference to what is yielded or returned, unless that fails."""
        try:
            outcome = self.go_on()
        except BaseException as error:
            PyErr_SetObject(type(error), error)
            return PYGEN_ERROR
        Py_INCREF(outcome)
        result[0] = <PyObject*>outcome
        return PYGEN_RETURN if self.is_over else PYGEN_NEXT

    cdef object go_on(self):
        if self.is_over:
            raise RuntimeError("cannot reuse already awaited ask()")
        if not self.is_begun:
            self.is_begun = True
            try:
                self.begin()
                if not self.has_ended:
                    return self.suspend()
                if self.is_pausing:
                    # The loop goes round.
                    return None
            except BaseException:
                self.clean_up()
                raise
        elif not self.has_ended:
            self.check_idle()
            return next(self.iterator)
        self.clean_up()
        return self.take()

    cdef int begin(self) except -1:
        """Send the command to its mailbox; the outcome may be there at once."""
        cdef Sender sender = <Sender>self.sender
        cdef Core core = sender.core
        cdef object command = self.command
        cdef Delivery message
        cdef Mailbox box
        cdef Plan plan
        cdef double due
        if (
            core.is_alert
            or thread_mark() != core.thread
            or (sender.storage is not None and is_over(sender.storage))
        ):
            sender.admit(command)
        plan = core.table.find(command)
        if plan.count == 0:
            raise NoHandler.of(command)
        due = self.due(core.clock())
        message = sender.message_of(plan, command, self.context)
        message.expires = due
        message.kind = ASK
        message.callbacks = self
        box = sender.route(plan, command, self.key)
        if plan.has_actors:
            core.host.supervision.check(box, plan.handlers[0], command)
        self.message = message
        asker = running_task(core.loop)
        # Before it is carried out, which may be at once.
        self.edge = self.draw(box, command, asker)
        self.accept(box, asker)
        core.asked += 1
        plan.counts.asked += 1
        return 0

    cdef double due(self, double now) except? -1:
        """Return when the wait is over, on the loop's clock."""
        cdef double timeout = seconds("timeout", self.timeout)
        cdef double end = now + timeout
        cdef double deadline
        cdef Sender sender = <Sender>self.sender
        if sender.timed:
            deadline = deadline_of(sender.storage)
            if deadline <= now:
                raise AskTimeout.before_start(self.command)
            if deadline < end:
                self.timeout = deadline - now
                self.timer = sender.core.deadlines.make_timer(
                    sender.core.loop, deadline, self.timeout, self
                )
                return deadline
        # Zero means no end; this is the end at the very start of a loop's clock.
        return end if end != 0 else -1

    cdef Wait draw(self, Mailbox box, object command, object task):
        """Enter the wait of the handler that asks, if one does. Raises `DeadlockError`."""
        cdef Sender sender = <Sender>self.sender
        cdef Wait edge
        cdef object plan_wait
        if sender.storage is not None and sender.storage.message is not None:
            edge = (<Waits>sender.core.host.waits).edge_of(
                sender.storage, VERB, box, self.message, command
            )
        else:
            plan_wait = None if type(task) is Task else getattr(task, "plan_wait", None)
            if plan_wait is None:
                return None
            edge = plan_wait(sender.core, VERB, box, self.message, command)
        if edge is not None:
            edge.draw()
        return edge

    cdef int accept(self, Mailbox box, object asker) except -1:
        """Have the command carried out at once, or queue it. Raises `MailboxFull`."""
        cdef Core core = (<Sender>self.sender).core
        cdef Delivery message = self.message
        if (
            box.head is None
            and box.active < box.limit
            and not box.ready
            and not core.is_alert
            and core.parked is not None
            and not (<Worker>core.idler).cancelled
            and message.hops <= core.max_hops
            and not core.is_full(box, message)
        ):
            # Nothing is before it and somebody is there to do it.
            if core.inline_left == 0:
                core.inline_left = INLINE
                self.is_pausing = True
            core.inline_left -= 1
            run_inline(core.idler, box, message, asker)
        else:
            core.accept(box, message)
        return 0

    cdef object suspend(self):
        """Wait for the outcome: what the task is to wait for."""
        cdef Core core = (<Sender>self.sender).core
        self.future = core.loop.create_future()
        if self.edge is not None:
            (<Wait>self.edge).suspend(self.future)
        if self.timer is None:
            core.deadlines.add(core.loop, self, self.timeout)
        self.iterator = self.future.__await__()
        return next(self.iterator)

    cdef int clean_up(self) except -1:
        """Keep nothing that the wait has needed; nobody waits any more."""
        cdef Delivery message = self.message
        cdef Core core
        # It may be known to a timer for a while.
        self.is_over = self.has_ended = True
        if self.edge is not None:
            (<Wait>self.edge).erase()
            self.edge = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if message is not None:
            if message.state == QUEUED:
                message.state = WITHDRAWN
            message.callbacks = None
            self.message = None
            if message.state == HANDLED:
                core = (<Sender>self.sender).core
                core.spares.reuse(message)
        self.command = self.sender = self.context = self.key = self.iterator = self.future = None
        return 0


cdef PySendResult send_into(PyObject* ask, PyObject* value, PyObject** result) noexcept:
    return (<Ask>ask).proceed(result)


cdef PyObject* next_of(PyObject* ask) noexcept:
    cdef PyObject* result = NULL
    cdef PySendResult status = (<Ask>ask).proceed(&result)
    if status == PYGEN_NEXT:
        return result
    if status == PYGEN_RETURN:
        stop_with(result)
    return NULL


# An exception for each reply would cost more than all the rest.
drive_by(Ask, <void*>next_of, <void*>send_into)


cdef object running_task(object loop):
    """Return the current task, or None."""
    cdef PyObject* found
    if HAS_SWAP:
        return current_task(loop)
    found = dict_get(current_tasks, loop)
    return None if found == NULL else <object>found


cdef int set_running(object loop, object task) except -1:
    """Make a task the one that a loop runs, or none."""
    if HAS_SWAP:
        swap_current_task(loop, task)
    elif task is None:
        current_tasks.pop(loop, None)
    else:
        current_tasks[loop] = task
    return 0


cdef int run_inline(Worker worker, Mailbox box, Delivery message, object asker) except -1:
    """Accept a message, and handle it in the turn of the task that asks, by a parked worker.

    If the handler suspends, the worker goes on with it in its own turn.
    """
    cdef Core core = worker.core
    cdef object loop = core.loop
    cdef object wakeup = worker.wakeup
    cdef object outcome = ENDED
    cdef bint is_broken = False
    cdef long long since
    if asker is None and _get_running_loop() is not loop:
        raise WrongLoop.of_loop(core.host.name)
    set_running(loop, worker.task)
    since = core.stopwatch.interrupt()
    message.box = box
    core.count_accepted(message)
    core.running += 1
    box.active += 1
    core.parked = core.idler = None
    worker.box = box
    worker.message = message
    try:
        outcome = worker.run_message()
        if outcome is ENDED:
            worker.complete()
    except BaseException as error:
        is_broken = True
        core.searching += 1
        worker.give_up(error)
    finally:
        set_running(loop, asker)
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
    return 0
