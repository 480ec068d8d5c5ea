"""Fields of the worker; see the .pyx for what they mean."""

from cpython.object cimport PyObject

from runtime._capi cimport PySendResult
from runtime._dispatch cimport Handler
from runtime._core cimport Core
from runtime._mailbox cimport Delivery, Mailbox
from runtime._stopwatch cimport Stopwatch
from runtime._wiring cimport Storage


cdef class Worker:
    cdef readonly Core core
    cdef Stopwatch stopwatch
    cdef Mailbox box
    cdef Delivery message
    cdef Handler handler
    cdef Storage storage
    cdef object coroutine
    cdef object fatal
    cdef object wakeup
    cdef public bint cancelled
    cdef readonly bint excused
    cdef bint finished
    cdef bint has_pending
    cdef object pending
    cdef object task
    cdef public int attempts
    cdef int budget

    cdef object step(self, object error)
    cdef object work(self)
    cdef object idle(self)
    cdef object run_message(self)
    cdef object start(self, Handler handler, Delivery message)
    cdef object start_publisher(self)
    cdef object advance(self, object error)
    cdef object left_off(self, PySendResult status, PyObject* yielded)
    cdef int remark(self, PySendResult status, PyObject* yielded) except -1
    cdef int end_attempt(self, object error) except -1
    cdef int complete(self) except -1
    cdef bint cut_off(self, object error)
    cdef int reject(self) except -1
    cdef int leave_box(self) except -1
    cdef int hand_over(self) except -1
    cdef int retire(self) except -1
    cdef object proceed(self, object error)
    cdef bint passes_on(self, object error, object awaited) except -1
    cdef int give_up(self, object error) except -1
    cdef int bequeath(self) except -1
