"""Fields of what every verb touches; see the .pyx for what they mean."""

from runtime._context cimport MessageContext
from runtime._core cimport Core
from runtime._dispatch cimport Plan
from runtime._mailbox cimport Delivery, Mailbox
from runtime._wiring cimport Storage


cdef class EventBus:
    cdef Core core
    cdef Storage storage
    cdef Mailbox box
    cdef MessageContext cause
    cdef int hops
    cdef bint timed

    cdef object in_time(self, object verb, object message, MessageContext context)
    cdef object unwatched(self, object verb, object message, MessageContext context)
    cdef Delivery message_of(self, Plan plan, object event, MessageContext context, callback, ttl)
    cdef int furnish(self, Delivery message, object callback, object ttl) except -1
    cdef int put_off(self, Mailbox box, Delivery message, object delay) except -1
    cdef MessageContext context_for(self, MessageContext given)
    cdef Mailbox route(self, Plan plan, object event, object key)
    cdef int check(self) except -1
    cdef int admit(self, object event) except -1
    cdef object refusal(self, object event)


cdef class Scope(Storage):
    cdef EventBus _bus
    cdef Storage inside
    cdef readonly object name
    cdef public object task
    cdef list held


cdef EventBus new_bus(Core core, Storage storage, Mailbox box, object cause, int hops)
