"""Messages, mailboxes, the run queue, and the workers that empty it.

A mailbox is idle, in the run queue, or being worked on; it has no task of its own. A worker is
one task that takes ready mailboxes in turn and drives their handlers itself, so a message costs
neither a task nor a future. When a handler suspends, its worker waits with it and another worker
takes over the run queue. `Core.searching` counts the workers that are awake and will look at the
queue again; whoever makes a mailbox ready wakes one only if there is none.
"""

cimport cython
from cpython.exc cimport PyErr_SetObject
from cpython.object cimport PyObject

from runtime._capi cimport (
    PYGEN_ERROR,
    PYGEN_NEXT,
    PYGEN_RETURN,
    Py_DecRef,
    PyContext_CopyCurrent,
    PyContext_Enter,
    PyContext_Exit,
    PyIter_Send,
    PySendResult,
    PyTuple_GET_ITEM,
    is_coroutine,
    wall_clock,
)
from runtime._dispatch cimport (
    ENDED,
    Handler,
    Plan,
    Publication,
    Table,
    as_coroutine,
    as_exception,
    throw_raw,
)
from runtime._wiring cimport Call, Provider, Storage, new_storage, take_error

from asyncio import get_running_loop
from collections import deque

from runtime.errors import DeadlockError, DeliveryFailed, TerminalClosed

# A worker lets the loop run after this many messages, or after this many nanoseconds (looked at
# every eighth message), whichever comes first.
cdef enum:
    BATCH = 64
    BATCH_CHECK = 7
    BATCH_NANOSECONDS = 1_000_000


@cython.final
@cython.freelist(256)
@cython.trashcan(True)
cdef class Delivery:
    """One accepted message on its way to its end.

    `emit` and `offer` return it; keeping it or awaiting `wait()` is optional.
    """

    def __init__(self):
        raise TypeError("a Delivery is returned by emit() and offer(), not constructed")

    def done(self):
        """Say whether the message has come to its end."""
        return self.state >= HANDLED

    @property
    def dead_letters(self):
        """The failures of the message's handlers so far."""
        return tuple(self.failures) if self.failures is not None else ()

    def wait(self):
        """Wait for the message's end.

        Returns None once every handler has returned. Raises `DeliveryFailed` if one failed or
        the message was rejected. Cancelling the wait leaves the message alone.
        """
        cdef DeliveryWait wait = DeliveryWait.__new__(DeliveryWait)
        wait.message = self
        return wait

    def add_done_callback(self, object callback, /):
        """Call `callback(delivery)` soon after the message's end, on the loop.

        It runs in the emitter's context variables; in the caller's, if the end has come already.
        """
        as_callback(callback)
        if self.state >= HANDLED:
            get_running_loop().call_soon(callback, self)
        elif self.callbacks is None:
            self.callbacks = [callback]
        else:
            self.callbacks.append(callback)

    def __repr__(self):
        cdef tuple names = ("queued", "running", "handled", "failed", "rejected", "withdrawn")
        return f"<Delivery {names[<int>self.state]} at {id(self):#x}>"

    cdef int settle(self, Core core, State state) except -1:
        """End the message, and tell those who wait for it."""
        cdef object callbacks = self.callbacks
        cdef object variables = self.variables
        self.state = state
        # Whoever keeps the delivery does not keep the message.
        self.event = self.context = self.variables = self.callbacks = None
        self.plan = None
        if callbacks is not None:
            for callback in callbacks:
                if isinstance(callback, DeliveryWait):
                    (<DeliveryWait>callback).wake()
                else:
                    core.loop.call_soon(callback, self, context=variables)
        if core.quiet is not None:
            core.check_quiet()
        return 0


cdef object as_callback(object callback):
    """Return a callback. Raises `TypeError` if it cannot be called."""
    if not callable(callback):
        raise TypeError(f"a callback must be callable, not {callback!r}")
    return callback


