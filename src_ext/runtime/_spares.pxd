"""Fields of the messages that are kept; see the .pyx for what they mean."""

from cpython.object cimport PyObject

from runtime._capi cimport (
    PyContext_CopyCurrent,
    PyObject_GC_Track,
    current_context,
    fill_context,
)
from runtime._mailbox cimport Delivery


cdef class Spares:
    cdef Delivery first
    cdef int room
    cdef object no_variables

    cdef int reuse(self, Delivery message) except -1
    cdef int drop(self) except -1

    cdef inline Delivery take(self):
        # A message under a copy of the context variables at hand. If it has a context, that is to
        # be renewed.
        cdef Delivery message = self.first
        cdef PyObject* variables
        if message is None:
            message = Delivery.__new__(Delivery)
        else:
            self.first = message.next
            message.next = None
            self.room += 1
            if message.untracked:
                message.untracked = False
                PyObject_GC_Track(<PyObject*>message)
        variables = current_context() if message.variables is not None else NULL
        if variables != NULL:
            fill_context(<PyObject*>message.variables, variables)
        else:
            message.variables = PyContext_CopyCurrent()
        return message
