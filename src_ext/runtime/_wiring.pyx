"""Compiled dependency plans: how the arguments of a call are found, and where they are kept.

A `Call` is a callable with one provider for each of its arguments. Which provider serves which
argument is decided when a terminal freezes; a call only walks an array. A `Storage` keeps what
one scope has built.
"""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from runtime._capi cimport (
    PY_VECTORCALL_ARGUMENTS_OFFSET,
    Py_DecRef,
    PyTuple_GET_ITEM,
    dict_get,
    owned,
)
from runtime._tally cimport HandlerTally

from runtime.errors import ContextMismatch

# For those who read signatures: more parameters than this cannot be supplied.
ARGUMENT_LIMIT = MAX_ARGUMENTS

cdef enum Kind:
    MESSAGE_ARGUMENT
    CONTEXT_ARGUMENT
    TYPED_CONTEXT_ARGUMENT
    CONSTANT_ARGUMENT
    SINGLETON_ARGUMENT
    PROVIDED_ARGUMENT


cdef class Storage:
    """What one scope has built, and where emits from inside it go.

    `box` is the mailbox of the scope (None: the root pool), `cause` the message that the scope was
    opened for. `owner` is the handler that runs in it on that mailbox's turn (None: nobody's turn)
    and `message` what it handles; `parent` is the storage that this one branches from. A `detached`
    storage belongs to a terminal's or an actor's own dependencies: it is no scope that a publish
    could share. `hops` is how long the chain of causes of its message is; `holding` says that the
    scope, or the one that this branches from, holds its emits back. `exits` are the context
    managers to leave when the scope ends, each with whether it has to be awaited; `building` is
    what is being awaited for it.
    """

    @property
    def closed(self):
        """Whether the scope has ended: nothing is built or sent in it any more."""
        return is_over(self)

    @closed.setter
    def closed(self, bint closed):
        self.is_shut = closed

    def add_exit(self, object manager, bint is_async):
        """Leave a context manager when the scope ends, before those entered earlier."""
        if self.exits is None:
            self.exits = []
        self.exits.append((manager, is_async))

    cdef dict open_cache(self):
        """Return where the scope keeps what it has built."""
        if self.cache is None:
            self.cache = {}
        return self.cache

    cdef Storage branch(self, object owner):
        """Return a storage of another handler that shares what this scope has built."""
        cdef Storage twin = new_storage(self.core, self.box, owner)
        self.share(twin)
        return twin

    def limited(self, double deadline):
        """Return a storage that shares what this scope has built, with an end of its time.

        `deadline` is on the loop's clock. Whoever asks for it closes it.
        """
        cdef Lens twin = Lens.__new__(Lens)
        twin.core = self.core
        twin.box = self.box
        twin.owner = self.owner
        twin.detached = self.detached
        twin.deadline = deadline
        self.share(twin)
        return twin

    cdef int share(self, Storage twin) except -1:
        if self.exits is None:
            self.exits = []
        if self.building is None:
            self.building = {}
        twin.cache = self.open_cache()
        twin.exits = self.exits
        twin.building = self.building
        twin.parent = self
        twin.message = self.message
        twin.cause = self.cause
        twin.hops = self.hops
        twin.holding = self.holding
        return 0


@cython.final
cdef class Lens(Storage):
    """A scope as a handler sees it whose time has an end, on the loop's clock: its `deadline`."""

    cdef Storage branch(self, object owner):
        cdef Lens twin = self.limited(self.deadline)
        twin.owner = owner
        return twin


@cython.final
cdef class CallScope(Storage):
    """The scope of one call.

    Most build one object, which needs no dictionary: `first` is what has built `first_value`. It
    ends with the coroutine of its only handler if that is its `runner`, else by being closed.
    """

    cdef dict open_cache(self):
        if self.cache is None:
            self.cache = {}
            if self.first is not None:
                self.cache[self.first] = self.first_value
                self.first = self.first_value = None
        return self.cache


cdef inline Storage unlimited(Storage storage):
    # Where a scope builds what outlives the handler whose time has an end.
    while isinstance(storage, Lens) and storage.owner is storage.parent.owner:
        storage = storage.parent
    return storage


cdef class Provider:
    """Something that can serve one argument."""

    cdef object provide(self, object context, Storage storage):
        raise NotImplementedError(type(self).__name__)


@cython.final
cdef class MessageArgument(Provider):
    """Stands for the message itself."""


