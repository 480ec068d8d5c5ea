"""The asks that are waited for, and until when."""

cimport cython

from runtime._capi cimport PyContext_New
from runtime._mailbox cimport Reply

from runtime.errors import AskTimeout

cdef enum:
    # From so many entries on, those that have ended are looked for behind those that have not.
    SWEEP = 256


@cython.final
cdef class Row:
    """The asks with one timeout, which are due in the order in which they came.

    Those before `head` have left. `timer` is that of an ask which was first once.
    """

    cdef Reply first(self):
        """Return the first that has not ended, or None; those before it leave."""
        cdef Reply reply
        while self.head < len(self.replies):
            reply = <Reply>self.replies[self.head]
            if not reply.has_ended:
                return reply
            self.pop()
        return None

    cdef int pop(self) except -1:
        self.replies[self.head] = None
        self.head += 1
        return 0

    cdef int append(self, Reply reply) except -1:
        if self.head and self.head == len(self.replies):
            # Mostly there is only this one.
            self.head -= 1
            self.replies[self.head] = reply
            return 0
        if self.head >= SWEEP and 2 * self.head >= len(self.replies):
            del self.replies[:self.head]
            self.head = 0
        self.replies.append(reply)
        return 0

    cdef int compact(self) except -1:
        """Drop those that have ended."""
        cdef list left = [
            each for each in self.replies if each is not None and not (<Reply>each).has_ended
        ]
        self.replies = left
        self.head = 0
        return 0


@cython.final
cdef class Deadlines:
    """The replies that are waited for, and until when.

    Asks with the same timeout share a row and a timer. Those that have ended leave it when they
    come to its head, or when there are twice as many entries, or rows, as the last sweep has left.
    """

    def __cinit__(self):
        self.rows = {}
        self.limit = SWEEP
        # A timer outlives the ask that it was made for, and must not keep that one's variables.
        self.empty = PyContext_New()

    cdef object make_timer(self, object loop, double due, double timeout, Reply reply):
        """End the wait for a reply by a timer of its own, for the rest of somebody's time.

        Hardly two asks have that in common. Whoever waits cancels the timer.
        """
        return loop.call_at(due, give_up, reply, timeout, context=self.empty)

    cdef int add(self, object loop, Reply reply, double timeout) except -1:
        """End the wait for a reply when its message expires, a timeout after now."""
        cdef Row row = self.row(timeout)
        row.first()
        if len(row.replies) - row.head >= self.limit:
            self.sweep()
            row = self.row(timeout)
        row.append(reply)
        if row.timer is None:
            self.set_timer(loop, row, reply.message.expires)
        return 0

    cdef Row row(self, double timeout):
        """Return the row of a timeout, made if it is not there."""
        cdef Row row = self.recent
        if row is not None and row.timeout == timeout:
            return row
        row = <Row>self.rows.get(timeout)
        if row is None:
            if len(self.rows) >= self.limit:
                self.sweep()
            row = Row.__new__(Row)
            row.timeout = timeout
            row.replies = []
            self.rows[timeout] = row
        self.recent = row
        return row

    cdef int set_timer(self, object loop, Row row, double due) except -1:
        row.timer = loop.call_at(due, self.fire, loop, row, due, context=self.empty)
        return 0

    def sweep(self):
        """Drop the asks that have ended, and the rows and timers that are of no use then."""
        cdef Py_ssize_t longest = 0
        cdef Row row
        self.recent = None
        for row in list(self.rows.values()):
            row.compact()
            if row.replies:
                longest = max(longest, len(row.replies))
            else:
                self.forget(row)
        self.limit = max(SWEEP, 2 * longest, 2 * len(self.rows))

    def fire(self, object loop, Row row not None, double due):
        """End the waits that are over, in one row; the timer was set to be `due`."""
        cdef Reply reply
        # A loop may be early by its clock's resolution.
        cdef double now = max(due, <double>loop.time())
        while True:
            reply = row.first()
            if reply is None:
                self.forget(row)
                return
            if reply.message.expires > now:
                self.set_timer(loop, row, reply.message.expires)
                return
            row.pop()
            give_up(reply, row.timeout)

    cdef int forget(self, Row row) except -1:
        """Drop a row that is empty, and its timer."""
        if self.recent is row:
            self.recent = None
        del self.rows[row.timeout]
        if row.timer is not None:
            row.timer.cancel()
            row.timer = None
        return 0


def give_up(Reply reply not None, double timeout):
    """End the wait for a reply, if nothing else has."""
    if not reply.has_ended:
        reply.give_up(AskTimeout.of(reply.command, timeout))
