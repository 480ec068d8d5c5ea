"""The inline run of a plan: what `publish` returns where a handler's own coroutine is not enough.

Both classes are coroutines to everything that awaits one. The interpreter drives them through
`proceed`, which needs no exception to say that it has ended.
"""

cimport cython

from cpython.exc cimport PyErr_SetObject, PyErr_WarnEx
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from runtime._capi cimport (
    PYGEN_ERROR,
    PYGEN_NEXT,
    PYGEN_RETURN,
    PySendResult,
    PyTuple_GET_ITEM,
    Py_DecRef,
    drive_by,
    owned,
    put_error,
    send_raw,
    stop_with,
    take_error,
)
from runtime._dispatch cimport Handler, Plan, as_exception, start_result, throw_raw
from runtime._wiring cimport Storage


@cython.final
@cython.freelist(64)
cdef class Publication:
    """The awaitable that runs a plan inline, handler after handler, or raises a refusal.

    `send`, `throw` and `close` reach the handler that is running.
    """

    def __init__(self):
        raise TypeError("a Publication comes from publish()")

    def __dealloc__(self):
        if self.unstarted:
            warn_unawaited()

    def __await__(self):
        if self.finished:
            raise RuntimeError("cannot reuse already awaited publish()")
        if self.awaited:
            raise RuntimeError("publish() is being awaited already")
        self.awaited = True
        return self

    def __iter__(self):
        return self

    def __next__(self):
        # For those who call it; the interpreter's way is `proceed`.
        return self.send(None)

    def send(self, object value):
        """Continue; a task only ever sends None."""
        cdef PyObject* yielded = NULL
        return outcome(self.proceed(None, &yielded), &yielded)

    def throw(self, object kind, object value=None, object traceback=None):
        """Raise an exception inside the handler that is running."""
        cdef object error = as_exception(kind, value, traceback)
        cdef PyObject* yielded = NULL
        if self.coroutine is None and not self.running:
            self.finish()
            raise error
        return outcome(self.proceed(error, &yielded), &yielded)

    def close(self):
        """End the handler that is running, if any, and start no other."""
        cdef object coroutine = self.coroutine
        cdef Storage storage = self.storage
        if self.running:
            raise ValueError("publish() is executing already")
        self.running = True
        try:
            close = getattr(coroutine, "close", None)
            if close is not None:
                close()
            if self.owns_storage and storage is not None and storage.exits:
                storage.core.host.leave_at_once(storage)
        finally:
            self.finish()

    cdef PySendResult proceed(self, object error, PyObject** yielded) noexcept:
        """Send, or throw an error, into the run: a new reference to what it yields or returns."""
        cdef PySendResult status = PYGEN_RETURN
        if self.finished:
            return refuse(RuntimeError("cannot reuse already awaited publish()"))
        if self.running:
            return refuse(ValueError("publish() is executing already"))
        self.unstarted = False
        if self.error is not None:
            put_error(self.error)
            return self.fail()
        self.running = True
        if self.coroutine is not None:
            if error is None:
                status = send_raw(<PyObject*>self.coroutine, <PyObject*>None, yielded)
            else:
                status = throw_raw(self.coroutine, error, yielded)
            if status == PYGEN_RETURN:
                self.coroutine = None
                if yielded[0] != NULL:
                    Py_DecRef(yielded[0])
        if status == PYGEN_RETURN:
            status = self.run_on(yielded)
        if status != PYGEN_NEXT and self.owns_storage and self.storage.exits:
            status = self.leave(take_error() if status == PYGEN_ERROR else None, yielded)
        self.running = False
        if status == PYGEN_ERROR:
            return self.fail()
        if status == PYGEN_RETURN:
            self.finish()
            Py_INCREF(None)
            yielded[0] = <PyObject*>None
        return status

    cdef PySendResult run_on(self, PyObject** yielded) noexcept:
        """Run the handlers that are left, until one suspends or fails."""
        cdef Plan plan = self.plan
        cdef Handler handler
        cdef PyObject* result
        cdef PyObject* coroutine = NULL
        cdef PySendResult status
        while self.index < plan.count:
            handler = <Handler>PyTuple_GET_ITEM(plan.handlers, self.index)
            self.index += 1
            if handler.actor is None:
                result = handler.call.begin(self.event, self.context, self.storage)
            else:
                result = self.reach_actor(handler)
            status = start_result(result, &coroutine, yielded)
            if status == PYGEN_NEXT:
                self.coroutine = owned(coroutine)
            if status != PYGEN_RETURN:
                return status
        return PYGEN_RETURN

    cdef PySendResult leave(self, object error, PyObject** yielded) noexcept:
        """Begin to leave what was entered in this scope; `error` goes on after it."""
        self.coroutine = None
        self.index = self.plan.count
        if error is None:
            error = leave_plain(self.storage.exits)
            if not self.storage.exits:
                if error is None:
                    return PYGEN_RETURN
                put_error(error)
                return PYGEN_ERROR
        try:
            self.coroutine = self.storage.core.host.leave_and_raise(self.storage, error)
        except BaseException as raised:
            return refuse(raised)
        cdef PySendResult status = send_raw(
            <PyObject*>self.coroutine, <PyObject*>None, yielded
        )
        if status == PYGEN_RETURN:
            self.coroutine = None
            Py_DecRef(yielded[0])
            yielded[0] = NULL
        return status

    cdef PyObject* reach_actor(self, Handler handler) noexcept:
        """Return the coroutine that lets an actor handle the event, or NULL with an error set."""
        try:
            coroutine = self.storage.core.host.publish_to_actor(
                handler, self.event, self.context, self.storage
            )
        except BaseException as error:
            put_error(error)
            return NULL
        Py_INCREF(coroutine)
        return <PyObject*>coroutine

    cdef PySendResult fail(self) noexcept:
        """End the run with the error that is set."""
        cdef object error = take_error()
        self.finish()
        if isinstance(error, StopIteration):
            error = not_stopped(error)
        put_error(error)
        return PYGEN_ERROR

    cdef int finish(self) except -1:
        self.finished = True
        self.unstarted = False
        if self.coroutine is not None:
            self.coroutine = None
        if self.storage is not None:
            if self.owns_storage:
                self.storage.is_shut = True
            self.storage = None
        return 0