@cython.final
cdef class ContextArgument(Provider):
    """Stands for the message's context, which must be of a class if one is asked for."""

    def __cinit__(self, type wanted=None):
        self.wanted = wanted


@cython.final
cdef class Constant(Provider):
    """Serves a value that exists already."""

    def __cinit__(self, object value):
        self.value = value

    cdef object provide(self, object context, Storage storage):
        return self.value


@cython.final
cdef class Call:
    """A callable together with the providers of its arguments, positional ones first.

    `calls` counts how often it has been called: into a handler's tally, or to no purpose.
    """

    def __cinit__(self, object function, tuple providers not None, tuple names not None=()):
        cdef Py_ssize_t index
        if len(providers) > MAX_ARGUMENTS:
            raise ValueError(f"at most {MAX_ARGUMENTS} arguments, not {len(providers)}")
        self.function = function
        self.providers = providers
        self._names = names or None
        self.count = len(providers)
        self.positional = <size_t>(self.count - len(names)) | PY_VECTORCALL_ARGUMENTS_OFFSET
        self.calls = &self.uncounted
        self.plain = True
        for index in range(self.count):
            self.kinds[index] = kind_of(providers[index])
            if self.kinds[index] > CONTEXT_ARGUMENT:
                self.plain = False
        # Nothing, the message, or the message and its context.
        self.brief = self.plain and not names and self.count <= 2
        for index in range(self.count):
            if self.kinds[index] != index:
                self.brief = False

    cdef int count_in(self, HandlerTally tally) except -1:
        """Count calls in the tally of a handler."""
        self.tally = tally
        self.calls = &tally.calls
        return 0

    @property
    def names(self):
        """The names of the last arguments."""
        return self._names or ()

    def uncount(self):
        """Take a call back that was counted before it was made."""
        self.calls[0] -= 1

    def __call__(self, object message, object context, Storage storage):
        """Call with the arguments wired, from Python."""
        return self.invoke(message, context, storage)

    cdef PyObject* invoke_raw(self, object message, object context, Storage storage) noexcept:
        """Call with the arguments wired: a new reference, or NULL with an exception set."""
        # One slot in front of the arguments lets a bound method put `self` there.
        cdef PyObject* slots[MAX_ARGUMENTS + 1]
        cdef PyObject** arguments = slots + 1
        cdef Py_ssize_t index
        if not self.plain:
            return invoke_wired_raw(self, arguments, message, context, storage)
        for index in range(self.count):
            if self.kinds[index] == MESSAGE_ARGUMENT:
                arguments[index] = <PyObject*>message
            else:
                arguments[index] = <PyObject*>context
        return self.apply(arguments)


cdef object invoke_wired(
    Call call, PyObject** arguments, object message, object context, Storage storage
):
    """Call with arguments that have to be provided."""
    # What a provider returns is owned by `held` until the call is over; the rest is borrowed.
    cdef PyObject* held[MAX_ARGUMENTS]
    cdef Py_ssize_t holding = 0
    cdef Py_ssize_t index
    cdef unsigned char kind
    cdef PyObject* provider
    cdef object value
    try:
        for index in range(call.count):
            kind = call.kinds[index]
            if kind == MESSAGE_ARGUMENT:
                arguments[index] = <PyObject*>message
                continue
            if kind == CONTEXT_ARGUMENT:
                arguments[index] = <PyObject*>context
                continue
            provider = PyTuple_GET_ITEM(call.providers, index)
            if kind == CONSTANT_ARGUMENT:
                arguments[index] = <PyObject*>(<Constant>provider).value
            elif kind == SINGLETON_ARGUMENT and (<Singleton>provider).built:
                arguments[index] = <PyObject*>(<Singleton>provider).value
            elif kind == TYPED_CONTEXT_ARGUMENT:
                wanted = (<ContextArgument>provider).wanted
                if not isinstance(context, wanted):
                    raise ContextMismatch.of(call.function, wanted, context)
                arguments[index] = <PyObject*>context
            else:
                value = (<Provider>provider).provide(context, storage)
                Py_INCREF(value)
                held[holding] = <PyObject*>value
                holding += 1
                arguments[index] = <PyObject*>value
        return owned(call.apply(arguments))
    finally:
        for index in range(holding):
            Py_DecRef(held[index])


# For those who look at the result: NULL means that an exception is set.
cdef raw_invocation invoke_wired_raw = <raw_invocation>invoke_wired


