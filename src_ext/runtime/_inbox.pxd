"""Fields of the inbox; see the .pyx for what they mean."""

from runtime._core cimport Core


cdef class Inbox:
    cdef Core core
    cdef list entries
    cdef bint is_awake

    cdef int rouse(self) except -1