@cython.final
@cython.freelist(64)
cdef class BriefPublication:
    """The awaitable that calls the handlers of a plan that has only synchronous ones.

    If one of them returns something to await, a `Publication` does the rest.
    """

    def __init__(self):
        raise TypeError("a BriefPublication comes from publish()")

    def __dealloc__(self):
        if self.unstarted:
            warn_unawaited()

    def __await__(self):
        if not self.unstarted and self.rest is None:
            raise RuntimeError("cannot reuse already awaited publish()")
        if self.awaited:
            raise RuntimeError("publish() is being awaited already")
        self.awaited = True
        return self

    def __iter__(self):
        return self

    def __next__(self):
        # For those who call it; the interpreter's way is `proceed`.
        return self.send(None)

    def send(self, object value):
        """Continue; a task only ever sends None."""
        cdef PyObject* yielded = NULL
        return outcome(self.proceed(&yielded), &yielded)

    def throw(self, object kind, object value=None, object traceback=None):
        """Raise an exception inside the handler that is running."""
        self.unstarted = False
        if self.rest is not None:
            return self.rest.throw(kind, value, traceback)
        raise as_exception(kind, value, traceback)

    def close(self):
        """End the handler that is running, if any, and start no other."""
        self.unstarted = False
        if self.rest is not None:
            self.rest.close()

    cdef PySendResult proceed(self, PyObject** yielded) noexcept:
        """Call the handlers: a new reference to what is yielded or returned."""
        cdef Plan plan = self.plan
        cdef Py_ssize_t index
        cdef PyObject* coroutine = NULL
        cdef PySendResult status
        if self.rest is not None:
            return self.rest.proceed(None, yielded)
        if not self.unstarted:
            return refuse(RuntimeError("cannot reuse already awaited publish()"))
        self.unstarted = False
        for index in range(plan.count):
            status = start_result(
                (<Handler>PyTuple_GET_ITEM(plan.handlers, index)).call.begin(
                    self.event, self.context, None
                ),
                &coroutine,
                yielded,
            )
            if status == PYGEN_ERROR:
                return not_stopping()
            if status == PYGEN_NEXT:
                self.rest = Publication.__new__(Publication)
                self.rest.plan = plan
                self.rest.event = self.event
                self.rest.context = self.context
                self.rest.coroutine = owned(coroutine)
                self.rest.index = index + 1
                return status
        Py_INCREF(None)
        yielded[0] = <PyObject*>None
        return PYGEN_RETURN


cdef PySendResult send_into(PyObject* run, PyObject* value, PyObject** result) noexcept:
    return (<Publication>run).proceed(None, result)


cdef PyObject* next_of(PyObject* run) noexcept:
    cdef PyObject* result = NULL
    return yielded_or_end((<Publication>run).proceed(None, &result), &result)


cdef PySendResult send_into_brief(PyObject* run, PyObject* value, PyObject** result) noexcept:
    return (<BriefPublication>run).proceed(result)


cdef PyObject* next_of_brief(PyObject* run) noexcept:
    cdef PyObject* result = NULL
    return yielded_or_end((<BriefPublication>run).proceed(&result), &result)


drive_by(Publication, <void*>next_of, <void*>send_into)
drive_by(BriefPublication, <void*>next_of_brief, <void*>send_into_brief)


cdef inline PyObject* yielded_or_end(PySendResult status, PyObject** result) noexcept:
    if status == PYGEN_NEXT:
        return result[0]
    if status == PYGEN_RETURN:
        stop_with(result[0])
    return NULL


cdef inline object outcome(PySendResult status, PyObject** result):
    """Return what a run has yielded. Raises `StopIteration` at its end, and its error."""
    if status == PYGEN_RETURN:
        Py_DecRef(result[0])
        raise StopIteration
    return owned(result[0] if status == PYGEN_NEXT else NULL)


cdef object leave_plain(list exits):
    """Leave what needs not be awaited, the last entered first; return the first error, or None."""
    try:
        while exits and not exits[-1][1]:
            exits.pop()[0].__exit__(None, None, None)
    except BaseException as error:
        return error
    return None


cdef PySendResult refuse(object error) noexcept:
    PyErr_SetObject(type(error), error)
    return PYGEN_ERROR


cdef PySendResult not_stopping() noexcept:
    """See to it that the error that is set does not end an await as if all were well."""
    cdef object error = take_error()
    put_error(not_stopped(error) if isinstance(error, StopIteration) else error)
    return PYGEN_ERROR


cdef object not_stopped(object error):
    cdef object wrapped = RuntimeError("a handler or a factory raised StopIteration")
    wrapped.__cause__ = error
    return wrapped


cdef int warn_unawaited() except -1:
    PyErr_WarnEx(RuntimeWarning, b"a publish() was never awaited", 1)
    return 0
