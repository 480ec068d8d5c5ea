"""Fields of the wait-for graph; see the .pyx for what they mean."""

from runtime._core cimport Core
from runtime._mailbox cimport Delivery, Mailbox


cdef class Wait:
    cdef Waits graph
    cdef Mailbox home
    cdef Delivery asker
    cdef object verb
    cdef object event
    cdef Mailbox box
    cdef Delivery target
    cdef object future
    cdef int index
    cdef bint is_drawn
    cdef bint is_suspended

    cdef object node(self)
    cdef object leads_to(self)


cdef class Waits:
    cdef Core core
    cdef dict edges

    cdef int check(self, Wait closing) except -1
