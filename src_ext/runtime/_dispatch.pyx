"""The dispatch table: message type to plan, and the inline run of a plan.

Look-up is one dictionary access on the exact type. A type that the table has not seen is
flattened once, from its MRO, by the function that the terminal supplies. The handlers of a plan
never change, so a run in progress keeps those that it began with.
"""

cimport cython

from cpython.exc cimport PyErr_SetObject, PyErr_WarnEx
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from runtime._capi cimport (
    PYGEN_ERROR,
    PYGEN_NEXT,
    PYGEN_RETURN,
    PyIter_Send,
    PySendResult,
    PyTuple_GET_ITEM,
    Py_DecRef,
    take_error,
)
from runtime._tally cimport HandlerTally, TypeTally
from runtime._wiring cimport Call, Factory, Singleton, Storage

from types import GeneratorType

# What a driven coroutine "yields" when it has ended; no coroutine can yield it.
cdef object ENDED = object()


@cython.final
cdef class Handler:
    """A registered handler, wired for one terminal.

    `waits` are the factories to be awaited before it is called; `manages` says that its scope
    will have something to leave; `own_task` that it does not run in a worker's task; `limited` that
    it has a timeout or is retried; `supervised` that its failure ends its actor. A handler with
    none of them is simple: the core runs it by itself. `tally` is shared by all that are made of
    one registered handler.
    """

    def __cinit__(
        self,
        object spec,
        Call call not None,
        *,
        bint is_async,
        bint needs_scope,
        bint wants_context,
        Factory actor=None,
        tuple waits=(),
        bint manages=False,
        bint own_task=False,
        bint limited=False,
        bint supervised=False,
        HandlerTally tally=None,
    ):
        self.spec = spec
        self.call = call
        self.tally = HandlerTally() if tally is None else tally
        call.count_in(self.tally)
        self.is_async = is_async
        self.needs_scope = needs_scope
        self.wants_context = wants_context
        self.actor = actor
        self.waits = waits
        self.manages = manages
        self.own_task = own_task
        self.limited = limited
        self.supervised = supervised
        self.simple = not (waits or manages or own_task or limited or supervised)

    def settle(self):
        """Say whether nothing is left to wait for: all that was is there for good."""
        cdef object factory
        for factory in self.waits:
            if not (isinstance(factory, Singleton) and factory.is_built()):
                return False
        self.waits = ()
        self.simple = not (self.manages or self.own_task or self.limited or self.supervised)
        return self.simple


@cython.final
cdef class Plan:
    """The handlers of one message type, in registration order.

    `guards` wrap each of them; `publisher` runs them if it is not the sequential one. A message
    type with `__key__` has the field's name in `key_field` and the class that declares it in
    `key_owner`. `capacity` is how many messages may be queued in a mailbox when one of this type
    comes, `overflow` what happens otherwise. `tally` counts the messages. The core runs a simple
    plan by itself; another takes `runtime.running`.
    """

    def __cinit__(
        self,
        tuple handlers not None,
        *,
        tuple guards=(),
        object publisher=None,
        object key_field=None,
        object key_owner=None,
        int capacity=0,
        str overflow="reject",
        TypeTally tally=None,
    ):
        self.tally = TypeTally() if tally is None else tally
        self.counts = &self.tally.counts
        self.handlers = handlers
        self.count = len(handlers)
        self.guards = guards
        self.guarded = len(guards) > 0
        self.publisher = publisher
        self.key_field = key_field
        self.key_owner = key_owner
        self.capacity = capacity
        self.overflow = {
            "reject": REJECT, "drop_oldest": DROP_OLDEST, "drop_newest": DROP_NEWEST
        }[overflow]
        for handler in handlers:
            self.needs_scope |= (<Handler>handler).needs_scope
            # A scope remembers the message that it was opened for.
            self.wants_context |= (<Handler>handler).wants_context or (<Handler>handler).needs_scope
            self.has_actors |= (<Handler>handler).actor is not None
        if guards or publisher is not None:
            self.wants_context = True
        self.settle()

    def settle(self):
        """See whether the core can run the plan by itself, now that what was awaited is there."""
        cdef Handler handler
        self.simple = not self.guards and self.publisher is None
        for handler in self.handlers:
            if not handler.simple and not handler.settle():
                self.simple = False
        if self.simple and self.count == 1:
            handler = self.handlers[0]
            # Its own coroutine can be handed to the caller: nothing is left to do after it.
            if handler.is_async and not handler.needs_scope:
                self.only = handler


