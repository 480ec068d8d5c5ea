"""The only C declarations of the core: what Cython does not already name."""

from cpython.object cimport PyObject


cdef extern from *:
    """
    #include <time.h>
    #ifdef _WIN32
    #include <windows.h>
    #endif

    /* Nanoseconds since the epoch; C11, so one call on every platform. */
    static CYTHON_INLINE long long runtime_wall_clock(void) {
        struct timespec now;
        timespec_get(&now, TIME_UTC);
        return (long long)now.tv_sec * 1000000000LL + now.tv_nsec;
    }

    /* Nanoseconds since some moment, to a few milliseconds: the cheapest monotonic clock. */
    static CYTHON_INLINE long long runtime_coarse_clock(void) {
    #ifdef _WIN32
        return (long long)GetTickCount64() * 1000000LL;
    #else
        struct timespec now;
    #if defined(CLOCK_MONOTONIC_COARSE)
        clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    #elif defined(CLOCK_MONOTONIC_RAW_APPROX)
        clock_gettime(CLOCK_MONOTONIC_RAW_APPROX, &now);
    #else
        clock_gettime(CLOCK_MONOTONIC, &now);
    #endif
        return (long long)now.tv_sec * 1000000000LL + now.tv_nsec;
    #endif
    }

    /* A number that tells the current thread from others: one instruction where the thread pointer
       is a register that a program may read. */
    static CYTHON_INLINE unsigned long runtime_thread_mark(void) {
    #if defined(__GNUC__) && defined(__x86_64__) && defined(__linux__)
        unsigned long mark;
        __asm__("movq %%fs:0, %0" : "=r"(mark));
        return mark;
    #elif defined(__GNUC__) && defined(__aarch64__) && defined(__linux__)
        unsigned long mark;
        __asm__("mrs %0, tpidr_el0" : "=r"(mark));
        return mark;
    #else
        return PyThread_get_thread_ident();
    #endif
    }

    /* Takes the exception that is set; its traceback has no frame of ours then. */
    static CYTHON_INLINE PyObject* runtime_take_error(void) {
    #if PY_VERSION_HEX >= 0x030C0000
        return PyErr_GetRaisedException();
    #else
        PyObject *kind, *error, *traceback;
        PyErr_Fetch(&kind, &error, &traceback);
        PyErr_NormalizeException(&kind, &error, &traceback);
        if (traceback != NULL) {
            PyException_SetTraceback(error, traceback);
            Py_DECREF(traceback);
        }
        Py_XDECREF(kind);
        return error;
    #endif
    }

    /* Sets an exception again; unlike a raise, it leaves its context and traceback alone. */
    static CYTHON_INLINE void runtime_put_error(PyObject* error) {
        Py_INCREF(error);
    #if PY_VERSION_HEX >= 0x030C0000
        PyErr_SetRaisedException(error);
    #else
        Py_INCREF(Py_TYPE(error));
        PyErr_Restore((PyObject*)Py_TYPE(error), error, PyException_GetTraceback(error));
    #endif
    }

    /* Copies the context variables at hand into a context that nobody is in, or out of it: an
       allocation less than a copy. The layout has been the same since CPython 3.7; a newer version
       than those known makes copies. */
    #if PY_VERSION_HEX < 0x030E0000
    #define RUNTIME_REUSES_CONTEXTS 1
    typedef struct {
        PyObject_HEAD
        PyObject* previous;
        PyObject* variables;
        PyObject* weak_references;
        int is_entered;
    } runtime_context;

    static CYTHON_INLINE void runtime_fill_context(PyObject* context, PyObject* source) {
        PyObject* old = ((runtime_context*)context)->variables;
        PyObject* variables = ((runtime_context*)source)->variables;
        Py_INCREF(variables);
        ((runtime_context*)context)->variables = variables;
        Py_DECREF(old);
    }

    static CYTHON_INLINE PyObject* runtime_current_context(void) {
        return PyThreadState_Get()->context;
    }

    /* As `PyContext_Enter` and `PyContext_Exit`, which each ask in which thread they are. */
    static CYTHON_INLINE int runtime_enter_context(PyObject* context, PyThreadState* thread) {
        runtime_context* entered = (runtime_context*)context;
        if (entered->is_entered) {
            return PyContext_Enter(context);
        }
        entered->is_entered = 1;
        entered->previous = thread->context;
        Py_INCREF(context);
        thread->context = context;
        thread->context_ver++;
        return 0;
    }

    static CYTHON_INLINE int runtime_exit_context(PyObject* context, PyThreadState* thread) {
        runtime_context* entered = (runtime_context*)context;
        if (thread->context != context) {
            return PyContext_Exit(context);
        }
        thread->context = entered->previous;
        thread->context_ver++;
        entered->previous = NULL;
        entered->is_entered = 0;
        Py_DECREF(context);
        return 0;
    }
    #else
    #define RUNTIME_REUSES_CONTEXTS 0
    #define runtime_fill_context(context, source)
    #define runtime_current_context() NULL
    #define runtime_enter_context(context, thread) PyContext_Enter(context)
    #define runtime_exit_context(context, thread) PyContext_Exit(context)
    #endif

    /* `PyIter_Send`, without its questions where the answer is known. */
    static CYTHON_INLINE PySendResult runtime_send_raw(
        PyObject* coroutine, PyObject* value, PyObject** result
    ) {
        if (PyCoro_CheckExact(coroutine)) {
            return Py_TYPE(coroutine)->tp_as_async->am_send(coroutine, value, result);
        }
        return PyIter_Send(coroutine, value, result);
    }

    /* Spares what the general call asks of a callable that it does not know. */
    static CYTHON_INLINE PyObject* runtime_vectorcall(
        PyObject* function, PyObject* const* arguments, size_t count, PyObject* names
    ) {
        if (PyFunction_Check(function)) {
            return ((PyFunctionObject*)function)->vectorcall(function, arguments, count, names);
        }
        return PyObject_Vectorcall(function, arguments, count, names);
    }

    /* Says whether a coroutine has returned or was closed; one that never started has not. */
    static CYTHON_INLINE int runtime_has_ended(PyObject* coroutine) {
    #if PY_VERSION_HEX < 0x030E0000
        return ((PyCoroObject*)coroutine)->cr_frame_state > 0;
    #else
        PyObject* frame = PyObject_GetAttrString(coroutine, "cr_frame");
        Py_XDECREF(frame);
        return frame == Py_None;
    #endif
    }

    static CYTHON_INLINE int runtime_is_awaitable(PyObject* candidate) {
        PyAsyncMethods* methods = Py_TYPE(candidate)->tp_as_async;
        return methods != NULL && methods->am_await != NULL;
    }

    /* Ends an iteration with a result, whose reference is taken. */
    static CYTHON_INLINE void runtime_stop_with(PyObject* result) {
        PyObject* stop;
        if (result == Py_None) {
            /* No exception at all means the same. */
        } else if (PyTuple_Check(result) || PyExceptionInstance_Check(result)) {
            /* As a bare argument, either would be taken apart. */
            stop = PyObject_CallFunctionObjArgs(PyExc_StopIteration, result, NULL);
            if (stop != NULL) {
                PyErr_SetObject(PyExc_StopIteration, stop);
                Py_DECREF(stop);
            }
        } else {
            PyErr_SetObject(PyExc_StopIteration, result);
        }
        Py_DECREF(result);
    }

    /* Has the interpreter drive an awaitable by these two functions. */
    static CYTHON_INLINE void runtime_drive_by(PyObject* type, void* next, void* send) {
        ((PyTypeObject*)type)->tp_iternext = (iternextfunc)next;
        ((PyTypeObject*)type)->tp_as_async->am_send = (sendfunc)send;
    }

    #define runtime_owned(reference) (reference)

    /* One byte, where a `bint` takes four. */
    typedef unsigned char runtime_flag;
    """
    ctypedef bint flag "runtime_flag"

    long long wall_clock "runtime_wall_clock"() noexcept
    long long coarse_clock "runtime_coarse_clock"() noexcept
    unsigned long thread_mark "runtime_thread_mark"() noexcept
    bint has_ended "runtime_has_ended"(object coroutine) noexcept
    const bint REUSES_CONTEXTS "RUNTIME_REUSES_CONTEXTS"
    void fill_context "runtime_fill_context"(PyObject* context, PyObject* source) noexcept
    # Borrowed; NULL if no context has been entered in this thread.
    PyObject* current_context "runtime_current_context"() noexcept
    bint is_awaitable "runtime_is_awaitable"(PyObject* candidate) noexcept
    void stop_with "runtime_stop_with"(PyObject* result) noexcept
    void drive_by "runtime_drive_by"(object type, void* next, void* send) noexcept
    # Only where an exception is set.
    object take_error "runtime_take_error"()
    void put_error "runtime_put_error"(object error) noexcept


cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT

    # Neither raises in the Cython sense: the caller looks at the result.
    PySendResult send_raw "runtime_send_raw"(
        PyObject* iterator, PyObject* value, PyObject** result
    ) noexcept
    ctypedef struct PyThreadState:
        pass
    PyThreadState* PyThreadState_Get() noexcept
    int exit_context "runtime_exit_context"(PyObject* context, PyThreadState* thread) noexcept

    int enter_context "runtime_enter_context"(
        PyObject* context, PyThreadState* thread
    ) except -1
    void PyObject_GC_Track(PyObject* thing) noexcept
    void PyObject_GC_UnTrack(PyObject* thing) noexcept
    object PyContext_New()
    object PyContext_CopyCurrent()

    # Borrowed; NULL if there is nothing, with an exception set if the look-up failed.
    PyObject* dict_get "PyDict_GetItemWithError"(object mapping, object key) noexcept

    const size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    # `arguments` are borrowed by the call; `names` may be NULL. The caller looks at the result:
    # NULL means that an exception is set.
    PyObject* vectorcall "runtime_vectorcall"(
        object function, PyObject** arguments, size_t count, PyObject* names
    ) noexcept
    # The reference that the argument is; NULL raises the exception that is set.
    object owned "runtime_owned"(PyObject* reference)
    Py_ssize_t Py_REFCNT(PyObject* thing) noexcept
    void Py_DecRef "Py_DECREF"(PyObject* thing) noexcept
    PyObject* PyTuple_GET_ITEM(object pack, Py_ssize_t index) noexcept
    bint is_coroutine "PyCoro_CheckExact"(PyObject* candidate) noexcept
