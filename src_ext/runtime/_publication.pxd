"""Fields of a run of a plan; see the .pyx for what they mean."""

from cpython.object cimport PyObject

from runtime._capi cimport PySendResult
from runtime._dispatch cimport Handler, Plan
from runtime._wiring cimport Storage


cdef class Publication:
    cdef Plan plan
    cdef object event
    cdef object context
    cdef object error
    cdef object coroutine
    cdef Storage storage
    cdef Py_ssize_t index
    cdef bint owns_storage
    cdef bint finished
    cdef bint unstarted
    cdef bint awaited
    cdef bint running

    cdef PySendResult proceed(self, object error, PyObject** yielded) noexcept
    cdef PySendResult run_on(self, PyObject** yielded) noexcept
    cdef PySendResult leave(self, object error, PyObject** yielded) noexcept
    cdef PyObject* reach_actor(self, Handler handler) noexcept
    cdef PySendResult fail(self) noexcept
    cdef int finish(self) except -1


cdef class BriefPublication:
    cdef Plan plan
    cdef object event
    cdef object context
    cdef Publication rest
    cdef bint unstarted
    cdef bint awaited

    cdef PySendResult proceed(self, PyObject** yielded) noexcept


cdef inline BriefPublication new_brief(Plan plan, object event, object context):
    cdef BriefPublication run = BriefPublication.__new__(BriefPublication)
    run.plan = plan
    run.event = event
    run.context = context
    run.unstarted = True
    return run


cdef inline Publication refused(object error):
    # What raises an error when it is awaited.
    cdef Publication run = Publication.__new__(Publication)
    run.error = error
    run.unstarted = True
    return run
