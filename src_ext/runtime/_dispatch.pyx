"""The dispatch table: message type to plan, and the inline run of a plan.

Look-up is one dictionary access on the exact type. A type that the table has not seen is
flattened once, from its MRO, by the function that the terminal supplies. The handlers of a plan
never change, so a run in progress keeps those that it began with.
"""

cimport cython

from cpython.exc cimport PyErr_SetObject
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from runtime._capi cimport PYGEN_ERROR, PYGEN_NEXT, PYGEN_RETURN, PySendResult, Py_DecRef
from runtime._tally cimport HandlerTally, TypeTally
from runtime._wiring cimport Call, Factory, Singleton

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
        Hands hands=THE_SCOPE,
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
        self.hands = hands
        self.own_task = own_task
        self.limited = limited
        self.supervised = supervised
        self.settle()

    def settle(self):
        """Say whether nothing is left to wait for: all that was is there for good."""
        cdef object factory
        for factory in self.waits:
            if not (isinstance(factory, Singleton) and factory.is_built()):
                return False
        self.waits = ()
        self.inline = not (self.own_task or self.limited or self.supervised)
        self.simple = self.inline and not self.manages
        return self.simple


@cython.final
cdef class Plan:
    """The handlers of one message type, in registration order.

    `guards` wrap each of them; `publisher` runs them if it is not the sequential one. A message
    type with `__key__` has the field's name in `key_field` and the class that declares it in
    `key_owner`. `capacity` is how many messages may be queued in a mailbox when one of this type
    comes, `overflow` what happens otherwise. `tally` counts the messages. `has_exits` says that
    handlers of the terminal may enter what has to be left at the end of their scope; `unrolled`,
    if it is there, is a coroutine function that awaits all handlers once none of them needs
    anything else. The core runs a simple plan by itself; another takes `runtime.running`. `way` is
    how a publish is run.
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
        bint has_exits=True,
        object unrolled=None,
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
        self.has_exits = has_exits
        self.unrolled = unrolled
        for handler in handlers:
            self.needs_scope |= (<Handler>handler).needs_scope
            # A scope remembers the message that it was opened for.
            self.wants_context |= (<Handler>handler).wants_context or (<Handler>handler).needs_scope
            self.has_actors |= (<Handler>handler).actor is not None
        if guards or publisher is not None:
            self.wants_context = True
        self.settle()

    def settle(self):
        """See how the plan can be run, now that what was awaited is there."""
        cdef Handler handler
        cdef bint inline = not self.guards and self.publisher is None
        self.simple = inline
        for handler in self.handlers:
            if not handler.simple and not handler.settle():
                self.simple = False
            inline = inline and handler.inline
        self.way = self.choose() if inline else BY_HOST

    cdef Way choose(self) except? BY_HOST:
        """Choose the shortest way to run a publish that nothing has to be awaited for."""
        cdef Handler only = self.handlers[0] if self.count == 1 else None
        if only is not None and only.is_async and only.actor is None:
            if not only.needs_scope:
                self.only = only
                return AS_COROUTINE
            if not only.manages and (
                only.hands == NOTHING or (only.hands == THE_BUS and not self.has_exits)
            ):
                # Nothing can have been entered in its scope when it has returned.
                self.only = only
                return AS_COROUTINE_IN_SCOPE
        cdef Py_ssize_t asynchronous = 0
        for handler in self.handlers:
            if (<Handler>handler).needs_scope or (<Handler>handler).actor is not None:
                return AS_PUBLICATION
            asynchronous += (<Handler>handler).is_async
        if asynchronous == 0:
            return AS_CALLS
        if asynchronous == self.count and self.unrolled is not None:
            return AS_UNROLLED
        return AS_PUBLICATION


@cython.final
cdef class Table:
    """Message type to plan. `flatten` makes the plan of a type on first sight.

    `recent` holds plans that were looked up lately, each in a place that its type's address names.
    """

    def __cinit__(self, dict plans not None, object flatten):
        self.plans = plans
        self.flatten = flatten

    cdef Plan look_up(self, type message_type, Recent* place):
        """Return the plan of a type that is not among the recent ones, and note it there."""
        cdef object plan = self.plans.get(message_type)
        if plan is None:
            if issubclass(message_type, type):
                raise TypeError("a class was sent where a message, an instance, is expected")
            plan = self.plans[message_type] = self.flatten(message_type)
        place.plan = <PyObject*>plan
        place.message_type = <PyObject*>message_type
        return <Plan?>plan


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
    """Raise inside a coroutine, as `send_raw` would send."""
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
