"""What the verbs of one terminal share: mailboxes, run queue, ledger.

A mailbox is idle, in the run queue, or being worked on. `Core.searching` counts the workers that
are awake and will look at the queue again; whoever makes a mailbox ready wakes one only if there
is none. `Core.parked` is the future that the one idle worker, `Core.idler`, awaits.

Every message comes in through `accept`, `schedule` or the inbox that other threads fill
(`_inbox`), perhaps after standing in line (`_lines`), and goes out through `end`, once.
"""

cimport cython
from cpython.exc cimport PyErr_Occurred
from cpython.object cimport PyObject

from runtime._capi cimport PyContext_CopyCurrent, dict_get, take_error, thread_mark
from runtime._deadlines cimport Deadlines
from runtime._dispatch cimport DROP_OLDEST, REJECT, Plan, Table
from runtime._mailbox cimport (
    ASK,
    CONTROL,
    DELAYED,
    DROPPED,
    EXPIRED,
    FAILED,
    HANDLED,
    NOTICE,
    PLAIN,
    QUEUED,
    REJECTED,
    Delivery,
    Mailbox,
    State,
    drop_oldest,
    is_spent,
    new_delivery,
    new_mailbox,
)
from runtime._spares cimport Spares
from runtime._stopwatch cimport Stopwatch
from runtime._wiring cimport Storage, new_storage

import logging
from asyncio import _get_running_loop

from runtime.errors import AskTimeout, MailboxFull, TerminalClosed, WrongLoop

cdef object logger = logging.getLogger("runtime")

cdef enum:
    # Longer than any chain of causes.
    NO_LIMIT = 0x7FFFFFFF


