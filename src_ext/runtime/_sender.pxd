"""Fields of whoever sends; see the .pyx for what they mean."""

cimport cython

from runtime._context cimport MessageContext
from runtime._core cimport Core
from runtime._dispatch cimport Plan
from runtime._mailbox cimport Delivery, Mailbox
from runtime._wiring cimport Storage


cdef class Sender:
    cdef Core core
    cdef Storage storage
    cdef Mailbox box
    cdef MessageContext cause
    cdef int hops
    cdef bint timed

    cdef Mailbox route_rare(self, Plan plan, object event)
    cdef int check(self) except -1
    cdef int admit(self, object event) except -1
    cdef object refusal(self, object event)

    @cython.final
    cdef inline MessageContext context_for(self, MessageContext given):
        # The context of a message sent now; it copies the ids of its cause.
        cdef MessageContext context = given
        if context is None:
            context = MessageContext.__new__(MessageContext)
        if self.cause is not None and context.causation_high == 0 and context is not self.cause:
            context.caused_by(self.cause)
        return context

    @cython.final
    cdef inline Mailbox route(self, Plan plan, object event, object key):
        # The mailbox for an event: explicit key, then `__key__`, then the scope's.
        if key is not None:
            return self.core.mailbox(key)
        if plan.key_field is None and not plan.has_actors and self.box is not None and (
            not self.box.forgotten
        ):
            return self.box
        return self.route_rare(plan, event)

    @cython.final
    cdef inline Delivery message_of(self, Plan plan, object event, MessageContext context):
        # An event as a message; its context copies the ids of its cause.
        cdef Delivery message = self.core.blank_message()
        message.plan = plan
        message.event = event
        if context is not None:
            message.context = context
        elif message.context is not None:
            (<MessageContext>message.context).renew()
        else:
            message.context = MessageContext.__new__(MessageContext)
        if self.cause is not None:
            message.hops = self.hops + 1
            context = <MessageContext>message.context
            if context.causation_high == 0 and context is not self.cause:
                context.caused_by(self.cause)
        return message


cdef double seconds(str name, object value) except -1
