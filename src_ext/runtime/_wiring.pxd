"""Fields of the compiled wiring; see the .pyx for what they mean."""

from cpython.object cimport PyObject

cdef enum:
    MAX_ARGUMENTS = 32


cdef class Storage:
    cdef object core
    cdef object box
    cdef object owner
    cdef Storage parent
    cdef dict cache
    cdef bint closed
    cdef bint detached

    cdef Storage branch(self, object owner)


cdef class Provider:
    cdef object provide(self, object context, Storage storage)


cdef class Constant(Provider):
    cdef object value


cdef class Call:
    cdef readonly object function
    cdef readonly tuple providers
    cdef tuple names
    cdef Py_ssize_t count
    cdef size_t positional
    cdef bint plain
    cdef unsigned char kinds[MAX_ARGUMENTS]

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
    cdef Call call


cdef class Scoped(Factory):
    pass


cdef class Singleton(Factory):
    cdef object value
    cdef bint built


cdef object take_error()

cdef inline Storage new_storage(object core, object box, object owner):
    cdef Storage storage = Storage.__new__(Storage)
    storage.core = core
    storage.box = box
    storage.owner = owner
    return storage
