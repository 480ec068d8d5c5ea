"""Fields of messages and mailboxes; see the .pyx for what they mean."""

from runtime._dispatch cimport Handler, Plan, Table
from runtime._wiring cimport Factory, Storage

cdef enum State:
    QUEUED
    RUNNING
    HANDLED
    FAILED
    REJECTED
    WITHDRAWN

cdef enum Phase:
    FRESH
    OPEN
    CLOSING
    CLOSED


cdef class Delivery:
    cdef Delivery next
    cdef object event
    cdef object context
    cdef object variables
    cdef object callbacks
    cdef object failures
    cdef object reply
    cdef Plan plan
    cdef int index
    cdef State state
    cdef bint control

    cdef int settle(self, Core core, State state) except -1


cdef class DeliveryWait:
    cdef Delivery message
    cdef object future
    cdef object iterator

    cdef int wake(self) except -1
    cdef int raise_failure(self) except -1


cdef class Mailbox:
    cdef Mailbox next
    cdef Delivery head
    cdef Delivery tail
    cdef readonly object name
    cdef dict actors
    cdef int count
    cdef int reserved
    cdef int active
    cdef int limit
    cdef bint ready
    cdef bint forgotten
    cdef bint blocked

    cdef Delivery take(self, Core core)


cdef class Core:
    cdef readonly Table table
    cdef readonly object host
    cdef readonly object loop
    cdef readonly Mailbox pool
    cdef readonly Storage root
    cdef dict boxes
    cdef dict lines
    cdef object quiet
    cdef Mailbox ready_head
    cdef Mailbox ready_tail
    cdef object parked
    cdef int searching
    cdef unsigned long thread
    cdef readonly int capacity
    cdef Phase phase
    cdef Py_ssize_t queued
    cdef Py_ssize_t running
    cdef Py_ssize_t control
    cdef long long emitted
    cdef long long handled
    cdef long long failed
    cdef long long rejected
    cdef long long published
    cdef long long sent
    cdef public Py_ssize_t scopes
    cdef list undelivered

    cdef Mailbox mailbox(self, object name)
    cdef Mailbox make_mailbox(self, object name)
    cdef Mailbox keyed_mailbox(self, Plan plan, object event)
    cdef int forget(self, Mailbox box) except -1
    cdef int post(self, Mailbox box, Delivery message) except -1
    cdef int append(self, Mailbox box, Delivery message) except -1
    cdef int push_ready(self, Mailbox box) except -1
    cdef Mailbox pop_ready(self)
    cdef int wake(self) except -1
    cdef int release(self, Mailbox box) except -1
    cdef int grant(self, Mailbox box) except -1
    cdef int check_quiet(self) except -1


cdef class ActorProvider(Factory):
    cdef Storage own_storage(self, Storage storage)


cdef object as_callback(object callback)

cdef inline Delivery new_delivery(Plan plan, object event, object context, object variables):
    cdef Delivery message = Delivery.__new__(Delivery)
    message.plan = plan
    message.event = event
    message.context = context
    message.variables = variables
    return message
