"""Compiled dependency plans: how the arguments of a call are found, and where they are kept.

A `Call` is a callable with one provider for each of its arguments. Which provider serves which
argument is decided when a terminal freezes; a call only walks an array. A `Storage` keeps what
one scope has built.
"""

cimport cython
from cpython.exc cimport PyErr_SetObject
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF

from runtime._capi cimport (
    PY_VECTORCALL_ARGUMENTS_OFFSET,
    PyObject_Vectorcall,
    reraise,
    vectorcall,
)

# For those who read signatures: more parameters than this cannot be supplied.
ARGUMENT_LIMIT = MAX_ARGUMENTS

cdef enum Kind:
    MESSAGE_ARGUMENT
    CONTEXT_ARGUMENT
    CONSTANT_ARGUMENT
    SINGLETON_ARGUMENT
    PROVIDED_ARGUMENT


@cython.freelist(64)
cdef class Storage:
    """What one scope has built, and where emits from inside it go.

    `box` is the mailbox of the scope (None: the root pool). `owner` is the handler that runs in
    it on that mailbox's turn (None: nobody's turn), `parent` the storage that this one branches
    from. A `detached` storage belongs to an actor's own dependencies: it is no scope that a
    publish could share.
    """

    cdef Storage branch(self, object owner):
        """Return a storage of another handler that shares what this scope has built."""
        cdef Storage twin = new_storage(self.core, self.box, owner)
        if self.cache is None:
            self.cache = {}
        twin.cache = self.cache
        twin.parent = self
        return twin


cdef class Provider:
    """Something that can serve one argument."""

    cdef object provide(self, object context, Storage storage):
        raise NotImplementedError(type(self).__name__)


@cython.final
cdef class MessageArgument(Provider):
    """Stands for the message itself."""


@cython.final
cdef class ContextArgument(Provider):
    """Stands for the message's context."""


@cython.final
cdef class Constant(Provider):
    """Serves a value that exists already."""

    def __cinit__(self, object value):
        self.value = value

    cdef object provide(self, object context, Storage storage):
        return self.value


@cython.final
cdef class Call:
    """A callable together with the providers of its arguments, positional ones first."""

    def __cinit__(self, object function, tuple providers not None, tuple names not None=()):
        cdef Py_ssize_t index
        if len(providers) > MAX_ARGUMENTS:
            raise ValueError(f"at most {MAX_ARGUMENTS} arguments, not {len(providers)}")
        self.function = function
        self.providers = providers
        self.names = names or None
        self.count = len(providers)
        self.positional = <size_t>(self.count - len(names)) | PY_VECTORCALL_ARGUMENTS_OFFSET
        self.plain = True
        for index in range(self.count):
            self.kinds[index] = kind_of(providers[index])
            if self.kinds[index] > CONTEXT_ARGUMENT:
                self.plain = False

    cdef object invoke(self, object message, object context, Storage storage):
        """Call with the arguments wired. Raises what the call or a factory raises."""
        cdef PyObject* result = self.invoke_raw(message, context, storage)
        cdef object owned
        if result == NULL:
            reraise()
        owned = <object>result
        Py_DECREF(owned)
        return owned

    cdef PyObject* invoke_raw(self, object message, object context, Storage storage) noexcept:
        """Call with the arguments wired: a new reference, or NULL with an exception set."""
        # One slot in front of the arguments lets a bound method put `self` there.
        cdef PyObject* slots[MAX_ARGUMENTS + 1]
        cdef PyObject** arguments = slots + 1
        cdef PyObject* names = <PyObject*>self.names if self.names is not None else NULL
        cdef Py_ssize_t index
        if not self.plain:
            try:
                result = self.invoke_wired(arguments, names, message, context, storage)
                Py_INCREF(result)
                return <PyObject*>result
            except BaseException as error:
                PyErr_SetObject(type(error), error)
                return NULL
        for index in range(self.count):
            if self.kinds[index] == MESSAGE_ARGUMENT:
                arguments[index] = <PyObject*>message
            else:
                arguments[index] = <PyObject*>context
        return vectorcall(self.function, arguments, self.positional, names)

    cdef object invoke_wired(
        self,
        PyObject** arguments,
        PyObject* names,
        object message,
        object context,
        Storage storage,
    ):
        # What a provider returns is owned by `held` until the call is over; the rest is borrowed.
        cdef PyObject* held[MAX_ARGUMENTS]
        cdef Py_ssize_t holding = 0
        cdef Py_ssize_t index
        cdef unsigned char kind
        cdef PyObject* provider
        cdef object value
        try:
            for index in range(self.count):
                kind = self.kinds[index]
                if kind == MESSAGE_ARGUMENT:
                    arguments[index] = <PyObject*>message
                    continue
                if kind == CONTEXT_ARGUMENT:
                    arguments[index] = <PyObject*>context
                    continue
                provider = <PyObject*>self.providers[index]
                if kind == CONSTANT_ARGUMENT:
                    arguments[index] = <PyObject*>(<Constant>provider).value
                elif kind == SINGLETON_ARGUMENT and (<Singleton>provider).built:
                    arguments[index] = <PyObject*>(<Singleton>provider).value
                else:
                    value = (<Provider>provider).provide(context, storage)
                    Py_INCREF(value)
                    held[holding] = <PyObject*>value
                    holding += 1
                    arguments[index] = <PyObject*>value
            return PyObject_Vectorcall(self.function, arguments, self.positional, names)
        finally:
            for index in range(holding):
                Py_XDECREF(held[index])


cdef unsigned char kind_of(object provider) except 255:
    if isinstance(provider, MessageArgument):
        return MESSAGE_ARGUMENT
    if isinstance(provider, ContextArgument):
        return CONTEXT_ARGUMENT
    if isinstance(provider, Constant):
        return CONSTANT_ARGUMENT
    if isinstance(provider, Singleton):
        return SINGLETON_ARGUMENT
    if isinstance(provider, Provider):
        return PROVIDED_ARGUMENT
    raise TypeError(f"not a provider: {provider!r}")


cdef class Factory(Provider):
    """Serves what a callable builds."""

    def __cinit__(self, Call call not None):
        self.call = call


@cython.final
cdef class Scoped(Factory):
    """Builds one object for each scope."""

    cdef object provide(self, object context, Storage storage):
        cdef dict cache = storage.cache
        cdef object value
        if cache is None:
            cache = storage.cache = {}
        elif self in cache:
            return cache[self]
        value = self.call.invoke(None, None, storage)
        cache[self] = value
        return value


@cython.final
cdef class Singleton(Factory):
    """Builds one object for the terminal, when first asked for."""

    cdef object provide(self, object context, Storage storage):
        if not self.built:
            # It outlives every scope, so it is built outside of all of them.
            self.value = self.call.invoke(None, None, None)
            self.built = True
        return self.value


cdef object take_error():
    """Return the exception that a C call has set, and clear it."""
    try:
        reraise()
    except BaseException as error:
        return error
