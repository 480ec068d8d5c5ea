"""How long handlers keep the loop from going round.

A step is what a handler does between two turns of the loop. Whoever drives one reads the clock at
its end, and the reading is the beginning of the next; steps inside each other are measured each by
itself.
"""

cimport cython

from runtime._dispatch cimport Handler, as_exception

cdef enum:
    # Nanoseconds that a step of a handler may take.
    LIMIT = 100_000_000

# Centuries, in nanoseconds: no clock gets beyond it here, and no difference below its negative.
cdef double ENDLESS = 4e18


@cython.final
cdef class Stopwatch:
    """Measures the steps of one terminal's handlers, and tells the host of those that are long.

    `mark` is when the current step has begun, in nanoseconds of a clock that is cheap and coarse;
    one that is longer than `limit` is looked at closely.
    On a simulated loop, which is `loop` then, no real time counts but the loop's own: that stands
    still inside a step, unless the step moves it. There every step is looked at.
    """

    def __cinit__(self, object host):
        self.host = host
        self.limit = LIMIT

    def simulate(self, object loop not None):
        """Measure by the clock of a loop."""
        self.loop = loop
        self.limit = <long long>-ENDLESS

    cdef long long virtual_time(self) except -1:
        return round(min(self.loop.time() * 1e9, ENDLESS))

    cdef int stop(self, Handler handler, object message, object variables) except -1:
        """End a step; count and report it if it was too long. No handler is the publisher."""
        cdef long long now = self.now()
        cdef double seconds = (now - self.mark) / 1e9
        cdef object spec = None
        if now - self.mark > LIMIT:
            if handler is not None:
                handler.tally.note_slow(seconds)
                spec = handler.spec
            if variables is None:
                self.host.slowness.report(spec, message, seconds)
            else:
                variables.run(self.host.slowness.report, spec, message, seconds)
            # However long it took to say so, it is not for the next step.
            now = self.now()
        self.mark = now
        return 0


@cython.final
cdef class TimedRun:
    """A handler's run that no worker drives by itself, each of its steps measured.

    To everything else it is the coroutine that it runs.
    """

    def __cinit__(
        self,
        Stopwatch stopwatch not None,
        Handler handler not None,
        object message,
        object coroutine not None,
    ):
        self.stopwatch = stopwatch
        self.handler = handler
        self.message = message
        self.coroutine = coroutine

    def __getattr__(self, name):
        return getattr(self.coroutine, name)

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, object value):
        """Continue."""
        cdef long long since = self.stopwatch.interrupt()
        try:
            return self.coroutine.send(value)
        finally:
            self.stopwatch.stop(self.handler, self.message, None)
            self.stopwatch.resume(since)

    def throw(self, object kind, object value=None, object traceback=None):
        """Raise inside the handler."""
        cdef object error = as_exception(kind, value, traceback)
        cdef long long since = self.stopwatch.interrupt()
        try:
            return self.coroutine.throw(error)
        finally:
            self.stopwatch.stop(self.handler, self.message, None)
            self.stopwatch.resume(since)

    def close(self):
        """End the handler."""
        self.coroutine.close()
