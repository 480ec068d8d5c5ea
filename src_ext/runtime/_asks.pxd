"""Fields of an ask; see the .pyx for what they mean."""

from cpython.object cimport PyObject

from runtime._capi cimport PySendResult
from runtime._mailbox cimport Delivery, Mailbox, Reply
from runtime._sender cimport Sender
from runtime._waits cimport Wait


cdef class Ask(Reply):
    cdef PySendResult proceed(self, PyObject** result) noexcept
    cdef object go_on(self)
    cdef int check_idle(self) except -1
    cdef int begin(self) except -1
    cdef double due(self, double now) except? -1
    cdef Wait draw(self, Mailbox box, object command, object task)
    cdef int accept(self, Mailbox box, object asker) except -1
    cdef object suspend(self)
    cdef int clean_up(self) except -1


cdef inline Ask new_ask(Sender sender, object command, object context, object key, object timeout):
    cdef Ask ask = Ask.__new__(Ask)
    ask.sender = sender
    ask.command = command
    ask.context = context
    ask.key = key
    ask.timeout = timeout
    return ask
