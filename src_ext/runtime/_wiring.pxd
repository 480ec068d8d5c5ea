"""Fields of the compiled wiring; see the .pyx for what they mean."""

from cpython.object cimport PyObject

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
    cdef public bint closed
    cdef readonly int hops
    cdef bint detached
    cdef bint holding

    cdef Storage branch(self, object owner)
    cdef int share(self, Storage twin) except -1


cdef class Lens(Storage):
    cdef readonly double deadline


cdef class Provider:
    cdef object provide(self, object context, Storage storage)


cdef class ContextArgument(Provider):
    cdef type wanted


cdef class Constant(Provider):
    cdef object value


cdef class Call:
    cdef readonly object function
    cdef readonly tuple providers
    cdef tuple names
    cdef Py_ssize_t count
    cdef size_t positional
    cdef HandlerTally tally
    cdef long long* calls
    cdef long long uncounted
    cdef bint plain
    cdef unsigned char kinds[MAX_ARGUMENTS]

    cdef int count_in(self, HandlerTally tally) except -1
    cdef object invoke(self, object message, object context, Storage storage)
    cdef PyObject* invoke_raw(self, object message, object context, Storage storage) noexcept
    cdef object invoke_wired(
        self,
        PyObject** arguments,
        PyObject* names,
        object message,
        object context,
        Storage storage,
    )


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


cdef inline Storage new_storage(object core, object box, object owner):
    cdef Storage storage = Storage.__new__(Storage)
    storage.core = core
    storage.box = box
    storage.owner = owner
    return storage