cdef unsigned char kind_of(object provider) except 255:
    if isinstance(provider, MessageArgument):
        return MESSAGE_ARGUMENT
    if isinstance(provider, ContextArgument):
        if (<ContextArgument>provider).wanted is not None:
            return TYPED_CONTEXT_ARGUMENT
        return CONTEXT_ARGUMENT
    if isinstance(provider, Constant):
        return CONSTANT_ARGUMENT
    if isinstance(provider, Singleton):
        return SINGLETON_ARGUMENT
    if isinstance(provider, Provider):
        return PROVIDED_ARGUMENT
    raise TypeError(f"not a provider: {provider!r}")


cdef class Factory(Provider):
    """Serves what a callable builds.

    `mode` is how: "plain" is a call, "context" enters what the call returns; "async" and
    "async_context" have to be awaited, which `runtime.building` does beforehand and keeps the
    result. `waits` are the factories that must be awaited before the call.
    """

    def __cinit__(self, Call call not None, str mode="plain", tuple waits=(), *args):
        self.call = call
        self.mode = mode
        self.is_plain = mode == "plain"
        self.waits = waits

    cdef object build(self, Storage storage):
        cdef object manager
        cdef object value
        if self.is_plain:
            return self.call.invoke(None, None, storage)
        if self.mode != "context":
            raise RuntimeError(f"{self.call.function!r} has not been awaited")
        manager = self.call.invoke(None, None, storage)
        value = manager.__enter__()
        storage.add_exit(manager, False)
        return value

    def home(self, Storage storage not None):
        """Return where the object is built: in the scope at hand, unless it outlives it."""
        return storage

    def start(self, Storage storage not None):
        """Call the factory: the coroutine or context manager that has to be awaited."""
        return self.call.invoke(None, None, storage)

    def is_built(self, Storage storage not None):
        """Say whether there is an object to serve."""
        raise NotImplementedError(type(self).__name__)

    def keep(self, Storage storage not None, object value):
        """Take an object to serve."""
        raise NotImplementedError(type(self).__name__)


@cython.final
cdef class Transient(Factory):
    """Builds a new object each time."""

    cdef object provide(self, object context, Storage storage):
        if not self.waits and (self.is_plain or self.mode == "context"):
            return self.build(storage)
        # Awaited beforehand, once for each argument that takes one.
        return (<list>storage.cache[self]).pop()

    def is_built(self, Storage storage not None):
        """Say no: each time is the first."""
        return False

    def keep(self, Storage storage not None, object value):
        """Lay an object by for the call that it was awaited for."""
        storage.open_cache().setdefault(self, []).append(value)


@cython.final
cdef class Scoped(Factory):
    """Builds one object for each scope."""

    cdef object provide(self, object context, Storage storage):
        cdef CallScope scope = <CallScope>storage if type(storage) is CallScope else None
        cdef PyObject* found
        cdef object value
        if storage.cache is not None:
            found = dict_get(storage.cache, self)
            if found != NULL:
                return <object>found
        elif scope is not None and scope.first is self:
            return scope.first_value
        value = self.build(unlimited(storage))
        if scope is not None and scope.cache is None and scope.first is None:
            scope.first = self
            scope.first_value = value
        else:
            storage.open_cache()[self] = value
        return value

    def home(self, Storage storage not None):
        """Return where the object is built: for the whole scope, whoever asks first."""
        return unlimited(storage)

    def is_built(self, Storage storage not None):
        """Say whether the scope has its object."""
        return self in storage.open_cache()

    def keep(self, Storage storage not None, object value):
        """Give the scope its object."""
        storage.open_cache()[self] = value


@cython.final
cdef class Singleton(Factory):
    """Builds one object for the terminal, when first asked for.

    It outlives every scope, so it is built in the terminal's own storage, `root`.
    """

    def __cinit__(self, Call call, str mode, tuple waits, Storage root not None):
        self.root = root

    cdef object provide(self, object context, Storage storage):
        if not self.built:
            self.value = self.build(self.root)
            self.built = True
        return self.value

    def home(self, Storage storage=None):
        """Return where the object is built."""
        return self.root

    def is_built(self, Storage storage=None):
        """Say whether the object is there."""
        return self.built

    def keep(self, Storage storage, object value):
        """Take the object."""
        self.value = value
        self.built = True


def make_storage(
    object core,
    object box=None,
    *,
    object owner=None,
    object message=None,
    object cause=None,
    int hops=0,
    bint detached=False,
):
    """Return the storage of a new scope."""
    cdef Storage storage = new_storage(core, box, owner)
    storage.message = message
    storage.cause = cause
    storage.hops = hops
    storage.detached = detached
    return storage
