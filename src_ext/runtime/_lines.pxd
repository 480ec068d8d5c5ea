"""Fields of the lines; see the .pyx for what they mean."""

from runtime._core cimport Core
from runtime._mailbox cimport Mailbox


cdef class Lines:
    cdef Core core
    cdef dict lines
    cdef dict granted

    cdef int promise(self, Mailbox box) except -1
