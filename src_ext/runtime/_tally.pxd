"""Fields of the counters; see the .pyx for what they mean."""

# Counted through a pointer: that spares the hot paths the references.
cdef struct TypeCounts:
    long long emitted
    long long handled
    long long failed
    long long dropped
    long long expired
    long long rejected
    long long published
    long long sent
    long long asked


cdef class TypeTally:
    cdef TypeCounts counts


cdef class HandlerTally:
    cdef long long calls
    cdef readonly long long failed
    cdef readonly long long slow
    cdef readonly double longest

    cdef int note_slow(self, double seconds) except -1
