"""Fields of the message context; see the .pyx for what they mean."""

from libc.stdint cimport uint64_t


cdef class MessageContext:
    cdef uint64_t id_high
    cdef uint64_t id_low
    cdef uint64_t correlation_high
    cdef uint64_t correlation_low
    cdef uint64_t causation_high
    cdef uint64_t causation_low
    cdef long long stamp
    cdef object _headers

    cdef int make_id(self) except -1
    cdef int caused_by(self, MessageContext cause) except -1
