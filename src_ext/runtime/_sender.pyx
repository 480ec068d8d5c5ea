"""What a bus knows about whoever sends: the scope, the mailbox and the cause of what it sends."""

cimport cython
from libc.math cimport INFINITY

from runtime._capi cimport thread_mark
from runtime._core cimport CLOSED, CLOSING, FRESH, Core
from runtime._dispatch cimport Plan
from runtime._mailbox cimport Mailbox
from runtime._wiring cimport is_over

from runtime.errors import ScopeClosed, TerminalClosed, WrongLoop


@cython.freelist(64)
cdef class Sender:
    """Whoever sends, inside one scope.

    `storage` is that scope (None: each publish opens one of its own), `box` the mailbox that
    emits go to (None: the root pool), `cause` the message whose handler was given this bus, and
    `hops` the length of its chain of causes; `timed` says that the time of that handler has an end.
    """

    cdef Mailbox route_rare(self, Plan plan, object event):
        """Return the mailbox for an event without an explicit key: by `__key__`, or the scope's."""
        cdef Mailbox box
        if plan.key_field is not None:
            box = self.core.keyed_mailbox(plan, event)
            if box is not None:
                return box
        box = self.box
        if box is None:
            box = self.core.pool
        elif box.forgotten:
            box = self.box = self.core.mailbox_again(box, self.storage)
        if plan.has_actors and box.name is None:
            actor = next(handler for handler in plan.handlers if handler.actor is not None)
            raise self.core.host.no_actor_key(actor.spec, event)
        return box

    cdef int check(self) except -1:
        if self.core is None:
            raise TypeError("this EventBus has no terminal")
        return 0

    cdef int admit(self, object event) except -1:
        """Let an event in, or raise what speaks against it."""
        cdef object refusal = self.refusal(event)
        if refusal is not None:
            raise refusal
        return 0

    cdef object refusal(self, object event):
        """Return what speaks against taking an event, or None."""
        cdef Core core = self.core
        if core.phase == FRESH:
            try:
                core.host.begin()
            except Exception as error:
                return error
        if thread_mark() != core.thread:
            return WrongLoop.of_thread(core.host.name)
        if core.phase >= CLOSED or (
            core.phase == CLOSING and self.cause is None and not core.host.is_inside()
        ):
            return TerminalClosed.of(core.host.name, event)
        if self.storage is not None and is_over(self.storage):
            return ScopeClosed.of(getattr(self.storage, "name", None), event)
        return None


cdef double seconds(str name, object value) except -1:
    """Return a span of time. Raises `TypeError` and `ValueError` if it is none."""
    if type(value) is float and 0 <= <double>value < INFINITY:
        return value
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    if not 0 <= value < INFINITY:
        raise ValueError(f"{name} is a finite number of seconds from 0 on, not {value!r}")
    return value


def as_seconds(str name not None, object value):
    """Return a span of time as a float. Raises `TypeError` and `ValueError` if it is none."""
    return seconds(name, value)
