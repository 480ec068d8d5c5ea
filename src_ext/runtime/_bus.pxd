"""Fields of what every verb touches; see the .pyx for what they mean."""

from cpython.object cimport PyObject

from runtime._context cimport MessageContext
from runtime._core cimport Core
from runtime._dispatch cimport Handler, Plan
from runtime._mailbox cimport Delivery, Mailbox
from runtime._sender cimport Sender
from runtime._wiring cimport Storage


cdef class EventBus(Sender):
    cdef bint is_free(self) noexcept
    cdef object look(self, object verb, object message, MessageContext context)
    cdef Storage shared_scope(self, Plan plan)
    cdef Storage own_scope(self, MessageContext context)
    cdef PyObject* begin_in_scope(
        self, Handler handler, object message, MessageContext context
    ) noexcept
    cdef object publication(self, Plan plan, object event, MessageContext context)
    cdef object in_time(self, object verb, object message, MessageContext context)
    cdef object unwatched(self, object verb, object message, MessageContext context)
    cdef int furnish(self, Delivery message, object callback, object ttl) except -1
    cdef int put_off(self, Mailbox box, Delivery message, object delay) except -1


cdef class Scope(Storage):
    cdef EventBus _bus
    cdef Storage inside
    cdef readonly object name
    cdef public object task
    cdef list held


cdef EventBus new_bus(Core core, Storage storage, Mailbox box, object cause, int hops)
