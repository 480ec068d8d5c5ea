"""Fields of the compiled wiring; see the .pyx for what they mean."""

cimport cython
from cpython.object cimport PyObject

from runtime._capi cimport flag, has_ended, owned, vectorcall
from runtime._tally cimport HandlerTally

cdef enum:
    MAX_ARGUMENTS = 32


cdef class Storage:
    cdef readonly object core
    cdef readonly object box
    cdef object owner
    cdef readonly object message
    cdef Storage parent
    cdef public object cause
    cdef dict cache
    cdef public list exits
    cdef public dict building
    cdef readonly int hops
    cdef flag is_shut
    cdef flag detached
    cdef flag holding

    cdef dict open_cache(self)
    cdef Storage branch(self, object owner)
    cdef int share(self, Storage twin) except -1


cdef class Lens(Storage):
    cdef readonly double deadline


cdef class CallScope(Storage):
    cdef object runner
    cdef object first
    cdef object first_value


cdef class Provider:
    cdef object provide(self, object context, Storage storage)


cdef class ContextArgument(Provider):
    cdef readonly type wanted


cdef class Constant(Provider):
    cdef object value


cdef class Call:
    cdef readonly object function
    cdef readonly tuple providers
    cdef tuple _names
    cdef Py_ssize_t count
    cdef size_t positional
    cdef HandlerTally tally
    cdef long long* calls
    cdef long long uncounted
    cdef bint plain
    cdef bint brief
    cdef unsigned char kinds[MAX_ARGUMENTS]

    cdef int count_in(self, HandlerTally tally) except -1
    cdef PyObject* invoke_raw(self, object message, object context, Storage storage) noexcept

    @cython.final
    cdef inline PyObject* apply(self, PyObject** arguments) noexcept:
        self.calls[0] += 1
        return vectorcall(
            self.function,
            arguments,
            self.positional,
            <PyObject*>self._names if self._names is not None else NULL,
        )

    @cython.final
    cdef inline PyObject* begin(self, object message, object context, Storage storage) noexcept:
        # As `invoke_raw`, for the most common signatures.
        cdef PyObject* slots[3]
        if not self.brief:
            return self.invoke_raw(message, context, storage)
        slots[1] = <PyObject*>message
        slots[2] = <PyObject*>context
        self.calls[0] += 1
        return vectorcall(self.function, slots + 1, self.positional, NULL)

    @cython.final
    cdef inline object invoke(self, object message, object context, Storage storage):
        # Call with the arguments wired. Raises what the call or a factory raises.
        return owned(self.begin(message, context, storage))


ctypedef PyObject* (*raw_invocation)(
    Call call, PyObject** arguments, object message, object context, Storage storage
) noexcept

cdef class Factory(Provider):
    cdef readonly Call call
    cdef readonly tuple waits
    cdef readonly object mode
    cdef bint is_plain

    cdef object build(self, Storage storage)


cdef class Transient(Factory):
    pass


cdef class Scoped(Factory):
    pass


cdef class Singleton(Factory):
    cdef Storage root
    cdef object value
    cdef bint built


cdef inline bint is_over(Storage storage) noexcept:
    # Whether a scope has ended: it was closed, or it is that of a handler which has returned.
    return storage.is_shut or (
        isinstance(storage, CallScope)
        and (<CallScope>storage).runner is not None
        and has_ended((<CallScope>storage).runner)
    )


cdef inline Storage new_storage(object core, object box, object owner):
    cdef CallScope storage = CallScope.__new__(CallScope)
    storage.core = core
    storage.box = box
    storage.owner = owner
    return storage
