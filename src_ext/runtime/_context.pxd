"""Fields of the message context; see the .pyx for what they mean."""

cimport cython
from libc.stdint cimport uint64_t

from runtime._capi cimport wall_clock


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

    @cython.final
    cdef inline int renew(self) noexcept:
        # Become that of another message, which is taken now.
        self.id_high = self.correlation_high = self.causation_high = 0
        self.stamp = wall_clock()
        return 0