@cython.final
cdef class DeliveryWait:
    """The awaitable of `Delivery.wait`."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.message.state >= HANDLED:
            self.raise_failure()
            raise StopIteration
        if self.future is None:
            self.future = get_running_loop().create_future()
            self.iterator = self.future.__await__()
            if self.message.callbacks is None:
                self.message.callbacks = [self]
            else:
                self.message.callbacks.append(self)
        return next(self.iterator)

    def send(self, object value):
        """Continue; a task only ever sends None."""
        return self.__next__()

    def throw(self, object kind, object value=None, object traceback=None):
        """Give the wait up; the message goes its way."""
        callbacks = self.message.callbacks
        if callbacks is not None and self in callbacks:
            callbacks.remove(self)
        raise as_exception(kind, value, traceback)

    def close(self):
        """Give the wait up; the message goes its way."""
        callbacks = self.message.callbacks
        if callbacks is not None and self in callbacks:
            callbacks.remove(self)

    cdef int wake(self) except -1:
        if not self.future.done():
            self.future.set_result(None)
        return 0

    cdef int raise_failure(self) except -1:
        cdef object failures = self.message.failures
        if failures is None:
            return 0
        if self.message.control:
            raise failures[0]
        raise DeliveryFailed(tuple(failures)) from failures[0].error


@cython.final
cdef class Mailbox:
    """A queue of messages that are handled strictly in order, at most `limit` at a time.

    `limit` is 1 but for the root pool. `count` is the messages that have not been started.
    """

    def __init__(self):
        raise TypeError("mailboxes are made by their terminal")

    cdef Delivery take(self, Core core):
        """Start the first message."""
        cdef Delivery message = self.head
        self.head = message.next
        message.next = None
        if self.head is None:
            self.tail = None
        self.active += 1
        if not message.control:
            self.count -= 1
            core.queued -= 1
            core.running += 1
            if self.blocked:
                core.grant(self)
        return message


cdef inline Mailbox new_mailbox(object name, int limit):
    cdef Mailbox box = Mailbox.__new__(Mailbox)
    box.name = name
    box.limit = limit
    return box


@cython.final
cdef class Core:
    """What the verbs of one terminal share: its table, mailboxes, run queue and ledger.

    `host` is the terminal, asked for what is rare: to begin, to start a worker's task, to record
    a failure.
    """

    def __cinit__(self, object host, *, int capacity, int concurrency):
        self.host = host
        self.capacity = capacity
        self.pool = new_mailbox(None, concurrency)
        self.boxes = {}
        self.lines = {}
        self.undelivered = []

    # Messages in

    cdef Mailbox mailbox(self, object name):
        """Return the mailbox of a name, made if it is not there."""
        cdef object box = self.boxes.get(name)
        if box is None:
            box = self.boxes[name] = new_mailbox(name, 1)
        return <Mailbox>box

    def mailbox_names(self):
        """Return the names of the mailboxes that exist."""
        return tuple(self.boxes)

    def anonymous_mailbox(self):
        """Return a new mailbox that no key reaches."""
        return new_mailbox(None, 1)

    cdef int append(self, Mailbox box, Delivery message) except -1:
        # A mailbox with room to start one is made ready first: waking a worker can fail, and
        # then nothing has been accepted.
        if not box.ready and box.active < box.limit:
            self.push_ready(box)
        if box.head is None:
            box.head = message
        else:
            box.tail.next = message
        box.tail = message
        return 0

    cdef int post(self, Mailbox box, Delivery message) except -1:
        """Accept a message that has room."""
        self.append(box, message)
        box.count += 1
        self.queued += 1
        self.emitted += 1
        return 0

    def post_control(self, Mailbox box, Handler handler, object event, object context):
        """Queue work that bypasses capacity and the ledger; its error is for its caller."""
        cdef Delivery message
        if self.phase == CLOSED:
            raise TerminalClosed.of(self.host.name, event)
        message = new_delivery(handler.solo(), event, context, PyContext_CopyCurrent())
        message.control = True
        self.append(box, message)
        self.control += 1
        return message

    def withdraw(self, Delivery message not None):
        """Keep a control message from starting, if it has not."""
        if message.state == QUEUED:
            message.state = WITHDRAWN

    # Room

    def post_if_room(self, Mailbox box not None, Delivery message not None):
        """Accept a message unless the mailbox is full or somebody is before it; say which."""
        if box.reserved > 0 or box.blocked or box.count >= self.capacity:
            return False
        self.post(box, message)
        return True

    def await_room(self, Mailbox box not None):
        """Stand in line for room; the future returned means a reserved place."""
        cdef object place = self.loop.create_future()
        self.lines.setdefault(box, deque()).append(place)
        box.blocked = True
        return place

    def leave_line(self, Mailbox box not None, object place):
        """Give up a place, reserved already or not; the next in line has it."""
        if place.done() and not place.cancelled() and place.exception() is None:
            box.reserved -= 1
        if box.blocked:
            line = self.lines[box]
            if place in line:
                line.remove(place)
            self.grant(box)
        self.release(box)

    def post_reserved(self, Mailbox box not None, Delivery message not None):
        """Accept a message into the place that was reserved for it."""
        box.reserved -= 1
        if self.phase == CLOSED:
            raise TerminalClosed.of(self.host.name, message.event)
        self.post(box, message)
        if box.blocked:
            self.grant(box)

    cdef int grant(self, Mailbox box) except -1:
        """Reserve what room there is for the first in line."""
        cdef object line = self.lines[box]
        while line and box.count + box.reserved < self.capacity:
            place = line.popleft()
            if not place.done():
                box.reserved += 1
                place.set_result(None)
        if not line:
            del self.lines[box]
            box.blocked = False
        return 0

    def dismiss_lines(self):
        """Wake everybody who stands in line with `TerminalClosed`."""
        cdef Mailbox box
        for box, line in self.lines.items():
            box.blocked = False
            for place in line:
                if not place.done():
                    place.set_exception(TerminalClosed.of(self.host.name))
        self.lines.clear()

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
        elif (
            box.active == 0
            and box.reserved == 0
            and box.name is not None
            and box.actors is None
            and not box.forgotten
        ):
            # Whoever still holds it finds the name's mailbox again.
            del self.boxes[box.name]
            box.forgotten = True
        return 0

    cdef int wake(self) except -1:
        """Make one worker look at the run queue: the parked one, else a new one."""
        cdef Worker worker = self.parked
        self.parked = None
        # One that was cancelled while parked will not come back.
        if worker is not None and not worker.wakeup.done():
            worker.is_parked = False
            worker.wakeup.set_result(None)
        else:
            worker = Worker.__new__(Worker)
            worker.core = self
            self.host.start_worker(worker, self.loop)
        self.searching += 1
        return 0

    # Life

    def freeze(self, Table table not None):
        """Set the dispatch table."""
        self.table = table

    def open(self, object loop):
        """Bind to a loop and take messages."""
        self.loop = loop
        self.phase = OPEN

    def begin_closing(self):
        """Take messages only from handlers that are running."""
        self.phase = CLOSING

    def begin_rejecting(self):
        """Take no message; those that are queued will be rejected, not started."""
        self.phase = CLOSED

    def unblock(self, Worker worker not None):
        """Let others at the mailbox of a handler that does not end; only to reject its messages."""
        cdef Mailbox box = worker.box
        box.limit += 1
        self.release(box)

    @property
    def is_rejecting(self):
        """Whether queued messages are rejected, not started."""
        return self.phase == CLOSED

    @property
    def pending(self):
        """How many messages are queued or running."""
        return self.queued + self.running

    def ledger(self):
        """Return the counters by name."""
        return {
            "emitted": self.emitted,
            "handled": self.handled,
            "failed": self.failed,
            "rejected_at_close": self.rejected,
            "pending": self.queued + self.running,
            "published": self.published,
            "dead_letters": self.dead_letters,
            "scopes": self.scopes,
        }

    def take_undelivered(self):
        """Return the messages rejected so far, once."""
        undelivered, self.undelivered = self.undelivered, []
        return undelivered

    def await_quiet(self):
        """Return a future that is done when nothing is queued or running."""
        cdef object future = self.loop.create_future()
        if self.queued + self.running + self.control == 0:
            future.set_result(None)
        else:
            if self.quiet is None:
                self.quiet = []
            self.quiet.append(future)
        return future

    cdef int check_quiet(self) except -1:
        if self.queued + self.running + self.control == 0:
            futures, self.quiet = self.quiet, None
            for future in futures:
                if not future.done():
                    future.set_result(None)
        return 0

    # Actors

    def publish_to_actor(self, Handler handler, object event, object context, Storage storage):
        """Return the coroutine that lets an actor handle a published event."""
        cdef Mailbox box = self.actor_mailbox(handler, event, storage)
        cdef Storage link = storage
        cdef Publication run
        if storage.owner is None or storage.box is not box:
            return self.host.wait_for_actor(box, handler, event, context)
        while link is not None:
            if (<Handler>link.owner).actor is handler.actor:
                raise DeadlockError.itself(handler.spec, box.name)
            link = link.parent
        # Its own turn: nobody else can be inside the actor.
        run = Publication.__new__(Publication)
        run.plan = handler.solo()
        run.event = event
        run.context = context
        run.storage = storage.branch(handler)
        run.owns_storage = run.on_turn = True
        return run

    def actor_mailbox(self, Handler handler, object event, Storage storage):
        """Return the mailbox whose actor hears an event published in a scope."""
        cdef Plan plan = self.table.find(event)
        cdef Mailbox box
        if plan.key_field is not None:
            value = getattr(event, plan.key_field)
            if value is not None:
                return self.mailbox((plan.key_owner, value))
        box = storage.box
        if box is None or box.name is None:
            raise self.host.no_actor_key(handler.spec, event)
        return self.mailbox(box.name) if box.forgotten else box


@cython.final
cdef class ActorProvider(Provider):
    """Serves the instance of an actor class that lives in the mailbox at hand."""

    def __cinit__(self, Call call not None):
        self.call = call

    cdef object provide(self, object context, Storage storage):
        cdef Mailbox box = <Mailbox>storage.box
        cdef Storage own
        cdef object instance
        if box.actors is None:
            box.actors = {}
        elif self in box.actors:
            return box.actors[self]
        own = new_storage(storage.core, box, None)
        own.detached = True
        instance = self.call.invoke(None, None, own)
        box.actors[self] = instance
        return instance


@cython.final
cdef class Worker:
    """The coroutine of a worker's task.

    `cancelled` is set by the task's own `cancel`, so that a message costs no look at the task.
    """

    def __init__(self):
        raise TypeError("workers are started by their terminal")

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
        cdef object outcome = self.step(None)
        if outcome is ENDED:
            raise StopIteration
        return outcome

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

    def has_turn_of(self, Mailbox box not None):
        """Say whether the handler that this worker runs holds up a mailbox."""
        return self.box is box and box.active >= box.limit

    @property
    def handler_name(self):
        """The name of the handler that is suspended, or None."""
        return self.handler.spec.name if self.coroutine is not None else None

    cdef object step(self, object error):
        cdef object outcome
        if self.coroutine is not None:
            self.core.searching += 1
            outcome = self.advance(error)
            if outcome is not ENDED:
                self.hand_over()
                return outcome
        elif error is not None:
            # Cancelled between messages, or while parked.
            if self.is_parked:
                self.is_parked = False
                if self.core.parked is self:
                    self.core.parked = None
                self.core.searching += 1
            self.retire()
            raise error
        return self.work()

    cdef object work(self):
        cdef Core core = self.core
        cdef Mailbox box
        cdef int budget = BATCH
        cdef long long deadline = wall_clock() + BATCH_NANOSECONDS
        cdef object outcome
        while True:
            if self.message is None:
                if self.must_retire():
                    self.retire()
                    return ENDED
                if budget & BATCH_CHECK == 0 and budget < BATCH:
                    if budget == 0 or wall_clock() >= deadline:
                        self.leave_box()
                        return None
                box = self.box
                if box is None or box.head is None or box.ready:
                    self.leave_box()
                    box = self.box = core.pop_ready()
                    if box is None:
                        return self.idle()
                self.message = box.take(core)
                budget -= 1
            outcome = self.run_message()
            if outcome is not ENDED:
                self.hand_over()
                return outcome
            self.complete()
            if self.fatal is not None:
                self.retire()
                raise self.fatal

    cdef object idle(self):
        """Park, or end if another worker is parked."""
        cdef Worker parked = self.core.parked
        if parked is not None and not parked.wakeup.done():
            self.retire()
            return ENDED
        self.core.searching -= 1
        self.core.parked = self
        self.is_parked = True
        self.wakeup = self.core.loop.create_future()
        return next(self.wakeup.__await__())

    cdef object run_message(self):
        """Run the handlers that are left: what one yielded, or ENDED after the last."""
        cdef Delivery message = self.message
        cdef Plan plan = message.plan
        cdef Handler handler
        cdef object outcome
        if self.core.phase == CLOSED or message.state == WITHDRAWN:
            if message.index < plan.count or message.index == 0:
                self.reject()
            return ENDED
        message.state = RUNNING
        while message.index < plan.count:
            handler = <Handler>PyTuple_GET_ITEM(plan.handlers, message.index)
            message.index += 1
            outcome = self.start(handler)
            if outcome is not ENDED:
                return outcome
        return ENDED

    cdef object start(self, Handler handler):
        """Call a handler in a fresh scope, under the emitter's context variables."""
        cdef Delivery message = self.message
        cdef PyObject* variables = <PyObject*>message.variables
        cdef PyObject* yielded = NULL
        cdef PyObject* result
        cdef PySendResult status = PYGEN_RETURN
        self.handler = handler
        if handler.needs_scope:
            self.storage = new_storage(self.core, self.box, handler)
        PyContext_Enter(<object>variables)
        result = handler.call.invoke_raw(message.event, message.context, self.storage)
        if result == NULL:
            status = PYGEN_ERROR
        elif result == <PyObject*>None:
            Py_DecRef(result)
        elif is_coroutine(result):
            status = PyIter_Send(result, <PyObject*>None, &yielded)
            if status == PYGEN_NEXT:
                self.coroutine = <object>result
            Py_DecRef(result)
        else:
            status = self.start_other(result, &yielded)
        PyContext_Exit(variables)
        return self.left_off(status, yielded)

    cdef PySendResult start_other(self, PyObject* result, PyObject** yielded) noexcept:
        """Start what a handler returned that is no plain coroutine, if it can be awaited."""
        try:
            value = <object>result
            Py_DecRef(result)
            self.coroutine = as_coroutine(value)
        except BaseException as error:
            PyErr_SetObject(type(error), error)
            return PYGEN_ERROR
        if self.coroutine is None:
            return PYGEN_RETURN
        return PyIter_Send(<PyObject*>self.coroutine, <PyObject*>None, yielded)

    cdef object advance(self, object error):
        """Drive the suspended handler one step, under the emitter's context variables."""
        cdef PyObject* variables = <PyObject*>self.message.variables
        cdef PyObject* yielded = NULL
        cdef PySendResult status
        PyContext_Enter(<object>variables)
        if error is None:
            status = PyIter_Send(<PyObject*>self.coroutine, <PyObject*>None, &yielded)
        else:
            status = throw_raw(self.coroutine, error, &yielded)
        PyContext_Exit(variables)
        return self.left_off(status, yielded)

    cdef object left_off(self, PySendResult status, PyObject* yielded):
        """Return what the handler yielded, or end the attempt and return ENDED."""
        cdef object outcome
        if status == PYGEN_ERROR:
            self.end_attempt(take_error())
            return ENDED
        if status == PYGEN_RETURN:
            if yielded != NULL:
                Py_DecRef(yielded)
            if self.coroutine is not None or self.storage is not None:
                self.end_attempt(None)
            return ENDED
        outcome = <object>yielded
        Py_DecRef(yielded)
        return outcome

    cdef int end_attempt(self, object error) except -1:
        """End the handler's scope, and record its error if it has one."""
        cdef Delivery message = self.message
        self.coroutine = None
        if self.storage is not None:
            self.storage.closed = True
            self.storage = None
        if error is None:
            return 0
        if message.failures is None:
            message.failures = []
        if message.control:
            message.failures.append(error)
        else:
            self.core.dead_letters += 1
            message.failures.append(
                self.core.host.record_failure(
                    message.event, message.context, self.handler.spec, error
                )
            )
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self.fatal = error
        return 0

    cdef int complete(self) except -1:
        """Count the message's end."""
        cdef Delivery message = self.message
        cdef Core core = self.core
        cdef State state = HANDLED if message.failures is None else FAILED
        self.message = None
        self.box.active -= 1
        if message.state != RUNNING:
            state = message.state
        if message.control:
            core.control -= 1
        else:
            core.running -= 1
            if state == HANDLED:
                core.handled += 1
            elif state == FAILED:
                core.failed += 1
            else:
                core.rejected += 1
        message.settle(core, state)
        return 0

    cdef int reject(self) except -1:
        """Turn a message away, or what its last handlers missed because of the close."""
        cdef Delivery message = self.message
        cdef object closed
        if message.state == WITHDRAWN:
            return 0
        closed = TerminalClosed.of(self.core.host.name, message.event)
        if message.index > 0:
            while message.index < message.plan.count:
                self.handler = <Handler>message.plan.handlers[message.index]
                message.index += 1
                self.end_attempt(closed)
            return 0
        message.state = REJECTED
        if message.control:
            message.failures = [closed]
        else:
            self.core.undelivered.append(message.event)
            message.failures = [self.core.host.record_rejection(message.event, closed)]
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

    cdef bint must_retire(self) except -1:
        """Say whether a handler has left this worker's task cancelled."""
        if not self.cancelled:
            return False
        self.cancelled = False
        return self.task.cancelling() > 0
