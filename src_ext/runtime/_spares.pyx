"""Messages that have ended, kept for the next ones.

An emit would allocate a message, its context, and a context for its variables, all to be freed a
moment later: a fifth of its time.
"""

cimport cython
from cpython.object cimport PyObject, PyTypeObject, Py_TYPE

from runtime._capi cimport (
    PyContext_New,
    PyObject_GC_UnTrack,
    Py_REFCNT,
    REUSES_CONTEXTS,
    fill_context,
)
from runtime._context cimport MessageContext
from runtime._mailbox cimport ASK, PLAIN, QUEUED, Delivery

cdef enum:
    # More than are on their way at once, mostly.
    ROOM = 256


@cython.final
cdef class Spares:
    """The messages that one terminal keeps, linked; there is room for so many more.

    Each is as new, but for its context and the one for its variables, which is empty.
    """

    def __cinit__(self):
        self.room = ROOM
        self.no_variables = PyContext_New()

    cdef int reuse(self, Delivery message) except -1:
        """Let go what a message that has ended was about, and keep it if nobody else knows it.

        So are its contexts, each unless somebody has it. The caller has the only reference to the
        message then, and does not look at it any more.
        """
        # Whatever runs when these go cannot find the message.
        message.event = message.plan = message.box = None
        if (
            Py_REFCNT(<PyObject*>message) > 1
            or self.room == 0
            or message.reply is not None
            or message.failures is not None
        ):
            message.context = message.variables = None
            return 0
        if (
            Py_REFCNT(<PyObject*>message.context) > 1
            or Py_TYPE(message.context) != <PyTypeObject*>MessageContext
            or (<MessageContext>message.context)._headers is not None
        ):
            message.context = None
        if REUSES_CONTEXTS and Py_REFCNT(<PyObject*>message.variables) == 1:
            fill_context(<PyObject*>message.variables, <PyObject*>self.no_variables)
        else:
            message.variables = None
        if message.kind == ASK:
            # Nothing of an ask is to be found any more.
            PyObject_GC_UnTrack(<PyObject*>message)
            message.untracked = True
            message.kind = PLAIN
        message.state = QUEUED
        message.index = message.hops = 0
        message.expires = 0
        message.next = self.first
        self.first = message
        self.room -= 1
        return 0

    cdef int drop(self) except -1:
        """Keep none any more."""
        self.room = 0
        self.first = None
        return 0
