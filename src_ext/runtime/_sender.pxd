"""Fields of whoever sends; see the .pyx for what they mean."""

from runtime._context cimport MessageContext
from runtime._core cimport Core
from runtime._dispatch cimport Plan
from runtime._mailbox cimport Delivery, Mailbox
from runtime._wiring cimport Storage


cdef class Sender:
    cdef Core core
    cdef Storage storage
    cdef Mailbox box
    cdef MessageContext cause
    cdef int hops
    cdef bint timed

    cdef Delivery message_of(self, Plan plan, object event, MessageContext context)
    cdef MessageContext context_for(self, MessageContext given)
    cdef Mailbox route(self, Plan plan, object event, object key)
    cdef int check(self) except -1
    cdef int admit(self, object event) except -1
    cdef object refusal(self, object event)


cdef double seconds(str name, object value) except -1
