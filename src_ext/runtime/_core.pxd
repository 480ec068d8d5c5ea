"""Fields of a terminal's core; see the .pyx for what they mean."""

from runtime._deadlines cimport Deadlines
from runtime._dispatch cimport Handler, Plan, Table
from runtime._mailbox cimport (
    ASK,
    DROPPED,
    EXPIRED,
    FAILED,
    HANDLED,
    WITHDRAWN,
    Delivery,
    Mailbox,
    State,
)
from runtime._spares cimport Spares
from runtime._stopwatch cimport Stopwatch
from runtime._wiring cimport Storage

cdef enum Phase:
    FRESH
    OPEN
    CLOSING
    CLOSED
    OVER

cdef enum:
    # After so many asks that are carried out in their callers' turns the loop goes round; whoever
    # does nothing but ask would keep it from that.
    INLINE = 64


cdef class Core:
    cdef readonly Table table
    cdef readonly object host
    cdef readonly object loop
    cdef object clock
    cdef readonly Mailbox pool
    cdef readonly Mailbox notices
    cdef Mailbox unmade
    cdef readonly Storage root
    cdef readonly Stopwatch stopwatch
    cdef readonly object observer
    cdef dict boxes
    # The mailbox that was left idle last. It is forgotten when the next one is, since whoever has
    # used it often uses it again.
    cdef Mailbox resting
    cdef list undelivered
    cdef readonly list excused_boxes
    cdef object quiet
    cdef Mailbox ready_head
    cdef Mailbox ready_tail
    cdef object parked
    cdef object idler
    cdef unsigned long thread
    cdef int searching
    cdef int inline_left
    cdef int max_hops
    cdef bint is_alert
    cdef bint is_watched
    cdef bint is_timed
    cdef Phase phase
    cdef Spares spares
    cdef readonly Deadlines deadlines
    cdef Py_ssize_t queued
    cdef Py_ssize_t running
    cdef Py_ssize_t delayed
    cdef Py_ssize_t control
    cdef Py_ssize_t excused
    cdef long long emitted
    cdef long long handled
    cdef long long failed
    cdef long long dropped
    cdef long long expired
    cdef long long rejected
    cdef long long published
    cdef long long sent
    cdef long long asked
    cdef public Py_ssize_t scopes
    cdef public bint passivates
    cdef public object rebind

    cdef Mailbox mailbox(self, object name)
    cdef Mailbox make_mailbox(self, object name)
    cdef Mailbox mailbox_if_made(self, object name)
    cdef Mailbox mailbox_again(self, Mailbox box, Storage storage)
    cdef Mailbox keyed_mailbox(self, Plan plan, object event)
    cdef int end_rest(self) except -1
    cdef int forget(self, Mailbox box) except -1
    cdef Delivery crowd_out(self, Mailbox box, Delivery message)
    cdef int drop(self, Mailbox box, Delivery message, int capacity) except -1
    cdef int accept_rare(self, Mailbox box, Delivery message, bint has_place) except -1
    cdef int abandon(
        self, Delivery message, Mailbox box, State state, object reason, object error
    ) except -1
    cdef int expire(self, Delivery message, Mailbox box) except -1
    cdef int bury(
        self,
        Delivery message,
        Mailbox box,
        object handler,
        object reason,
        object error,
        int attempts,
    ) except -1
    cdef int end_handled(self, Delivery message) except -1
    cdef int set_phase(self, Phase phase) except -1
    cdef int push_ready(self, Mailbox box) except -1
    cdef Mailbox pop_ready(self)
    cdef int wake(self) except -1
    cdef int release(self, Mailbox box) except -1
    cdef Py_ssize_t busy(self) except -1
    cdef int check_quiet(self) except -1
    cdef Py_ssize_t stranded(self, Mailbox box) except -1

    cdef inline Delivery blank_message(self):
        # A message under a copy of the context variables at hand. Its context is to be set, or to
        # be renewed if it has one.
        cdef Delivery message = self.spares.take()
        if self.rebind is not None:
            message.variables.run(self.rebind)
        return message

    cdef inline Delivery new_message(self, Plan plan, object event, object context):
        # A message for a mailbox.
        cdef Delivery message = self.blank_message()
        message.plan = plan
        message.event = event
        message.context = context
        return message

    cdef inline bint is_full(self, Mailbox box, Delivery message) noexcept:
        return box.count + box.reserved >= message.plan.capacity

    cdef inline int count_accepted(self, Delivery message) noexcept:
        self.emitted += 1
        message.plan.counts.emitted += 1
        return 0

    cdef inline int append(self, Mailbox box, Delivery message) except -1:
        # A mailbox with room to start one is made ready first: waking a worker can fail, and then
        # nothing has been accepted.
        if not box.ready and box.active < box.limit:
            self.push_ready(box)
        message.box = box
        if box.head is None:
            box.head = message
        else:
            box.tail.next = message
        box.tail = message
        return 0

    cdef inline int enqueue(self, Mailbox box, Delivery message) except -1:
        # Queue a message that takes one of the mailbox's places.
        self.append(box, message)
        box.count += 1
        return 0

    cdef inline int accept(self, Mailbox box, Delivery message) except -1:
        # Accept a message: queue it, or end it as the rules say. Raises `MailboxFull`.
        if (
            message.hops > self.max_hops
            or self.observer is not None
            or self.is_full(box, message)
        ):
            return self.accept_rare(box, message, False)
        self.enqueue(box, message)
        self.queued += 1
        self.count_accepted(message)
        return 0

    cdef inline Delivery take(self, Mailbox box):
        # Start the first message of a mailbox.
        cdef Delivery message = box.head
        box.head = message.next
        message.next = None
        if box.head is None:
            box.tail = None
        box.active += 1
        if message.kind <= ASK:
            box.count -= 1
            self.queued -= 1
            self.running += 1
            if box.blocked:
                self.host.lines.grant(box)
        return message

    cdef inline int count_ended(self, Delivery message, State state) noexcept:
        # Also an ask that was given up before it had started has expired.
        if state == HANDLED:
            self.handled += 1
            message.plan.counts.handled += 1
        elif state == FAILED:
            self.failed += 1
            message.plan.counts.failed += 1
        elif state == DROPPED:
            self.dropped += 1
            message.plan.counts.dropped += 1
        elif state == EXPIRED or state == WITHDRAWN:
            self.expired += 1
            message.plan.counts.expired += 1
        else:
            self.rejected += 1
            message.plan.counts.rejected += 1
        return 0

    cdef inline int end(self, Delivery message, State state) except -1:
        # End a message: once, whatever has become of it.
        if self.observer is not None and state == HANDLED and message.kind <= ASK:
            self.observer.handled(message.event)
        if message.callbacks is not None:
            message.notify(self.loop)
        message.settle(state)
        if self.quiet is not None:
            self.check_quiet()
        return 0
