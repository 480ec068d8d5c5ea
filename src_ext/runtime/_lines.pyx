"""Who waits for room, mailbox by mailbox.

A place in line is reserved, not filled: whoever has waited queues the message itself, or gives the
place up.
"""

cimport cython

from runtime._core cimport CLOSED, Core
from runtime._mailbox cimport Delivery, Mailbox

from collections import OrderedDict

from runtime.errors import TerminalClosed


@cython.final
cdef class Lines:
    """The lines before full mailboxes, first come, first served.

    In a line stand the futures of offers, and messages that are due and were accepted before; each
    with the capacity that its type has, and whether a handler waits. `granted` is how many have a
    place and have not come to take it yet, by mailbox.
    """

    def __cinit__(self, Core core not None):
        self.core = core
        self.lines = {}
        self.granted = {}

    def reserve(self, Mailbox box not None, Delivery message not None):
        """Promise a place to a message unless the mailbox is full or somebody is before it."""
        if box.blocked or box in self.granted or self.core.is_full(box, message):
            return False
        self.promise(box)
        return True

    cdef int promise(self, Mailbox box) except -1:
        """Reserve a place for somebody who will come and take it."""
        self.granted[box] = self.granted.get(box, 0) + 1
        box.reserved += 1
        return 0

    def redeem(self, Mailbox box not None):
        """Note that somebody has come for the place, which is reserved on."""
        cdef Py_ssize_t others = self.granted[box] - 1
        if others:
            self.granted[box] = others
        else:
            del self.granted[box]

    def wait(self, Mailbox box not None, Delivery message not None, bint is_inside):
        """Stand in line for room; the future returned means a reserved place.

        `is_inside` says that a handler waits, who may go on while the terminal closes.
        """
        cdef object place
        if self.core.phase >= CLOSED:
            raise TerminalClosed.of(self.core.host.name)
        place = self.core.loop.create_future()
        self.stand(box, place, message, is_inside)
        return place

    def stand(
        self, Mailbox box not None, object who, Delivery message not None, bint is_inside
    ):
        """Wait for room behind whoever waits already: a future, or a message that is due."""
        if box not in self.lines:
            self.lines[box] = OrderedDict()
        self.lines[box][who] = (message.plan.capacity, is_inside)
        box.blocked = True

    def leave(self, Mailbox box not None, object place):
        """Give up a place, reserved already or not; the next in line has it."""
        if place.done() and not place.cancelled() and place.exception() is None:
            box.reserved -= 1
            self.redeem(box)
        if box.blocked:
            self.lines[box].pop(place, None)
            self.grant(box)
        self.core.release(box)

    def post_reserved(self, Mailbox box not None, Delivery message not None):
        """Accept a message into the place that the line has given it."""
        self.redeem(box)
        self.post_kept(box, message)

    def post_kept(self, Mailbox box not None, Delivery message not None):
        """Accept a message into a reserved place."""
        box.reserved -= 1
        if self.core.phase >= CLOSED:
            raise TerminalClosed.of(self.core.host.name, message.event)
        self.core.accept_rare(box, message, True)
        if box.blocked:
            self.grant(box)

    def return_place(self, Mailbox box not None):
        """Give up a reserved place."""
        box.reserved -= 1
        if box.blocked:
            self.grant(box)
        self.core.release(box)

    def grant(self, Mailbox box not None):
        """Give what room there is to the first in line."""
        cdef object line = self.lines[box]
        while line:
            who = next(iter(line))
            if box.count + box.reserved >= line[who][0]:
                break
            if box in self.granted and isinstance(who, Delivery):
                # It would overtake those who have a place, and have not come to take it yet.
                break
            del line[who]
            if isinstance(who, Delivery):
                self.core.enqueue(box, <Delivery>who)
            elif not who.done():
                self.promise(box)
                who.set_result(None)
        if not line:
            del self.lines[box]
            box.blocked = False

    def dismiss(self, *, bint everybody):
        """Wake with `TerminalClosed` who waits from outside, or `everybody`."""
        cdef Mailbox box
        for box, line in list(self.lines.items()):
            for who, (_, is_inside) in list(line.items()):
                if is_inside and not everybody:
                    continue
                line.pop(who, None)
                if isinstance(who, Delivery):
                    self.core.queued -= 1
                    self.core.reject(box, who)
                elif not who.done():
                    who.set_exception(TerminalClosed.of(self.core.host.name))
            self.grant(box)

    def messages(self, Mailbox box not None):
        """Return how many of those in line are messages that were accepted."""
        return sum(isinstance(who, Delivery) for who in self.lines[box])