@cython.final
cdef class Table:
    """Message type to plan. `flatten` makes the plan of a type on first sight."""

    def __cinit__(self, dict plans not None, object flatten):
        self.plans = plans
        self.flatten = flatten

    cdef Plan miss(self, type message_type):
        cdef Plan plan
        if issubclass(message_type, type):
            raise TypeError("a class was sent where a message, an instance, is expected")
        plan = self.flatten(message_type)
        self.plans[message_type] = plan
        return plan


@cython.final
@cython.freelist(64)
cdef class Publication:
    """The awaitable that runs a plan inline, handler after handler.

    It is a coroutine to everything that awaits one: `send`, `throw` and `close` reach the handler
    that is running.
    """

    def __init__(self):
        raise TypeError("a Publication comes from publish()")

    def __dealloc__(self):
        if self.unstarted:
            PyErr_WarnEx(RuntimeWarning, b"a publish() was never awaited", 1)

    def __await__(self):
        if self.finished:
            raise RuntimeError("cannot reuse already awaited publish()")
        if self.awaited:
            raise RuntimeError("publish() is being awaited already")
        self.awaited = True
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
        """Raise an exception inside the handler that is running."""
        cdef object error = as_exception(kind, value, traceback)
        cdef object outcome
        if self.coroutine is None and not self.running:
            self.finish()
            raise error
        outcome = self.step(error)
        if outcome is ENDED:
            raise StopIteration
        return outcome

    def close(self):
        """End the handler that is running, if any, and start no other."""
        cdef object coroutine = self.coroutine
        cdef Storage storage = self.storage
        if self.running:
            raise ValueError("publish() is executing already")
        self.running = True
        try:
            close = getattr(coroutine, "close", None)
            if close is not None:
                close()
            if self.owns_storage and storage is not None and storage.exits:
                storage.core.host.leave_at_once(storage)
        finally:
            self.finish()

    cdef object step(self, object error):
        """Send, or throw an error, into the run: what a handler yielded, or ENDED."""
        cdef PyObject* yielded = NULL
        cdef PySendResult status = PYGEN_RETURN
        cdef object outcome
        if self.finished:
            raise RuntimeError("cannot reuse already awaited publish()")
        if self.running:
            raise ValueError("publish() is executing already")
        self.unstarted = False
        if self.error is not None:
            raise self.fail(self.error)
        self.running = True
        if self.coroutine is not None:
            if error is None:
                status = PyIter_Send(<PyObject*>self.coroutine, <PyObject*>None, &yielded)
            else:
                status = throw_raw(self.coroutine, error, &yielded)
            if status == PYGEN_RETURN:
                self.coroutine = None
                if yielded != NULL:
                    Py_DecRef(yielded)
        if status == PYGEN_RETURN:
            status = self.run_on(&yielded)
        if status != PYGEN_NEXT and self.owns_storage and self.storage.exits:
            status = self.leave(take_error() if status == PYGEN_ERROR else None, &yielded)
        self.running = False
        if status == PYGEN_ERROR:
            raise self.fail(take_error())
        if status == PYGEN_RETURN:
            self.finish()
            return ENDED
        outcome = <object>yielded
        Py_DecRef(yielded)
        return outcome

    cdef PySendResult run_on(self, PyObject** yielded) noexcept:
        """Run the handlers that are left, until one suspends or fails."""
        cdef Plan plan = self.plan
        cdef Handler handler
        cdef PyObject* result
        cdef PyObject* coroutine = NULL
        cdef PySendResult status
        while self.index < plan.count:
            handler = <Handler>PyTuple_GET_ITEM(plan.handlers, self.index)
            self.index += 1
            if handler.actor is None:
                result = handler.call.invoke_raw(self.event, self.context, self.storage)
            else:
                result = self.reach_actor(handler)
            status = start_result(result, &coroutine, yielded)
            if status == PYGEN_NEXT:
                self.coroutine = <object>coroutine
                Py_DecRef(coroutine)
            if status != PYGEN_RETURN:
                return status
        return PYGEN_RETURN

    cdef PySendResult leave(self, object error, PyObject** yielded) noexcept:
        """Begin to leave what a nested run has entered in this scope; `error` goes on after it."""
        self.coroutine = None
        self.index = self.plan.count
        try:
            self.coroutine = self.storage.core.host.leave_and_raise(self.storage, error)
        except BaseException as raised:
            PyErr_SetObject(type(raised), raised)
            return PYGEN_ERROR
        cdef PySendResult status = PyIter_Send(
            <PyObject*>self.coroutine, <PyObject*>None, yielded
        )
        if status == PYGEN_RETURN:
            self.coroutine = None
            Py_DecRef(yielded[0])
            yielded[0] = NULL
        return status

    cdef PyObject* reach_actor(self, Handler handler) noexcept:
        """Return the coroutine that lets an actor handle the event, or NULL with an error set."""
        try:
            coroutine = self.storage.core.host.publish_to_actor(
                handler, self.event, self.context, self.storage
            )
        except BaseException as error:
            PyErr_SetObject(type(error), error)
            return NULL
        Py_INCREF(coroutine)
        return <PyObject*>coroutine

    cdef object fail(self, object error):
        """End the run; return the error to raise."""
        cdef object wrapped
        self.finish()
        if not isinstance(error, StopIteration):
            return error
        # Let out, it would end the await as if all were well.
        wrapped = RuntimeError("a handler or a factory raised StopIteration")
        wrapped.__cause__ = error
        return wrapped

    cdef int finish(self) except -1:
        self.finished = True
        self.unstarted = False
        if self.coroutine is not None:
            self.coroutine = None
        if self.storage is not None:
            if self.owns_storage:
                self.storage.closed = True
            self.storage = None
        return 0


