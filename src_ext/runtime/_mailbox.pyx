"""Messages, mailboxes, and the run queue that workers empty.

A mailbox is idle, in the run queue, or being worked on; it has no task of its own.
`Core.searching` counts the workers that are awake and will look at the queue again; whoever makes
a mailbox ready wakes one only if there is none. `Core.parked` is the future that the one idle
worker awaits.
"""

cimport cython
from cpython.exc cimport PyErr_Occurred
from cpython.object cimport PyObject

from runtime._capi cimport PyContext_CopyCurrent, PyThread_get_thread_ident, dict_get
from runtime._dispatch cimport Handler, Plan, Table, as_exception
from runtime._wiring cimport Factory, Storage, new_storage, take_error

import logging
from asyncio import get_running_loop
from collections import deque
from inspect import iscoroutinefunction

from runtime.errors import DeadlockError, DeliveryFailed, TerminalClosed, WrongLoop

cdef object logger = logging.getLogger("runtime")


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

    def keep_reply(self, object reply):
        """Keep what an actor's handler has returned, for whoever waits for it."""
        self.reply = reply

    def take_reply(self):
        """Return what an actor's handler has returned, once."""
        reply, self.reply = self.reply, None
        return reply

    def add_dead_letter(self, object letter):
        """Note that a handler failed which a publisher of the user's own ran."""
        if self.failures is None:
            self.failures = []
        self.failures.append(letter)

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
                try:
                    if isinstance(callback, DeliveryWait):
                        (<DeliveryWait>callback).wake()
                    else:
                        core.loop.call_soon(callback, self, context=variables)
                except Exception:
                    # One that cannot be called takes nothing down with it.
                    logger.exception("a callback of %r could not be called", self)
        if core.quiet is not None:
            core.check_quiet()
        return 0


cdef object as_callback(object callback):
    """Return a callback. Raises `TypeError` if it cannot be called."""
    if not callable(callback):
        raise TypeError(f"a callback must be callable, not {callback!r}")
    if iscoroutinefunction(callback):
        raise TypeError(
            f"a callback is a plain function, not the asynchronous {callback!r}; "
            f"to await the end of a message, use `await delivery.wait()`"
        )
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
        self.close()
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
            if isinstance(failures[0], StopIteration):
                # Let out, it would end the await as if all were well.
                raise RuntimeError("an actor's handler raised StopIteration") from failures[0]
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
        self.root = new_storage(self, None, None)
        self.root.detached = True
        self.root.exits = []
        self.boxes = {}
        self.lines = {}
        self.undelivered = []

    # Messages in

    cdef Mailbox mailbox(self, object name):
        """Return the mailbox of a name, made if it is not there."""
        cdef PyObject* found = dict_get(self.boxes, name)
        return <Mailbox>found if found != NULL else self.make_mailbox(name)

    cdef Mailbox make_mailbox(self, object name):
        """Make the mailbox of a name that has none, or that cannot be looked up."""
        cdef object error
        if PyErr_Occurred():
            error = take_error()
            raise TypeError(
                f"{name!r} cannot name a mailbox: {error}; use a key that is hashable, such as a "
                f"str, an int or a tuple of them"
            ) from error
        # Comparing names may run code that makes the same mailbox.
        return <Mailbox>self.boxes.setdefault(name, new_mailbox(name, 1))

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
        message = new_delivery(
            Plan((handler,), guards=self.table.find(event).guards),
            event,
            context,
            PyContext_CopyCurrent(),
        )
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
        cdef object place
        if self.phase == CLOSED:
            raise TerminalClosed.of(self.host.name)
        place = self.loop.create_future()
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
            self.forget(box)
        return 0

    cdef int forget(self, Mailbox box) except -1:
        """Drop a mailbox; whoever still holds it finds the name's mailbox again."""
        box.forgotten = True
        try:
            found = self.boxes.pop(box.name, None)
            if found is box:
                return 0
            if found is not None:
                self.boxes[box.name] = found
        except Exception:
            # A key that cannot be looked up any more, because it has changed or will not compare.
            logger.exception("the key %r has changed while it named a mailbox", type(box.name))
        self.boxes = {name: other for name, other in self.boxes.items() if other is not box}
        return 0

    cdef int wake(self) except -1:
        """Make one worker look at the run queue: the parked one, else a new one."""
        cdef object wakeup = self.parked
        if PyThread_get_thread_ident() != self.thread:
            raise WrongLoop.of(self.host.name)
        self.parked = None
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
        self.thread = PyThread_get_thread_ident()
        self.phase = OPEN

    def begin_closing(self):
        """Take messages only from handlers that are running."""
        self.phase = CLOSING

    def begin_rejecting(self):
        """Take no message; those that are queued will be rejected, not started."""
        self.phase = CLOSED

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
            "sent": self.sent,
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
        if storage.owner is None or storage.closed or storage.box is not box:
            return self.host.wait_for_actor(box, handler, event, context)
        while link is not None:
            if (<Handler>link.owner).actor is handler.actor:
                raise DeadlockError.itself(handler.spec, box.name)
            link = link.parent
        plan = Plan((handler,), guards=self.table.find(event).guards)
        return self.host.run_on_turn(box, plan, handler, event, context, storage.branch(handler))

    def enter_turn(self, Mailbox box not None):
        """Keep a mailbox from starting its next message, besides the one that is running."""
        box.active += 1

    def leave_turn(self, Mailbox box not None):
        """Let a mailbox go on."""
        box.active -= 1
        self.release(box)

    def actor_mailbox(self, Handler handler, object event, Storage storage):
        """Return the mailbox whose actor hears an event published in a scope."""
        cdef Plan plan = self.table.find(event)
        cdef Mailbox box
        if plan.key_field is not None:
            box = self.keyed_mailbox(plan, event)
            if box is not None:
                return box
        box = storage.box
        if box is None or box.name is None:
            raise self.host.no_actor_key(handler.spec, event)
        return self.mailbox(box.name) if box.forgotten else box


@cython.final
cdef class ActorProvider(Factory):
    """Serves what lives as long as the mailbox at hand: an actor, and what it needs for itself."""

    cdef object provide(self, object context, Storage storage):
        cdef Mailbox box = <Mailbox>storage.box
        cdef object instance
        if box.actors is not None and self in box.actors:
            return box.actors[self]
        instance = self.build(self.own_storage(storage))
        self.keep(storage, instance)
        return instance

    cdef Storage own_storage(self, Storage storage):
        """Return a storage outside of every scope, whose exits are the terminal's."""
        cdef Core core = <Core>storage.core
        cdef Storage own = new_storage(core, storage.box, None)
        own.detached = True
        own.exits = core.root.exits
        return own

    def home(self, Storage storage not None):
        """Return where the object is built."""
        return self.own_storage(storage)

    def is_built(self, Storage storage not None):
        """Say whether the mailbox has its object."""
        cdef Mailbox box = <Mailbox>storage.box
        return box.actors is not None and self in box.actors

    def keep(self, Storage storage not None, object value):
        """Give the mailbox its object."""
        cdef Mailbox box = <Mailbox>storage.box
        if box.actors is None:
            box.actors = {}
        box.actors[self] = value
