"""The worker: one task that empties the run queue.

A worker takes ready mailboxes in turn and drives their handlers itself, so a message costs neither
a task nor a future. When a handler suspends, its worker waits with it, and another worker takes
over the run queue.
"""

cimport cython
from cpython.exc cimport PyErr_SetObject
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF

from runtime._capi cimport (
    PYGEN_ERROR,
    PYGEN_NEXT,
    PYGEN_RETURN,
    PySendResult,
    PyThreadState,
    PyThreadState_Get,
    PyTuple_GET_ITEM,
    Py_DecRef,
    enter_context,
    exit_context,
    send_raw,
    take_error,
    wall_clock,
)
from runtime._core cimport CLOSED, OVER, Core
from runtime._dispatch cimport (
    ENDED,
    Handler,
    Plan,
    as_exception,
    start_reply,
    start_result,
    throw_raw,
)
from runtime._mailbox cimport (
    ASK,
    CONTROL,
    FAILED,
    HANDLED,
    NOTICE,
    REJECTED,
    RUNNING,
    WITHDRAWN,
    Delivery,
    Mailbox,
    Reply,
    State,
)
from runtime._wiring cimport new_storage

import logging
from asyncio import CancelledError, current_task

from runtime.errors import TerminalClosed

cdef object logger = logging.getLogger("runtime")

# A worker lets the loop run after so many messages or nanoseconds. After every eighth message it
# looks at the time, and at whether another mailbox waits: its own goes behind that then.
cdef enum:
    BATCH = 64
    BATCH_CHECK = 7
    BATCH_NANOSECONDS = 1_000_000

# What `Worker.attempts` says of a handler that is passed over.
cdef enum:
    NOT_STARTED = -1