cdef PyObject* awaitable_raw(PyObject* result) noexcept:
    """Return what drives the result of a call, None if nothing does, or NULL with an error set."""
    cdef object owned = <object>result
    Py_DecRef(result)
    try:
        found = as_coroutine(owned)
    except BaseException as error:
        PyErr_SetObject(type(error), error)
        return NULL
    Py_INCREF(found)
    return <PyObject*>found


cdef object as_coroutine(object result):
    """Return what drives the result of a call, or None if there is nothing to await."""
    if hasattr(type(result), "__await__"):
        return type(result).__await__(result)
    # A coroutine of the old kind (`types.coroutine`) is a generator.
    if isinstance(result, GeneratorType) and result.gi_code.co_flags & 0x100:
        return result
    return None


cdef object as_exception(object kind, object value, object traceback):
    """Normalise the arguments of `throw`, which callers still pass in threes."""
    if isinstance(kind, BaseException):
        error = kind
    elif isinstance(value, BaseException):
        error = value
    else:
        error = kind() if value is None else kind(value)
    return error if traceback is None else error.with_traceback(traceback)


cdef PySendResult throw_raw(object coroutine, object error, PyObject** yielded) noexcept:
    """Raise inside a coroutine, as `PyIter_Send` would send."""
    cdef object outcome
    # An iterator from a hand-written `__await__` need not have `throw`.
    throw = getattr(coroutine, "throw", None)
    try:
        if throw is None:
            raise error
        outcome = throw(error)
    except StopIteration:
        return PYGEN_RETURN
    except BaseException as raised:
        PyErr_SetObject(type(raised), raised)
        return PYGEN_ERROR
    Py_INCREF(outcome)
    yielded[0] = <PyObject*>outcome
    return PYGEN_NEXT
