"""Fields of what measures handlers; see the .pyx for what they mean."""

from runtime._capi cimport coarse_clock
from runtime._dispatch cimport Handler


cdef class Stopwatch:
    cdef object host
    cdef object loop
    cdef long long mark
    cdef long long limit

    cdef long long virtual_time(self) except -1
    cdef int stop(self, Handler handler, object message, object variables) except -1

    cdef inline long long now(self) except -1:
        return coarse_clock() if self.loop is None else self.virtual_time()

    cdef inline int start(self) except -1:
        # Begin a step here, or pass over what was none.
        self.mark = self.now()
        return 0

    cdef inline bint is_remarkable(self) noexcept:
        # End a step, and begin the next one; or say that it may have been too long, and is to be
        # stopped. No Python code runs, so an error may be set.
        cdef long long now = coarse_clock()
        if now - self.mark > self.limit:
            return True
        self.mark = now
        return False

    cdef inline long long interrupt(self) except -1:
        # Begin a step inside another one; return how long that has been going on.
        cdef long long since = self.now() - self.mark
        self.mark += since
        return since

    cdef inline int resume(self, long long since) noexcept:
        # Go on with the step that was interrupted, when the inner one has ended.
        self.mark -= since
        return 0


cdef class TimedRun:
    cdef Stopwatch stopwatch
    cdef Handler handler
    cdef object message
    cdef object coroutine
