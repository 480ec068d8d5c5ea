"""Fields of messages and mailboxes; see the .pyx for what they mean."""

from runtime._capi cimport flag
from runtime._dispatch cimport Plan
from runtime._wiring cimport Lens, Storage

cdef enum State:
    QUEUED
    HELD
    DELAYED
    RUNNING
    HANDLED
    FAILED
    DROPPED
    EXPIRED
    REJECTED
    WITHDRAWN
    FORGOTTEN

cdef enum Kind:
    PLAIN
    ASK
    CONTROL
    NOTICE


cdef class Mailbox


cdef class Delivery:
    cdef Delivery next
    cdef Mailbox box
    cdef object event
    cdef object context
    cdef object variables
    cdef object callbacks
    cdef object failures
    cdef object reply
    cdef Plan plan
    cdef double expires
    cdef int index
    cdef int hops
    cdef State state
    cdef Kind kind
    cdef int waits
    cdef int suspended
    cdef bint untracked

    cdef int settle(self, State state) except -1
    cdef int notify(self, object loop) except -1
    cdef int answer(self) except -1


cdef class DeliveryWait:
    cdef Delivery message
    cdef object future
    cdef object iterator
    cdef object edge

    cdef int erase(self) except -1
    cdef int wake(self) except -1
    cdef int raise_failure(self) except -1


cdef class Reply:
    cdef object value
    cdef object error
    cdef object sender
    cdef readonly object command
    cdef object context
    cdef object key
    cdef object timeout
    cdef Delivery message
    cdef object edge
    cdef object timer
    cdef object future
    cdef object iterator
    cdef readonly bint has_ended
    cdef bint is_awaited
    cdef bint is_begun
    cdef bint is_over
    cdef bint is_pausing

    cdef object take(self)
    cdef int end(self, object value, object error) except -1
    cdef bint is_given_up(self) except -1


cdef class Actors:
    cdef dict instances
    cdef dict exits


cdef class Mailbox:
    cdef Mailbox next
    cdef Delivery head
    cdef Delivery tail
    cdef readonly object name
    cdef Actors actors
    cdef int count
    cdef int reserved
    cdef int pinned
    cdef int active
    cdef int limit
    cdef flag ready
    cdef flag forgotten
    cdef flag blocked


cdef Delivery drop_oldest(Mailbox box)
cdef object as_callback(object callback)

cdef inline bint is_spent(Mailbox box) noexcept:
    # Whether nothing would be lost with a mailbox, and its name can make it again.
    return (
        box.head is None
        and box.active == 0
        and box.reserved == 0
        and box.pinned == 0
        and box.name is not None
        and not box.forgotten
        and (box.actors is None or not box.actors.instances)
    )

cdef inline Delivery new_delivery(Plan plan, object event, object context, object variables):
    cdef Delivery message = Delivery.__new__(Delivery)
    message.plan = plan
    message.event = event
    message.context = context
    message.variables = variables
    return message

cdef inline double deadline_of(Storage storage) noexcept:
    # When the time of whoever runs in a scope is over, on the loop's clock; 0 if never. A message
    # has an end if its sender waits no longer, or if it was to be started by then.
    if isinstance(storage, Lens):
        return (<Lens>storage).deadline
    return 0 if storage.message is None else (<Delivery>storage.message).expires

cdef inline Mailbox new_mailbox(object name, int limit):
    cdef Mailbox box = Mailbox.__new__(Mailbox)
    box.name = name
    box.limit = limit
    return box