@cython.final
cdef class Core:
    """The compiled half of a terminal.

    `host` is the other half, asked for what is rare: to begin, to start a worker's task, to record
    a failure. `observer` is told of every message while somebody tracks the terminal; `is_alert`
    says that a verb has more to ask than whose thread it is on, `is_timed` that a worker's batch
    may end by the clock, `passivates` that actors are stopped after a while without messages;
    `clock` is the loop's. `rebind`, if there is one, is called under the context variables of each
    message for a mailbox.
    """

    def __cinit__(self, object host, *, int concurrency, max_hops=None):
        self.host = host
        self.pool = new_mailbox(None, concurrency)
        self.notices = new_mailbox(None, 1)
        self.unmade = new_mailbox(None, 1)
        self.unmade.forgotten = True
        self.max_hops = NO_LIMIT if max_hops is None else min(max_hops, NO_LIMIT)
        self.root = new_storage(self, None, None)
        self.root.detached = True
        self.root.exits = []
        self.stopwatch = Stopwatch(host)
        self.spares = Spares()
        self.deadlines = Deadlines()
        self.boxes = {}
        self.undelivered = []
        self.excused_boxes = []
        self.is_alert = True
        self.inline_left = INLINE

    # Where messages go

    cdef Mailbox mailbox(self, object name):
        """Return the mailbox of a name, made if it is not there."""
        cdef Mailbox box = self.resting
        cdef PyObject* found
        if box is not None and box.name is name and not box.forgotten:
            return box
        found = dict_get(self.boxes, name)
        return <Mailbox>found if found != NULL else self.make_mailbox(name)

    cdef Mailbox make_mailbox(self, object name):
        """Make the mailbox of a name that has none, or that cannot be looked up."""
        if PyErr_Occurred():
            raise_unnamed(name)
        # Comparing names may run code that makes the same mailbox.
        return <Mailbox>self.boxes.setdefault(name, new_mailbox(name, 1))

    cdef Mailbox mailbox_if_made(self, object name):
        """Return the mailbox of a name; if it is not there, what stands for it till it is needed.

        That is one and the same for all names, and counts as forgotten.
        """
        cdef PyObject* found = dict_get(self.boxes, name)
        if found != NULL:
            return <Mailbox>found
        if PyErr_Occurred():
            raise_unnamed(name)
        return self.unmade

    cdef Mailbox mailbox_again(self, Mailbox box, Storage storage):
        """Return the mailbox that there is now for one that counts as forgotten, of a scope."""
        if box is not self.unmade:
            return self.mailbox(box.name)
        while storage.parent is not None:
            storage = storage.parent
        # Nobody but a named block's scope begins without its mailbox.
        box = self.mailbox((<object>storage).name)
        storage.box = box
        return box

    cdef Mailbox keyed_mailbox(self, Plan plan, object event):
        """Return the mailbox that a message's `__key__` chooses, or None if its field is None."""
        try:
            value = getattr(event, plan.key_field)
        except AttributeError as error:
            owner = plan.key_owner
            raise AttributeError(
                f"{owner.__module__}.{owner.__qualname__}.__key__ is {plan.key_field!r}, but "
                f"{type(event).__name__} has no such field"
            ) from error
        return None if value is None else self.mailbox((plan.key_owner, value))

    def mailbox_names(self):
        """Return the names of the mailboxes that exist."""
        self.end_rest()
        return tuple(self.boxes)

    def anonymous_mailbox(self):
        """Return a new mailbox that no key reaches."""
        return new_mailbox(None, 1)

    # Messages in

    cdef int accept_rare(self, Mailbox box, Delivery message, bint has_place) except -1:
        """Accept a message that somebody observes, that some rule speaks against, or that has a
        place, which nobody takes away.
        """
        cdef Delivery dropped = None
        if message.hops > self.max_hops:
            self.count_accepted(message)
            self.abandon(message, box, FAILED, "hops", self.host.too_many_hops(message.event))
            self.release(box)
            return 0
        if not has_place and self.is_full(box, message):
            dropped = self.crowd_out(box, message)
        if dropped is not message:
            self.enqueue(box, message)
            self.queued += 1
        self.count_accepted(message)
        if self.observer is not None:
            self.observer.emitted(message.event)
        if dropped is not None:
            self.drop(box, dropped, message.plan.capacity)
        return 0

    cdef Delivery crowd_out(self, Mailbox box, Delivery message):
        """Return what a full mailbox drops for a message: the oldest, or the message itself."""
        cdef Delivery oldest = None
        if message.plan.overflow == REJECT:
            raise MailboxFull.of(message.event, message.plan.capacity, box.name)
        if message.plan.overflow == DROP_OLDEST:
            oldest = drop_oldest(box)
        if oldest is None:
            # The newest goes, also where every place is promised to somebody.
            return message
        self.queued -= 1
        return oldest

    cdef int drop(self, Mailbox box, Delivery message, int capacity) except -1:
        return self.abandon(
            message,
            box,
            DROPPED,
            "overflow",
            MailboxFull.of_dropped(message.event, capacity, box.name),
        )

    def post_again(self, Mailbox box not None, Plan plan not None, object event, object context):
        """Accept a message that comes once more, as `emit` would. Raises `MailboxFull`."""
        cdef Delivery message = self.new_message(plan, event, context)
        self.accept(self.mailbox(box.name) if box.forgotten else box, message)
        return message

    def accept_failed(self, object event, object context, object reason, object error):
        """Accept what a source has kept, and end it as failed: it reaches no handler any more."""
        cdef Delivery message
        message = new_delivery(self.table.find(event), event, context, PyContext_CopyCurrent())
        self.count_accepted(message)
        if self.observer is not None:
            self.observer.emitted(event)
        self.abandon(message, self.pool, FAILED, reason, error)

    def find_mailbox(self, object name not None):
        """Return the mailbox of a name, made if it is not there."""
        return self.mailbox(name)

    def post_notice(self, object letter, object context):
        """Queue a dead letter for whoever is registered for it, outside capacity and ledger."""
        cdef Plan plan
        cdef Delivery message
        if self.table is None or self.phase == OVER:
            return
        plan = self.table.find(letter)
        if plan.count == 0:
            return
        message = new_delivery(plan, letter, context, PyContext_CopyCurrent())
        message.kind = NOTICE
        self.append(self.notices, message)
        self.control += 1

    # Messages out

    cdef int abandon(
        self, Delivery message, Mailbox box, State state, object reason, object error
    ) except -1:
        """End a message whose handlers will not run, and that is counted nowhere any more."""
        self.count_ended(message, state)
        if state == REJECTED:
            self.undelivered.append(message.event)
        self.bury(message, box, None, reason, error, 0)
        self.end(message, state)
        return 0

    cdef int end_handled(self, Delivery message) except -1:
        """End a message that every handler has handled; the caller does not look at it any more."""
        if message.kind != PLAIN or message.callbacks is not None:
            return self.end(message, HANDLED)
        if self.observer is not None:
            self.observer.handled(message.event)
        message.state = HANDLED
        self.spares.reuse(message)
        if self.quiet is not None:
            self.check_quiet()
        return 0

    cdef int expire(self, Delivery message, Mailbox box) except -1:
        """Note that the time of a message was over before its handlers have run."""
        message.state = EXPIRED
        if message.kind == CONTROL:
            message.failures = [self.host.no_time_left(message.event)]
        elif message.kind == ASK:
            message.failures = [AskTimeout.before_start(message.event)]
        else:
            self.bury(message, box, None, "expired", self.host.too_late(message.event), 0)
        return 0

    cdef int bury(
        self,
        Delivery message,
        Mailbox box,
        object handler,
        object reason,
        object error,
        int attempts,
    ) except -1:
        """Record a failure to handle a message; those who hear of dead letters will.

        An ask makes none: its failure is its caller's.
        """
        if message.kind == ASK:
            message.failures = [error]
            return 0
        if message.failures is None:
            message.failures = []
        # Under the emitter's context variables, so that a trace follows the message.
        message.failures.append(
            message.variables.run(
                self.host.bury,
                message.event,
                message.context,
                handler,
                reason,
                error,
                attempts,
                box,
            )
        )
        return 0

    # Time

    def schedule(self, Mailbox box not None, Delivery message not None, double delay):
        """Accept a message that is queued after a delay, in seconds, and has room then."""
        self.host.delays.add(self.loop, delay, box, message)
        message.box = box
        box.pinned += 1
        if message.expires != 0:
            # Time to live counts from when a message is queued.
            message.expires += delay
        message.state = DELAYED
        message.hops = 0
        self.delayed += 1
        self.count_accepted(message)
        if self.observer is not None:
            self.observer.emitted(message.event)

    def post_due(self, Mailbox box not None, Delivery message not None):
        """Queue a message whose delay is over; where it would be rejected, it waits in line."""
        cdef Delivery dropped = None
        self.delayed -= 1
        self.queued += 1
        message.state = QUEUED
        box.pinned -= 1
        if message.plan.overflow == REJECT and (box.blocked or self.is_full(box, message)):
            self.host.lines.stand(box, message, message, True)
            return
        if self.is_full(box, message):
            dropped = self.crowd_out(box, message)
        if dropped is not message:
            self.enqueue(box, message)
        else:
            self.queued -= 1
        if dropped is not None:
            self.drop(box, dropped, message.plan.capacity)

    def reject_delayed(self, object messages):
        """End messages whose delay is not over, with their mailboxes: the terminal closes."""
        cdef Mailbox box
        cdef Delivery message
        for box, message in messages:
            self.delayed -= 1
            self.reject(box, message)

    def reject(self, Mailbox box not None, Delivery message not None):
        """End an accepted message that nothing counts any more, because the terminal closes."""
        self.abandon(
            message, box, REJECTED, "closed", TerminalClosed.of(self.host.name, message.event)
        )

    # The run queue

    cdef int push_ready(self, Mailbox box) except -1:
        if self.searching == 0:
            self.wake()
        if self.ready_head is None:
            self.ready_head = box
        else:
            self.ready_tail.next = box
        self.ready_tail = box
        box.ready = True
        return 0

    cdef Mailbox pop_ready(self):
        cdef Mailbox box = self.ready_head
        if box is not None:
            self.ready_head = box.next
            box.next = None
            if self.ready_head is None:
                self.ready_tail = None
            box.ready = False
        return box

    cdef int release(self, Mailbox box) except -1:
        """Put a mailbox that a worker has left where it belongs."""
        if box.head is not None:
            if not box.ready and box.active < box.limit:
                self.push_ready(box)
        elif is_spent(box):
            if box is not self.resting:
                self.end_rest()
                self.resting = box
        elif self.passivates and box.active == 0 and box.actors is not None and (
            box.name is not None
        ):
            self.host.passivation.note(box)
        return 0

    cdef int end_rest(self) except -1:
        """Forget the mailbox that was left last, if it is still idle."""
        cdef Mailbox box = self.resting
        self.resting = None
        if box is not None and is_spent(box):
            self.forget(box)
        return 0

    cdef int forget(self, Mailbox box) except -1:
        """Drop a mailbox; whoever still holds it finds the name's mailbox again."""
        box.forgotten = True
        try:
            if dict_get(self.boxes, box.name) == <PyObject*>box:
                del self.boxes[box.name]
                return 0
            if PyErr_Occurred():
                raise take_error()
        except Exception:
            # A key that cannot be looked up any more, because it has changed or will not compare.
            # It stays, then.
            box.forgotten = False
            self.host.report_changed_key(box.name)
            return 0
        self.boxes = {name: other for name, other in self.boxes.items() if other is not box}
        return 0

    cdef int wake(self) except -1:
        """Make one worker look at the run queue: the parked one, else a new one."""
        cdef object wakeup = self.parked
        cdef object running = _get_running_loop()
        if thread_mark() != self.thread:
            raise WrongLoop.of_thread(self.host.name)
        if running is not None and running is not self.loop:
            raise WrongLoop.of_loop(self.host.name)
        self.parked = None
        self.idler = None
        # One that was cancelled while parked will not come back.
        if wakeup is not None and not wakeup.done():
            wakeup.set_result(None)
        else:
            self.host.start_worker(self.loop)
        self.searching += 1
        return 0

    # Life

    def freeze(self, Table table not None):
        """Set the dispatch table."""
        self.table = table

    def open(self, object loop):
        """Bind to a loop and take messages."""
        self.loop = loop
        self.clock = loop.time
        self.thread = thread_mark()
        # On a simulated loop the time of the day must not decide who is next, nor who was slow.
        self.is_timed = not getattr(loop, "is_simulated", False)
        if not self.is_timed:
            self.stopwatch.simulate(loop)
        self.set_phase(OPEN)

    def begin_closing(self):
        """Take messages only from handlers that are running."""
        self.set_phase(CLOSING)

    def begin_rejecting(self):
        """Take no message; those that are queued will be rejected, not started."""
        self.set_phase(CLOSED)

    def finish(self):
        """Be closed: not even dead letters are heard any more."""
        self.set_phase(OVER)
        self.spares.drop()

    def observe(self, object observer):
        """Tell somebody, or with None nobody, of every message."""
        self.observer = observer
        self.set_phase(self.phase)

    cdef int set_phase(self, Phase phase) except -1:
        self.phase = phase
        self.is_alert = phase != OPEN or self.observer is not None
        return 0

    @property
    def is_rejecting(self):
        """Whether queued messages are rejected, not started."""
        return self.phase >= CLOSED

    @property
    def has_ended(self):
        """Whether the terminal is closed and everything has been left."""
        return self.phase == OVER

    @property
    def is_own_thread(self):
        """Whether the current thread is that of the terminal's loop."""
        return thread_mark() == self.thread

    @property
    def is_quiet(self):
        """Whether nothing is queued or running; handlers that wait for the close do not count."""
        return self.busy() == 0

    @property
    def pending(self):
        """How many messages are delayed, queued or running."""
        return self.delayed + self.queued + self.running

    def excuse(self, Mailbox box not None):
        """Do not wait for a handler that itself waits for the close, nor for what it holds up."""
        self.excused += 1
        self.excused_boxes.append(box)
        if self.quiet is not None:
            self.check_quiet()

    def readmit(self, Mailbox box not None):
        """Wait for a handler after all."""
        self.excused -= 1
        self.excused_boxes.remove(box)

    cdef Py_ssize_t busy(self) except -1:
        """Return how many messages a quiet moment, or a close, has to wait for."""
        cdef Py_ssize_t busy = self.queued + self.running + self.control - self.excused
        if self.excused > 0:
            for box in set(self.excused_boxes):
                busy -= self.stranded(box)
        return busy

    cdef Py_ssize_t stranded(self, Mailbox box) except -1:
        """Return how many messages start only after handlers that wait for the close."""
        cdef Py_ssize_t count = 0
        cdef Delivery message = box.head
        if self.excused_boxes.count(box) < box.limit:
            return 0
        while message is not None:
            count += 1
            message = message.next
        if box.blocked:
            count += self.host.lines.messages(box)
        return count

    def ledger(self):
        """Return the counters by name."""
        return {
            "emitted": self.emitted,
            "handled": self.handled,
            "failed": self.failed,
            "dropped": self.dropped,
            "expired": self.expired,
            "rejected_at_close": self.rejected,
            "pending": self.delayed + self.queued + self.running,
            "published": self.published,
            "sent": self.sent,
            "asked": self.asked,
            "scopes": self.scopes,
        }

    def take_undelivered(self):
        """Return the messages rejected so far, once."""
        undelivered, self.undelivered = self.undelivered, []
        return undelivered

    def await_quiet(self):
        """Return a future that is done when nothing is queued or running."""
        cdef object future = self.loop.create_future()
        if self.busy() == 0:
            future.set_result(None)
        else:
            self.quiet = [each for each in self.quiet or () if not each.done()]
            self.quiet.append(future)
        return future

    cdef int check_quiet(self) except -1:
        if self.busy() == 0:
            futures, self.quiet = self.quiet, None
            for future in futures:
                if not future.done():
                    future.set_result(None)
        return 0

    # Turns

    def pin(self, Mailbox box not None):
        """Keep a mailbox from being forgotten."""
        box.pinned += 1

    def unpin(self, Mailbox box not None):
        """Let a mailbox be forgotten when it is empty."""
        box.pinned -= 1
        self.release(box)

    def enter_turn(self, Mailbox box not None):
        """Keep a mailbox from starting its next message, besides the one that is running."""
        box.active += 1

    def leave_turn(self, Mailbox box not None):
        """Let a mailbox go on."""
        box.active -= 1
        self.release(box)


cdef int raise_unnamed(object name) except -1:
    """Raise that a name cannot be looked up, and why: that is set as the exception."""
    cdef object error = take_error()
    raise TypeError(
        f"{name!r} cannot name a mailbox: {error}; use a key that is hashable, such as a str, an "
        f"int or a tuple of them"
    ) from error
