"""Fields of the dispatch table; see the .pyx for what they mean."""

cimport cython
from cpython.object cimport PyObject, Py_TYPE
from libc.stdint cimport uint64_t

from runtime._capi cimport (
    PYGEN_ERROR,
    PYGEN_NEXT,
    PYGEN_RETURN,
    PY_VECTORCALL_ARGUMENTS_OFFSET,
    Py_DecRef,
    PySendResult,
    PyTuple_GET_ITEM,
    is_awaitable,
    is_coroutine,
    send_raw,
    vectorcall,
)
from runtime._tally cimport HandlerTally, TypeCounts, TypeTally
from runtime._wiring cimport Call, Factory, Storage

cdef object ENDED

cdef enum Hands:
    NOTHING
    THE_BUS
    THE_SCOPE


cdef enum Way:
    BY_HOST
    AS_PUBLICATION
    AS_CALLS
    AS_COROUTINE
    AS_COROUTINE_IN_SCOPE
    AS_UNROLLED


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
    cdef readonly bint supervised
    cdef bint wants_context
    cdef bint simple
    cdef bint inline
    cdef Hands hands


cdef class Plan:
    cdef readonly tuple handlers
    cdef readonly tuple guards
    cdef readonly object publisher
    cdef readonly object key_field
    cdef readonly object key_owner
    cdef object unrolled
    cdef TypeTally tally
    cdef TypeCounts* counts
    cdef Py_ssize_t count
    cdef Handler only
    cdef int capacity
    cdef Overflow overflow
    cdef bint needs_scope
    cdef bint wants_context
    cdef bint has_actors
    cdef bint has_exits
    cdef bint simple
    cdef bint guarded
    cdef Way way

    cdef Way choose(self) except? BY_HOST

    cdef inline PyObject* begin_unrolled(self, object event, object context) noexcept:
        # A new reference to the coroutine, or NULL with an exception set.
        cdef PyObject* slots[3]
        cdef Py_ssize_t index
        for index in range(self.count):
            (<Handler>PyTuple_GET_ITEM(self.handlers, index)).call.calls[0] += 1
        slots[1] = <PyObject*>event
        slots[2] = <PyObject*>context
        return vectorcall(self.unrolled, slots + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)


cdef struct Recent:
    # Both borrowed: the table keeps what it has ever known.
    PyObject* message_type
    PyObject* plan


cdef enum:
    RECENT_BITS = 8
    MIXER = 0x9E3779B97F4A7C15


cdef class Table:
    cdef readonly dict plans
    cdef object flatten
    cdef Recent recent[1 << RECENT_BITS]

    cdef Plan look_up(self, type message_type, Recent* place)

    @cython.final
    cdef inline Recent* place_of(self, object message) noexcept:
        # The upper bits of a product mix all of an address (Knuth, TAOCP 3, 6.4).
        cdef uint64_t mixed = <uint64_t><size_t>Py_TYPE(message) * MIXER
        return &self.recent[mixed >> (64 - RECENT_BITS)]

    @cython.final
    cdef inline Plan recall(self, object message):
        # The plan of a message if its type is among the recent ones, else None: nothing can fail.
        cdef Recent* place = self.place_of(message)
        if place.message_type == <PyObject*>Py_TYPE(message):
            return <Plan>place.plan
        return None

    @cython.final
    cdef inline Plan find(self, object message):
        cdef Plan plan = self.recall(message)
        return plan if plan is not None else self.look_up(type(message), self.place_of(message))


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
    status = send_raw(result, <PyObject*>None, yielded)
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
    status = send_raw(result, <PyObject*>None, yielded)
    if status == PYGEN_NEXT:
        coroutine[0] = result
        return status
    Py_DecRef(result)
    if status == PYGEN_RETURN:
        Py_DecRef(yielded[0])
        yielded[0] = NULL
    return status
