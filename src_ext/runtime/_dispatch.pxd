"""Fields of the dispatch table; see the .pyx for what they mean."""

from cpython.object cimport PyObject

from runtime._capi cimport (
    PYGEN_ERROR,
    PYGEN_NEXT,
    PYGEN_RETURN,
    Py_DecRef,
    PyIter_Send,
    PySendResult,
    is_awaitable,
    is_coroutine,
)
from runtime._tally cimport HandlerTally, TypeCounts, TypeTally
from runtime._wiring cimport Call, Factory, Storage

cdef object ENDED

cdef enum Overflow:
    REJECT
    DROP_OLDEST
    DROP_NEWEST


cdef class Handler:
    cdef readonly object spec
    cdef readonly Factory actor
    cdef readonly Call call
    cdef readonly HandlerTally tally
    cdef readonly tuple waits
    cdef readonly bint is_async
    cdef readonly bint needs_scope
    cdef readonly bint manages
    cdef readonly bint own_task
    cdef readonly bint limited
    cdef bint wants_context
    cdef bint simple
    cdef readonly bint supervised


cdef class Plan:
    cdef readonly tuple handlers
    cdef readonly tuple guards
    cdef readonly object publisher
    cdef readonly object key_field
    cdef readonly object key_owner
    cdef TypeTally tally
    cdef TypeCounts* counts
    cdef Py_ssize_t count
    cdef Handler only
    cdef int capacity
    cdef Overflow overflow
    cdef bint needs_scope
    cdef bint wants_context
    cdef bint has_actors
    cdef bint simple
    cdef bint guarded


cdef class Table:
    cdef readonly dict plans
    cdef object flatten

    cdef Plan miss(self, type message_type)

    cdef inline Plan find(self, object message):
        cdef object plan = self.plans.get(type(message))
        return <Plan>plan if plan is not None else self.miss(type(message))


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

    cdef object step(self, object error)
    cdef PySendResult run_on(self, PyObject** yielded) noexcept
    cdef PySendResult leave(self, object error, PyObject** yielded) noexcept
    cdef PyObject* reach_actor(self, Handler handler) noexcept
    cdef object fail(self, object error)
    cdef int finish(self) except -1


cdef object as_exception(object kind, object value, object traceback)
cdef PyObject* awaitable_raw(PyObject* result) noexcept
cdef PySendResult throw_raw(object coroutine, object error, PyObject** yielded) noexcept


cdef inline PySendResult start_reply(
    PyObject* result, PyObject** coroutine, PyObject** yielded
) noexcept:
    # As `start_result`, but PYGEN_RETURN comes with a reference to what was returned.
    cdef PySendResult status
    if result == NULL:
        return PYGEN_ERROR
    if not is_coroutine(result):
        if not is_awaitable(result):
            yielded[0] = result
            return PYGEN_RETURN
        result = awaitable_raw(result)
        if result == NULL:
            return PYGEN_ERROR
    status = PyIter_Send(result, <PyObject*>None, yielded)
    if status == PYGEN_NEXT:
        coroutine[0] = result
    else:
        Py_DecRef(result)
    return status


cdef inline PySendResult start_result(
    PyObject* result, PyObject** coroutine, PyObject** yielded
) noexcept:
    # Start what a call returned, which is NULL if it raised; takes the reference over. PYGEN_NEXT
    # comes with references to the coroutine, to be driven on, and to what it yielded;
    # PYGEN_RETURN means that there is nothing (more) to await.
    cdef PySendResult status
    if result != NULL and result != <PyObject*>None and not is_coroutine(result):
        result = awaitable_raw(result)
    if result == NULL:
        return PYGEN_ERROR
    if result == <PyObject*>None:
        Py_DecRef(result)
        return PYGEN_RETURN
    status = PyIter_Send(result, <PyObject*>None, yielded)
    if status == PYGEN_NEXT:
        coroutine[0] = result
        return status
    Py_DecRef(result)
    if status == PYGEN_RETURN:
        Py_DecRef(yielded[0])
        yielded[0] = NULL
    return status