@cython.final
cdef class Worker:
    """The coroutine of a worker's task.

    `cancelled` is set by the task's own `cancel`, so that a message costs no look at the task.
    `excused` says that its handler waits for the terminal's close, which does not wait for it.
    `budget` is how many messages it may still take in a row, however often they suspend: a mailbox
    that a worker keeps over a suspension is not to have the turn of those that are ready.
    `attempts` is how often a handler that is retried has been started; 0 with any other.
    """

    def __cinit__(self, Core core not None):
        self.core = core
        self.stopwatch = core.stopwatch
        self.budget = BATCH

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef object outcome = self.step(None)
        if outcome is ENDED:
            raise StopIteration
        return outcome

    def send(self, object value):
        """Continue; a task only ever sends None."""
        return self.__next__()

    def throw(self, object kind, object value=None, object traceback=None):
        """Raise inside the handler that is running, or end the worker that runs none."""
        cdef object outcome = self.step(as_exception(kind, value, traceback))
        if outcome is ENDED:
            raise StopIteration
        return outcome

    def close(self):
        """End the handler that is running, if any."""
        if self.coroutine is not None:
            self.coroutine.close()

    def plan_wait(self, Core core, str verb, Mailbox box, Delivery target, object event):
        """Return the edge of a wait of the handler that runs, or None if `core` is another's."""
        if self.message is None or (core is not None and core is not self.core):
            return None
        return self.core.host.waits.edge(self.box, self.message, verb, box, target, event)

    def excuse(self):
        """Let the close go on without the handler, which waits for it.

        Returns whether that was not known.
        """
        if self.excused or self.message is None:
            return False
        self.excused = True
        self.core.excuse(self.box)
        return True

    def readmit(self):
        """Let the close wait for the handler after all."""
        if self.excused:
            self.excused = False
            self.core.readmit(self.box)

    @property
    def mailbox(self):
        """The mailbox whose message is being handled, or None."""
        return self.box if self.message is not None else None

    @property
    def handled(self):
        """The message that is being handled, or None."""
        return self.message

    @property
    def hears_dead_letters(self):
        """Whether the handler that runs is one of a dead letter."""
        return self.message is not None and self.message.kind == NOTICE

    @property
    def suspended(self):
        """The coroutine that the worker waits with, or None."""
        return self.coroutine

    def unblock(self):
        """Let others at the mailbox of a handler that does not end; only to reject its messages."""
        self.box.limit += 1
        self.core.release(self.box)

    @property
    def handler_name(self):
        """The name of the handler that was started last."""
        return self.handler.spec.name if self.handler is not None else "the publisher"

    cdef object step(self, object error):
        try:
            return self.proceed(error)
        except BaseException as raised:
            if not self.finished:
                self.give_up(raised)
            raise

    cdef object proceed(self, object error):
        cdef object outcome
        self.task = None
        self.stopwatch.start()
        if self.has_pending:
            # What the handler has yielded in the turn of whoever asked.
            outcome, self.pending = self.pending, None
            self.has_pending = False
            self.wakeup = None
            if error is None or self.passes_on(error, outcome):
                return outcome
        if self.coroutine is not None:
            self.core.searching += 1
            outcome = self.advance(error)
            if outcome is not ENDED:
                self.hand_over()
                return outcome
        elif error is not None:
            # Cancelled between messages, or while parked.
            if self.wakeup is not None and self.wakeup.cancelled():
                # Nobody had woken it, so it was not counted.
                self.core.searching += 1
                if self.core.parked is self.wakeup:
                    self.core.parked = self.core.idler = None
            self.retire()
            raise error
        self.wakeup = None
        return self.work()

    cdef bint passes_on(self, object error, object awaited) except -1:
        """Say whether a cancellation has gone to what the handler awaits, as a task's own does."""
        cdef object cancel = getattr(awaited, "cancel", None)
        return isinstance(error, CancelledError) and cancel is not None and cancel()

    cdef int give_up(self, object error) except -1:
        """End a worker that something has failed under which must not fail.

        Its message has failed; others go on with the rest.
        """
        cdef Delivery message = self.message
        self.coroutine = None
        try:
            if message is not None:
                if message.failures is None:
                    message.failures = []
                message.failures.append(
                    error
                    if message.kind == ASK or message.kind == CONTROL
                    else self.core.host.record_breakdown(
                        message.event, message.context, self.box, error
                    )
                )
                message.state = RUNNING
                self.complete()
            logger.critical("a worker of the runtime has failed", exc_info=error)
        finally:
            self.retire()
        return 0

    cdef object work(self):
        cdef Core core = self.core
        cdef Mailbox box
        cdef int budget = self.budget
        cdef long long deadline = wall_clock() + BATCH_NANOSECONDS
        cdef object outcome
        while True:
            if self.message is None:
                if self.cancelled:
                    # Whatever has become of that since, the next handler must not meet it.
                    self.retire()
                    return ENDED
                if budget & BATCH_CHECK == 0 and budget < BATCH:
                    if budget == 0 or (core.is_timed and wall_clock() >= deadline):
                        self.leave_box()
                        self.budget = BATCH
                        return None
                    if core.ready_head is not None:
                        self.leave_box()
                box = self.box
                if box is None or box.head is None or box.ready or box.active >= box.limit:
                    self.leave_box()
                    box = self.box = core.pop_ready()
                    if box is None:
                        return self.idle()
                self.message = core.take(box)
                budget -= 1
            outcome = self.run_message()
            if outcome is not ENDED:
                if self.message is None:
                    # Another worker has it.
                    self.retire()
                    return ENDED
                self.budget = budget
                self.hand_over()
                return outcome
            self.complete()
            if self.fatal is not None:
                self.retire()
                raise self.fatal

    cdef object idle(self):
        """Park, or end if another worker is parked or there will be no more messages."""
        cdef Core core = self.core
        if core.phase >= CLOSED or (core.parked is not None and not core.parked.done()):
            self.retire()
            return ENDED
        core.searching -= 1
        self.budget = BATCH
        self.wakeup = core.parked = core.loop.create_future()
        self.task = current_task(core.loop)
        core.idler = self
        return next(self.wakeup.__await__())

    cdef object run_message(self):
        """Run the handlers that are left: what one yielded, or ENDED after the last.

        Afterwards there is no message if the rest has gone to another worker.
        """
        cdef Delivery message = self.message
        cdef Plan plan = message.plan
        cdef Handler handler
        cdef object outcome
        if message.state == WITHDRAWN or (
            self.core.phase >= (OVER if message.kind == NOTICE else CLOSED)
        ):
            if message.index < plan.count or message.index == 0:
                self.reject()
            return ENDED
        # Not in the turn of whoever asks, which is no later than the call.
        if message.expires != 0 and message.index == 0 and self.task is None and (
            self.core.loop.time() >= message.expires
        ):
            self.core.expire(message, self.box)
            self.stopwatch.start()
            return ENDED
        message.state = RUNNING
        if not plan.simple and plan.publisher is not None and message.index == 0 and plan.count > 0:
            message.index = plan.count
            return self.start_publisher()
        while message.index < plan.count:
            if self.cancelled:
                # Also where the handler before has suspended since: the next must not meet it.
                self.bequeath()
                return None
            handler = <Handler>PyTuple_GET_ITEM(plan.handlers, message.index)
            message.index += 1
            outcome = self.start(handler, message)
            if outcome is not ENDED:
                return outcome
        return ENDED

    cdef object start(self, Handler handler, Delivery message):
        """Call a handler in a fresh scope, under the emitter's context variables."""
        cdef PyObject* variables = <PyObject*>message.variables
        cdef PyThreadState* thread = PyThreadState_Get()
        cdef PyObject* yielded = NULL
        cdef PyObject* coroutine = NULL
        cdef PyObject* result
        cdef PySendResult status
        self.handler = handler
        if handler.needs_scope or message.kind > ASK or (
            not message.plan.simple and (not handler.simple or message.plan.guarded)
        ):
            self.storage = new_storage(
                self.core, self.core.pool if message.kind == NOTICE else self.box, handler
            )
            self.storage.message = message
            self.storage.cause = message.context
            self.storage.hops = message.hops
            if message.kind == CONTROL:
                self.coroutine = self.core.host.run_control(
                    message,
                    message.plan,
                    handler,
                    message.event,
                    message.context,
                    self.storage,
                )
                return self.advance(None)
            if not handler.simple or message.plan.guarded:
                self.coroutine = self.core.host.run_attempts(
                    self, message.plan, handler, message.event, message.context, self.storage
                )
                return self.advance(None)
        enter_context(variables, thread)
        result = handler.call.begin(message.event, message.context, self.storage)
        if message.kind == ASK:
            status = start_reply(result, &coroutine, &yielded)
        else:
            status = start_result(result, &coroutine, &yielded)
        if status == PYGEN_NEXT:
            self.coroutine = <object>coroutine
            Py_DecRef(coroutine)
        exit_context(variables, thread)
        if (
            status == PYGEN_RETURN
            and yielded == NULL
            and self.storage is None
            and not self.stopwatch.is_remarkable()
        ):
            # Most end here.
            return ENDED
        return self.left_off(status, yielded)

    cdef object start_publisher(self):
        """Let a publisher of the user's own run the handlers."""
        cdef Delivery message = self.message
        self.handler = None
        self.coroutine = self.core.host.emit_with(
            message, message.plan, message.event, message.context, self.box, message.hops
        )
        return self.advance(None)

    cdef object advance(self, object error):
        """Drive the suspended handler one step, under the emitter's context variables."""
        cdef PyObject* variables = <PyObject*>self.message.variables
        cdef PyThreadState* thread = PyThreadState_Get()
        cdef PyObject* yielded = NULL
        cdef PySendResult status
        enter_context(variables, thread)
        if error is None:
            status = send_raw(<PyObject*>self.coroutine, <PyObject*>None, &yielded)
        else:
            status = throw_raw(self.coroutine, error, &yielded)
        exit_context(variables, thread)
        return self.left_off(status, yielded)

    cdef object left_off(self, PySendResult status, PyObject* yielded):
        """Return what the handler yielded, or end the attempt and return ENDED."""
        cdef object outcome
        if self.stopwatch.is_remarkable():
            self.remark(status, yielded)
        if status != PYGEN_NEXT and self.storage is not None and self.storage.exits:
            # What a nested run has entered in this scope; the error goes on after it.
            outcome = None
            if yielded != NULL:
                outcome = <object>yielded
                Py_DecRef(yielded)
            self.coroutine = self.core.host.leave_and_raise(
                self.storage, take_error() if status == PYGEN_ERROR else None, outcome
            )
            return self.advance(None)
        if status == PYGEN_ERROR:
            self.end_attempt(take_error())
            return ENDED
        if status == PYGEN_RETURN:
            if yielded != NULL:
                if self.message.kind == ASK:
                    self.message.reply = <object>yielded
                Py_DecRef(yielded)
            if self.coroutine is not None or self.storage is not None:
                self.end_attempt(None)
            return ENDED
        outcome = <object>yielded
        Py_DecRef(yielded)
        return outcome

    cdef int remark(self, PySendResult status, PyObject* yielded) except -1:
        """Measure a step that may have been too long; the error that ended it stays set."""
        cdef object error = take_error() if status == PYGEN_ERROR else None
        try:
            self.stopwatch.stop(self.handler, self.message.event, self.message.variables)
        except BaseException:
            Py_XDECREF(yielded)
            raise
        if error is not None:
            PyErr_SetObject(type(error), error)
        return 0

    cdef int end_attempt(self, object error) except -1:
        """End the handler's scope, and record its error if it has one."""
        cdef Delivery message = self.message
        cdef int attempts
        self.coroutine = None
        if self.storage is not None:
            self.storage.is_shut = True
            self.storage = None
        if message.waits > 0:
            # Of tasks that outlive the handler.
            self.core.host.waits.forget(message)
        attempts = 0 if self.attempts == NOT_STARTED else max(self.attempts, 1)
        if message.kind != ASK:
            # The only handler of an ask may be named in a notice yet.
            self.attempts = 0
        if error is None:
            return 0
        if message.failures is None:
            message.failures = []
        if self.handler is not None and message.kind != CONTROL:
            self.handler.tally.failed += 1
        if message.kind == CONTROL or message.kind == ASK:
            if self.core.phase >= CLOSED and isinstance(error, CancelledError):
                # Whoever waits was not cancelled; the terminal was closed under it.
                closed = TerminalClosed.of(self.core.host.name, message.event)
                closed.__cause__ = error
                error = closed
            message.failures.append(error)
        elif message.kind == NOTICE:
            message.failures.append(error)
            message.variables.run(
                self.core.host.log_failure, message.event, message.context, self.handler.spec, error
            )
        else:
            self.core.bury(
                message,
                self.box,
                self.handler.spec if self.handler is not None else None,
                "closed" if self.cut_off(error) else "failed",
                error,
                attempts,
            )
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self.fatal = error
        # However long it took to say so, it is not for the next handler.
        self.stopwatch.start()
        return 0

    cdef int complete(self) except -1:
        """Count the message's end."""
        cdef Delivery message = self.message
        cdef State state = HANDLED if message.failures is None else FAILED
        self.message = None
        self.box.active -= 1
        if message.state != RUNNING:
            state = message.state
        if message.kind > ASK:
            self.core.control -= 1
        else:
            self.core.running -= 1
            self.core.count_ended(message, state)
        if message.waits > 0:
            self.core.host.waits.forget(message)
        if self.excused:
            self.readmit()
            self.core.host.end_excused()
        if message.kind == ASK:
            if state <= FAILED and (
                message.callbacks is None or (<Reply>message.callbacks).is_given_up()
            ):
                self.core.host.late_reply(
                    message.event,
                    message.context,
                    self.handler.spec,
                    self.box,
                    max(self.attempts, 1),
                    message.failures[0] if message.failures is not None else None,
                )
            self.attempts = 0
        if state == HANDLED:
            return self.core.end_handled(message)
        return self.core.end(message, state)

    cdef bint cut_off(self, object error):
        """Say whether an error is what the close does to a handler."""
        return self.core.phase >= CLOSED and isinstance(error, (CancelledError, TerminalClosed))

    cdef int reject(self) except -1:
        """Turn a message away, or what its last handlers missed because of the close."""
        cdef Delivery message = self.message
        cdef object closed
        if message.kind == NOTICE:
            message.state = WITHDRAWN
        if message.state == WITHDRAWN:
            return 0
        closed = TerminalClosed.of(self.core.host.name, message.event)
        if message.index > 0:
            while message.index < message.plan.count:
                self.handler = <Handler>message.plan.handlers[message.index]
                message.index += 1
                self.attempts = NOT_STARTED
                self.end_attempt(closed)
            return 0
        message.state = REJECTED
        if message.kind == CONTROL:
            message.failures = [closed]
        else:
            self.core.undelivered.append(message.event)
            self.core.bury(message, self.box, None, "closed", closed, 0)
        return 0

    cdef int leave_box(self) except -1:
        cdef Mailbox box = self.box
        if box is not None:
            self.box = None
            self.core.release(box)
        return 0

    cdef int hand_over(self) except -1:
        """Wait with the suspended handler; others go on with the run queue."""
        cdef Core core = self.core
        cdef Mailbox box = self.box
        core.searching -= 1
        if box.head is not None and not box.ready and box.active < box.limit:
            core.push_ready(box)
        elif core.searching == 0 and core.ready_head is not None:
            core.wake()
        return 0

    cdef int retire(self) except -1:
        """End this worker; others go on with the run queue."""
        cdef Core core = self.core
        self.finished = True
        core.searching -= 1
        self.leave_box()
        if core.searching == 0 and core.ready_head is not None:
            core.wake()
        return 0

    cdef int bequeath(self) except -1:
        """Leave the rest of the message to a worker whose task nobody has cancelled."""
        cdef Worker heir = Worker(self.core)
        heir.box = self.box
        heir.message = self.message
        heir.excused, self.excused = self.excused, False
        self.core.host.workers.start(heir, self.core.loop)
        self.core.searching += 1
        self.box = None
        self.message = None
        return 0
