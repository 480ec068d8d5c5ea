"""One message, which is its own delivery, and the queue that it stands in.

A mailbox has no task of its own: it is idle, in the run queue, or being worked on.
"""

cimport cython

from runtime._dispatch cimport as_exception

import logging
from asyncio import _get_running_loop, current_task, get_running_loop
from inspect import iscoroutinefunction

from runtime.errors import DeadlockError, DeliveryFailed, ScopeClosed

cdef object logger = logging.getLogger("runtime")

# What `State` is called, in its order.
cdef tuple STATES = (
    "queued",
    "held",
    "delayed",
    "running",
    "handled",
    "failed",
    "dropped",
    "expired",
    "rejected",
    "withdrawn",
    "forgotten",
)


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

        Returns None once every handler has returned. Raises `DeliveryFailed` if one failed, or if
        the message was dropped, has expired or was rejected; `ScopeClosed` if a scope that held it
        back has failed. Cancelling the wait leaves the message alone.
        """
        cdef DeliveryWait wait = DeliveryWait.__new__(DeliveryWait)
        wait.message = self
        # Whoever awaits it may be a task that the handler which waits makes of it.
        if self.state < HANDLED and _get_running_loop() is not None:
            plan_wait = getattr(current_task(), "plan_wait", None)
            if plan_wait is not None:
                wait.edge = plan_wait(
                    None, "waits for {event} in {mailbox}", self.box, self, self.event
                )
        return wait

    def wait_by(self, object edge):
        """Wait for the message's end as somebody who has an edge in the wait-for graph, or None."""
        cdef DeliveryWait wait = DeliveryWait.__new__(DeliveryWait)
        wait.message = self
        wait.edge = edge
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

    cdef int answer(self) except -1:
        """Give whoever asks the reply, or the error."""
        cdef Reply reply = <Reply>self.callbacks
        cdef object value = self.reply
        cdef object failures = self.failures
        self.callbacks = self.reply = self.failures = None
        reply.end(value, failures[0] if failures is not None else None)
        return 0

    def __repr__(self):
        return f"<Delivery {STATES[<int>self.state]} at {id(self):#x}>"

    cdef int settle(self, State state) except -1:
        """End the message; whoever keeps the delivery does not keep the message."""
        self.state = state
        self.event = self.plan = self.box = None
        if self.kind != ASK:
            # Whoever asks may have the next message made of it.
            self.context = self.variables = None
        return 0

    cdef int notify(self, object loop) except -1:
        """Tell those who wait for the message's end that it has come."""
        if self.kind == ASK:
            self.answer()
            return 0
        callbacks, self.callbacks = self.callbacks, None
        for callback in callbacks:
            try:
                if isinstance(callback, DeliveryWait):
                    (<DeliveryWait>callback).wake()
                else:
                    loop.call_soon(callback, self, context=self.variables)
            except Exception:
                # One that cannot be called takes nothing down with it.
                logger.exception("a callback of %r could not be called", self)
        return 0


def until(Storage storage not None):
    """Return when the time of whoever runs in a scope is over, on the loop's clock; 0 if never."""
    return deadline_of(storage)


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
            self.erase()
            self.raise_failure()
            raise StopIteration
        if self.future is None:
            if (
                self.message.state == HELD
                and self.message.reply is not None
                and self.message.reply is current_task()
            ):
                raise DeadlockError.of_held(self.message.event)
            future = get_running_loop().create_future()
            if self.edge is not None:
                self.edge.draw(future)
            self.future = future
            self.iterator = future.__await__()
            if self.message.callbacks is None:
                self.message.callbacks = [self]
            else:
                self.message.callbacks.append(self)
            if self.message.state >= HANDLED:
                # Another thread has ended it meanwhile.
                self.erase()
                self.raise_failure()
                raise StopIteration
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
        self.erase()
        if callbacks is not None and self in callbacks:
            callbacks.remove(self)

    cdef int erase(self) except -1:
        edge, self.edge = self.edge, None
        if edge is not None:
            edge.erase()
        return 0

    cdef int wake(self) except -1:
        loop = self.future.get_loop()
        if loop is _get_running_loop():
            self.end()
        elif not loop.is_closed():
            # Somebody waits on another loop than the terminal's.
            loop.call_soon_threadsafe(self.end)
        return 0

    def end(self):
        """Let the wait go on, on its own loop."""
        if not self.future.done():
            self.future.set_result(None)

    cdef int raise_failure(self) except -1:
        cdef object failures = self.message.failures
        if self.message.state == FORGOTTEN:
            raise ScopeClosed.of_held()
        if failures is None:
            return 0
        if self.message.kind == CONTROL:
            if isinstance(failures[0], StopIteration):
                # Let out, it would end the await as if all were well.
                raise RuntimeError("an actor's handler raised StopIteration") from failures[0]
            raise failures[0]
        raise DeliveryFailed(tuple(failures)) from failures[0].error


@cython.freelist(64)
cdef class Reply:
    """Where the outcome of an ask is left for whoever asks.

    `command` is known until then, for an error that names it. The other fields are the ask's, which
    has none of its own so that it is allocated from the freelist.
    """

    def __init__(self):
        raise TypeError("a reply comes from ask()")

    def give_up(self, object error):
        """End the wait with an error; a reply that comes later is late."""
        self.end(None, error)

    cdef object take(self):
        """Return the reply, once, or raise the error."""
        cdef object value = self.value
        cdef object error = self.error
        self.value = self.error = None
        if error is None:
            return value
        if isinstance(error, StopIteration):
            # Let out of a coroutine, it would say nothing.
            raise RuntimeError("a handler raised StopIteration") from error
        raise error

    cdef int end(self, object value, object error) except -1:
        if self.has_ended:
            return 0
        self.has_ended = True
        self.value = value
        self.error = error
        self.command = None
        if self.future is not None and not self.future.done():
            self.future.set_result(None)
        return 0

    cdef bint is_given_up(self) except -1:
        """Say whether nobody will take the reply, also where they have not come to know it yet."""
        return self.has_ended or (self.future is not None and self.future.cancelled())


@cython.final
cdef class Actors:
    """The objects that live as long as one mailbox, by what provides them, the first made first.

    `exits` are the context managers to leave for those that have any, None if there are none.
    """

    def __cinit__(self):
        self.instances = {}


@cython.final
@cython.freelist(64)
cdef class Mailbox:
    """A queue of messages that are handled strictly in order, at most `limit` at a time.

    `limit` is 1 but for the root pool. `count` is the messages that have not been started,
    `reserved` the places that are promised; `blocked` says that somebody stands in line.

    There may be one for each of many scopes: it has no method of C's, whose table would take a
    pointer in each.
    """

    def __init__(self):
        raise TypeError("mailboxes are made by their terminal")


cdef Delivery drop_oldest(Mailbox box):
    """Take the first message out that capacity counts; None if there is none."""
    cdef Delivery before = None
    cdef Delivery message = box.head
    while message is not None and message.kind > ASK:
        before, message = message, message.next
    if message is None:
        return None
    if before is None:
        box.head = message.next
    else:
        before.next = message.next
    if box.tail is message:
        box.tail = before
    message.next = None
    box.count -= 1
    return message
